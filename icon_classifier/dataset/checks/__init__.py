"""Checks that find photos to look at before training: one class per check, and nothing is changed or deleted."""
