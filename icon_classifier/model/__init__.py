"""An export, read back and run."""
