"""What catalogues want to know of a product: a STAC item beside it, and who can open it."""
