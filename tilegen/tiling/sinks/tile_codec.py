"""One tile of a TIFF: edge padding, horizontal predictor, compression."""

from __future__ import annotations

from typing import Literal

import imagecodecs
import numpy as np
from jaxtyping import UInt8

Compression = Literal["deflate", "zstd"]
"""DEFLATE opens everywhere; ZSTD is four times as fast and 4 % smaller, and opens in everything built on GDAL."""

TIFF_COMPRESSION: dict[str, int] = {"deflate": 8, "zstd": 50000}
"""Values of the TIFF tag 259."""

# Higher levels cost 3 to 15 times the time for 0.5 to 5 % of the size of noisy imagery.
_LEVEL = 1


def encode_tile(pixels: UInt8[np.ndarray, "bands rows cols"], tile_px: int, compression: Compression) -> bytes:
    """The bytes of one square tile: padded by repeating its edge, predictor 2 (TIFF 6.0, section 14), compressed.

    Empty when every pixel is nodata (0): such a tile is sparse and takes no space in the file.
    """
    if not pixels.any():
        return b""
    bands, rows, cols = pixels.shape
    tile = np.empty((tile_px, tile_px, bands), np.uint8)
    for band in range(bands):  # band by band is four times as fast as all at once
        tile[:rows, :cols, band] = pixels[band]
    tile[:rows, cols:] = tile[:rows, cols - 1 : cols]
    tile[rows:] = tile[rows - 1 : rows]
    differences = imagecodecs.delta_encode(tile, axis=1)
    if compression == "deflate":
        return bytes(imagecodecs.deflate_encode(differences.tobytes(), level=_LEVEL))
    return bytes(imagecodecs.zstd_encode(differences.tobytes(), level=_LEVEL))


def decode_tile(
    payload: bytes, bands: int, tile_px: int, compression: Compression
) -> UInt8[np.ndarray, "bands tile tile"]:
    """The inverse of `encode_tile`, edge padding included."""
    size_bytes = bands * tile_px * tile_px
    if not payload:
        return np.zeros((bands, tile_px, tile_px), np.uint8)
    if compression == "deflate":
        raw = imagecodecs.deflate_decode(payload, out=size_bytes)
    else:
        raw = imagecodecs.zstd_decode(payload, out=size_bytes)
    differences = np.frombuffer(raw, np.uint8).reshape(tile_px, tile_px, bands)
    return np.ascontiguousarray(np.moveaxis(imagecodecs.delta_decode(differences, axis=1), -1, 0))
