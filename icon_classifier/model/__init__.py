"""Load an export and run it."""
