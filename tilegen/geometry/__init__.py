"""The integer language that `model`, `fields` and `tiling` all speak; the standard library only (but `georef`)."""
