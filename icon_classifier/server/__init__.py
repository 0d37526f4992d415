"""Upper floor: the page that visitors meet."""
