"""Where pixels go: one file per format. `open_sink` picks by the suffix of the path."""
