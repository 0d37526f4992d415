"""Serve the page with Voila: kernels, handlers, capacity, and the preflight checks."""
