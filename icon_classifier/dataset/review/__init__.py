"""Review photos: look at the most suspicious ones first, and keep, exclude or relabel them."""
