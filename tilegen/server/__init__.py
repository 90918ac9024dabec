"""A web map of an endless world, or of a written product: tiles, metadata, a page to look at."""
