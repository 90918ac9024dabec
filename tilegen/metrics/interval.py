"""An estimate and how far chance may have moved it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % bootstrap interval. Unbiased, so a share of variance may fall below 0 by chance."""

    estimate: float
    low: float
    high: float
