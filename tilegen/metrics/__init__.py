"""Judges of images: how far what is painted is from what was photographed. They take pixels, never a model."""
