"""From sensor counts to 8 bits: one percentile stretch per folder or AOI, so that its chips stay comparable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped, UInt8

from tilegen.errors import InputError

SAMPLES_PER_GROUP = 1 << 21
"""About as many pixels of a group are looked at; percentiles of so many are known to some thousandths."""

MIN_SAMPLES_PER_CHIP = 1024

HISTOGRAM_BINS = 64


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The linear map of one group's counts to 0..255, clipped: `low` becomes 0 and `high` 255, per band.

    One for all chips of a folder or an AOI, and never one per chip: a stretch of its own would make a dark chip, say
    of water or forest, as bright as its bright neighbour, and the same roof would have another colour in each chip.
    Not one for all AOIs either: sun, haze and sensor differ between them by more than the ground does.

    Args:
        group: whose stretch it is.
        percent: percentiles that `low` and `high` are.
        low: per band, in counts.
        high: per band, in counts.

    Raises:
        InputError: a number is not finite, or `high` is not above `low`.
    """

    group: str
    percent: tuple[float, float]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = len(self.low) == len(self.high) and all(map(float.__lt__, map(float, self.low), map(float, self.high)))
        if not rising or not all(map(math.isfinite, (*self.percent, *self.low, *self.high))):
            raise InputError(f"{self.low} to {self.high} is no stretch")

    def apply(self, pixels: Shaped[np.ndarray, "bands rows cols"]) -> UInt8[np.ndarray, "bands rows cols"]:
        """`pixels` in 8 bits."""
        stretched = np.empty(pixels.shape, np.uint8)
        # Band by band, for float64 is eight times the size of the result.
        for band, low, high, out in zip(pixels, self.low, self.high, stretched, strict=True):
            out[:] = np.rint(np.clip((band - low) / (high - low), 0.0, 1.0) * 255)
        return stretched

    def undo(self, pixels: UInt8[np.ndarray, "bands rows cols"]) -> Float64[np.ndarray, "bands rows cols"]:
        """The counts that `apply` made `pixels` of, up to clipping and half a step of (high - low) / 255."""
        low, high = (np.array(side)[:, None, None] for side in (self.low, self.high))
        return np.asarray(low + pixels / 255 * (high - low))


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How the sampled pixels of one group are spread, band by band, in `HISTOGRAM_BINS` even bins.

    Args:
        group: whose histogram it is.
        low: first edge of the counts of each band.
        high: last edge.
        counts: pixels in each bin of each band between `low` and `high`, as they came.
        stretched: pixels in each bin between 0 and 255, as they are stored.
    """

    group: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    stretched: tuple[tuple[int, ...], ...]


def sampled(
    pixels: Shaped[np.ndarray, "bands rows cols"],
    valid: Bool[np.ndarray, "rows cols"],
    chips_in_group: int,
) -> Shaped[np.ndarray, "bands samples"]:
    """A chip's share of the pixels that decide the stretch: valid ones, evenly spaced, without chance."""
    share = max(MIN_SAMPLES_PER_CHIP, SAMPLES_PER_GROUP // chips_in_group)
    where = np.flatnonzero(valid)
    if where.size > share:
        where = where[np.linspace(0, where.size - 1, share).astype(np.int64)]
    return np.asarray(pixels.reshape(pixels.shape[0], -1)[:, where])


def fitted_stretch(
    group: str,
    samples: Shaped[np.ndarray, "bands samples"],
    percent: tuple[float, float],
) -> Stretch:
    """The stretch of a group from the samples of its chips."""
    low, high = np.percentile(samples, percent, axis=1)
    high = np.where(high > low, high, low + 1)  # a band that is constant maps to 0 and not to NaN
    return Stretch(group=group, percent=percent, low=tuple(low.tolist()), high=tuple(high.tolist()))


def histogram_of(
    group: str,
    samples: Sequence[Shaped[np.ndarray, "bands _"]],
    stretch: Stretch | None,
) -> Histogram:
    """The histogram of a group before and after its stretch; without one, the samples are stored as they are."""
    joined = np.concatenate(samples, axis=1)
    low, high = (ends.astype(np.float64) for ends in (joined.min(axis=1), joined.max(axis=1)))
    stored = joined if stretch is None else stretch.apply(joined[:, None])[:, 0]
    return Histogram(
        group=group,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        counts=tuple(_binned(band, *ends) for band, *ends in zip(joined, low, high, strict=True)),
        stretched=tuple(_binned(band, 0.0, 255.0) for band in stored),
    )


def _binned(values: Shaped[np.ndarray, " samples"], low: float, high: float) -> tuple[int, ...]:
    return tuple(np.histogram(values, HISTOGRAM_BINS, (float(low), float(high)))[0].tolist())
