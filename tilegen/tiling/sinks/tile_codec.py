"""One tile of a TIFF: edge padding, predictor, compression; of lossy ones also the mask of valid pixels."""

from __future__ import annotations

import imagecodecs
import numpy as np
from jaxtyping import UInt, UInt8

from tilegen.tiling.sinks.encoding import CogEncoding

TIFF_COMPRESSION: dict[str, int] = {"lzw": 5, "jpeg": 7, "deflate": 8, "zstd": 50000, "webp": 50001}
"""Values of the TIFF tag 259."""


def encode_tile(pixels: UInt[np.ndarray, "bands rows cols"], tile_px: int, encoding: CogEncoding) -> tuple[bytes, ...]:
    """What is stored of one square tile: its image, padded by repeating its edge, and of a lossy one its mask.

    All are empty when every pixel is nodata (0): such a tile is sparse and takes no space in the file.
    """
    if not pixels.any():
        return (b"",) * encoding.num_planes
    bands, rows, cols = pixels.shape
    tile = np.empty((tile_px, tile_px, bands), pixels.dtype)
    for band in range(bands):  # band by band is four times as fast as all at once
        tile[:rows, :cols, band] = pixels[band]
    tile[:rows, cols:] = tile[:rows, cols - 1 : cols]
    tile[rows:] = tile[rows - 1 : rows]
    image = _compressed(tile, encoding)
    return (image, _encoded_mask(pixels, tile_px)) if encoding.is_lossy else (image,)


def decode_tile(
    payloads: tuple[bytes, ...], bands: int, tile_px: int, encoding: CogEncoding, dtype: str = "uint8"
) -> UInt[np.ndarray, "bands tile tile"]:
    """The inverse of `encode_tile`, but for what is lost; valid pixels are at least 1, the others 0.

    The padding of the edge comes back, too, where there is no mask.
    """
    if not payloads[0]:
        return np.zeros((bands, tile_px, tile_px), dtype)
    tile = _decompressed(payloads[0], (tile_px, tile_px, bands), encoding, np.dtype(dtype))
    pixels = np.ascontiguousarray(np.moveaxis(tile, -1, 0))
    if encoding.is_lossy:
        packed = np.frombuffer(imagecodecs.deflate_decode(payloads[1], out=tile_px * tile_px // 8), np.uint8)
        is_valid = np.unpackbits(packed.reshape(tile_px, -1), axis=1)
        pixels = np.maximum(pixels, 1) * is_valid
    return pixels


def _compressed(tile: UInt[np.ndarray, "tile tile bands"], encoding: CogEncoding) -> bytes:
    if encoding.compression == "jpeg":
        return bytes(_jpeg(tile, encoding.used_quality))
    if encoding.compression == "webp":
        quality = encoding.used_quality
        return bytes(imagecodecs.webp_encode(tile, level=quality, lossless=not encoding.is_lossy))
    # TIFF 6.0, section 14; of 16 bits the differences are 16 bits, too, modulo 2**16
    values = (imagecodecs.delta_encode(tile, axis=1) if encoding.used_predictor == 2 else tile).tobytes()
    match encoding.compression:
        case "deflate":
            return bytes(imagecodecs.deflate_encode(values, level=encoding.used_level))
        case "zstd":
            return bytes(imagecodecs.zstd_encode(values, level=encoding.used_level))
        case _:
            return bytes(imagecodecs.lzw_encode(values))


def _jpeg(tile: UInt8[np.ndarray, "tile tile bands"], quality: int) -> bytes:
    """A whole JPEG file of one tile, with its own tables: YCbCr 4:2:0 as GDAL writes colour, or grey."""
    if tile.shape[2] == 1:
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile[:, :, 0]), level=quality))
    return bytes(
        imagecodecs.jpeg8_encode(tile, level=quality, colorspace="RGB", outcolorspace="YCBCR", subsampling="420")
    )


def _decompressed(
    payload: bytes, shape: tuple[int, int, int], encoding: CogEncoding, dtype: np.dtype
) -> UInt[np.ndarray, "tile tile bands"]:
    match encoding.compression:
        case "jpeg":
            return np.asarray(imagecodecs.jpeg8_decode(payload)).reshape(shape)
        case "webp":
            return np.asarray(imagecodecs.webp_decode(payload)).reshape(shape)
        case "deflate":
            raw = imagecodecs.deflate_decode(payload, out=int(np.prod(shape)) * dtype.itemsize)
        case "zstd":
            raw = imagecodecs.zstd_decode(payload, out=int(np.prod(shape)) * dtype.itemsize)
        case _:
            raw = imagecodecs.lzw_decode(payload, out=int(np.prod(shape)) * dtype.itemsize)
    values = np.frombuffer(raw, dtype).reshape(shape)
    return np.asarray(imagecodecs.delta_decode(values, axis=1)) if encoding.used_predictor == 2 else values


def _encoded_mask(pixels: UInt[np.ndarray, "bands rows cols"], tile_px: int) -> bytes:
    """One bit per pixel of the tile, 1 where a band is not nodata, deflated as GDAL does; nothing beyond the edge."""
    _, rows, cols = pixels.shape
    is_valid = np.zeros((tile_px, tile_px), np.bool_)
    is_valid[:rows, :cols] = pixels.any(axis=0)
    return bytes(imagecodecs.deflate_encode(np.packbits(is_valid, axis=1).tobytes(), level=6))
