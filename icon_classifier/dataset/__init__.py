"""Datasets: labels and addresses become photos on disk. This needs neither fastai nor torch."""
