"""Statistics of pixels as whole numbers, which add up to the same sums in any order of shards."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt, UInt64

NUM_MOMENTS = 6
"""Pixels, valid pixels, least and largest valid value, sum and sum of squares of the valid ones."""

_STRIP_ROWS = 32


def no_moments(bands: int) -> UInt64[np.ndarray, "bands 6"]:
    """Those of no pixels at all."""
    moments = np.zeros((bands, NUM_MOMENTS), np.uint64)
    moments[:, 2] = np.iinfo(np.uint64).max
    return moments


def moments_of(pixels: UInt[np.ndarray, "bands rows cols"]) -> UInt64[np.ndarray, "bands 6"]:
    """The moments of each band of a shard; 0 is nodata. Exact for up to 2**32 pixels of 16 bits."""
    moments = no_moments(len(pixels))
    for values, found in zip(pixels, moments, strict=True):
        found[0] = values.size
        # Strips keep what is widened to 64 bits in the cache; nodata adds nothing to the sums.
        for row in range(0, len(values), _STRIP_ROWS):
            strip = values[row : row + _STRIP_ROWS].astype(np.uint64).reshape(-1)
            found[1] += np.uint64(np.count_nonzero(strip))
            found[4] += strip.sum()
            found[5] += np.dot(strip, strip)
        if found[1]:
            found[2], found[3] = values.min(where=values > 0, initial=np.iinfo(values.dtype).max), values.max()
    return moments


def added(one: UInt64[np.ndarray, "bands 6"], other: UInt64[np.ndarray, "bands 6"]) -> UInt64[np.ndarray, "bands 6"]:
    """The moments of two sets of pixels together."""
    total = one + other
    total[:, 2] = np.minimum(one[:, 2], other[:, 2])
    total[:, 3] = np.maximum(one[:, 3], other[:, 3])
    return total


def statistics(moments: UInt64[np.ndarray, "6"]) -> dict[str, float]:
    """STATISTICS_* items of one band as GDAL names them, over its valid pixels; empty if there are none."""
    num_pixels, num_valid, least, largest, total, squares = (int(value) for value in moments)
    if not num_valid:
        return {}
    return {
        "STATISTICS_MAXIMUM": float(largest),
        "STATISTICS_MEAN": total / num_valid,
        "STATISTICS_MINIMUM": float(least),
        "STATISTICS_STDDEV": math.sqrt(squares * num_valid - total * total) / num_valid,
        "STATISTICS_VALID_PERCENT": 100 * num_valid / num_pixels,
    }
