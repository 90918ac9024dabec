"""From sensor counts to 8 bits: one percentile stretch per folder, so that chips of one AOI stay comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped, UInt8

SAMPLES_PER_FOLDER = 1 << 21
"""About as many pixels of a folder are looked at; percentiles of so many are known to some thousandths."""

MIN_SAMPLES_PER_CHIP = 1024


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The linear map of one folder's counts to 0..255, clipped: `low` becomes 0 and `high` 255, per band.

    The counts come back, up to rounding and clipping, as `low + value / 255 * (high - low)`.
    """

    folder: str
    percent: tuple[float, float]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def apply(self, pixels: Shaped[np.ndarray, "bands rows cols"]) -> UInt8[np.ndarray, "bands rows cols"]:
        """`pixels` in 8 bits."""
        stretched = np.empty(pixels.shape, np.uint8)
        # Band by band, for float64 is eight times the size of the result.
        for band, low, high, out in zip(pixels, self.low, self.high, stretched, strict=True):
            out[:] = np.rint(np.clip((band - low) / (high - low), 0.0, 1.0) * 255)
        return stretched


def sampled(
    pixels: Shaped[np.ndarray, "bands rows cols"],
    valid: Bool[np.ndarray, "rows cols"],
    chips_in_folder: int,
) -> Float64[np.ndarray, "bands samples"]:
    """A chip's share of the pixels that decide the stretch: valid ones, evenly spaced, without chance."""
    share = max(MIN_SAMPLES_PER_CHIP, SAMPLES_PER_FOLDER // chips_in_folder)
    where = np.flatnonzero(valid)
    if where.size > share:
        where = where[np.linspace(0, where.size - 1, share).astype(np.int64)]
    return np.asarray(pixels.reshape(pixels.shape[0], -1)[:, where].astype(np.float64))


def fitted_stretch(
    folder: str,
    samples: Sequence[Float64[np.ndarray, "bands _"]],
    percent: tuple[float, float],
) -> Stretch:
    """The stretch of a folder from the samples of its chips."""
    low, high = np.percentile(np.concatenate(samples, axis=1), percent, axis=1)
    high = np.where(high > low, high, low + 1)  # a band that is constant maps to 0 and not to NaN
    return Stretch(folder=folder, percent=percent, low=tuple(low.tolist()), high=tuple(high.tolist()))
