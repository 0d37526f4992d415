"""Gathering: names and addresses become photographs on disk. Neither fastai nor torch is needed here."""
