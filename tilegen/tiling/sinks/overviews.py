"""Resolution levels: who makes which, and how each is made of the one below."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt

from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.product import Product


def num_owned_levels(product: Product) -> int:
    """How many levels, from full resolution down, the task of one shard writes by itself.

    A shard is halved as long as a chunk fits in, so that no chunk of these levels has two writers; `finish` makes the
    other levels.
    """
    chunks_per_shard = product.shard_px // product.chunk_px
    return min(chunks_per_shard.bit_length(), product.num_levels)


def level_window(product: Product, level: int) -> Window:
    """All pixels of a level, counted from its own upper left corner."""
    return Window.from_size(*product.level_shape(level))


def chunk_span(product: Product, level: int) -> Window:
    """The indices of all chunks of a level."""
    return Lattice(tile_px=product.chunk_px).indices(level_window(product, level))


def reduced(
    pixels: UInt[np.ndarray, "bands rows cols"], resampling: str
) -> UInt[np.ndarray, "bands half_rows half_cols"]:
    """Half the size, rounded up.

    Args:
        resampling: "average" for `halved`, "nearest" for the upper left of four pixels, as GDAL takes it.
    """
    return np.ascontiguousarray(pixels[:, ::2, ::2]) if resampling == "nearest" else halved(pixels)


def halved(pixels: UInt[np.ndarray, "bands rows cols"]) -> UInt[np.ndarray, "bands half_rows half_cols"]:
    """Half the size, rounded up: every pixel is the mean of the 1, 2 or 4 valid pixels it covers, halves upwards.

    0 is nodata, in each band on its own: it does not count, and the result is 0 only where nothing else is covered.
    Valid pixels stay valid. tilegen's own; GDAL's AVERAGE agrees to one code value on even sizes.
    """
    even = _even_sized(pixels)
    total = _sum_of_four(even)
    if pixels.shape == even.shape and even.all():
        means = (total + total.dtype.type(2)) >> 2
    else:
        # Nodata adds nothing to the sum, so the sum over all four is the sum over the valid ones.
        count = np.maximum(_sum_of_four((even != 0).view(np.uint8)), 1)
        means = (2 * total + count) // (2 * count)
    return np.asarray(means, pixels.dtype)


def _even_sized(
    pixels: UInt[np.ndarray, "bands rows cols"],
) -> UInt[np.ndarray, "bands even_rows even_cols"]:
    """`pixels` with a row and a column of nodata after an odd edge."""
    _, rows, cols = pixels.shape
    return pixels if rows % 2 == cols % 2 == 0 else np.pad(pixels, ((0, 0), (0, rows % 2), (0, cols % 2)))


def _sum_of_four(
    values: UInt[np.ndarray, "bands rows cols"],
) -> UInt[np.ndarray, "bands half_rows half_cols"]:
    """Sum over blocks of 2x2, in twice the bits."""
    sums = np.add(values[:, 0::2], values[:, 1::2], dtype=np.uint16 if values.itemsize == 1 else np.uint32)
    return np.asarray(sums[:, :, 0::2] + sums[:, :, 1::2])
