"""Lattice: whether the grid of cells prints through, seen by folding many windows at the period of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from tilegen.errors import MetricError

_REC_601 = np.array([0.299, 0.587, 0.114])
_LEAST_NULL = 1e-6  # an image that repeats without any noise still has a finite ratio

MAPS = ("mean", "variance", "gradient")
"""What is folded: luminance, its variance, and the squared step to the next row and column."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How uneven one folded map is, and how uneven such maps are by chance.

    Args:
        period_px: period of the fold.
        spread: standard deviation of the map over its phases. Of the mean map in units of the standard deviation of
            all pixels, of the others in units of the map's mean.
        null: mean spread of the folds at one pixel less and one more, where nothing can print through.
        ratio: of the two; 1 where no lattice shows, and above 3 it does.
    """

    period_px: int
    spread: float
    null: float
    ratio: float


def lattice_spreads(
    images: UInt8[Tensor, "n 3 rows cols"], origins: Int64[np.ndarray, "n 2"], *, cell_px: int
) -> dict[str, Spread]:
    """Fold the luminance of all windows at `cell_px`, and its gradient at a quarter of that too. tilegen's own.

    A generator may tie its texture to the grid of its cells without any single image showing it. The crops that a
    discriminator sees have every phase, so training does not forbid it.

    Args:
        images: windows, RGB, many cells wide.
        origins: absolute (row, col) of the first pixel of each window: phases are those of the plane.
        cell_px: period to look for, pixels.

    Returns:
        Spreads by name: "mean", "variance" and "gradient" at a cell, "gradient_quarter" at a quarter of one.

    Raises:
        MetricError: cells below 4 px, windows smaller than two cells, or one uniform colour.
    """
    if cell_px < 4 or min(images.shape[2:]) < 2 * cell_px + 2:
        raise MetricError(f"Windows of {images.shape[2]} px are too small to be folded at {cell_px} px.")
    light = luminance(images)
    folds = {
        period: _folded(light, origins, period)
        for cell in {cell_px, max(cell_px // 4, 2)}
        for period in (cell - 1, cell, cell + 1)
    }
    if folds[cell_px]["variance"].mean() == 0:
        raise MetricError("All windows have one uniform colour. There is nothing to fold.")
    spreads = {name: _against_null(folds, name, cell_px) for name in MAPS}
    return spreads | {"gradient_quarter": _against_null(folds, "gradient", max(cell_px // 4, 2))}


def luminance(images: UInt8[Tensor, "n 3 rows cols"]) -> Float64[np.ndarray, "n rows cols"]:
    """Weighted sum of red, green and blue, 0..255 (ITU-R BT.601)."""
    return np.einsum("b,nbij->nij", _REC_601, images.numpy())


def _folded(
    images: Float64[np.ndarray, "n rows cols"], origins: Int64[np.ndarray, "n 2"], period: int
) -> dict[str, Float64[np.ndarray, "period period"]]:
    """Mean, variance and gradient energy of the luminance at each phase (row % period, col % period)."""
    totals = np.zeros((4, period * period))
    for light, (row0, col0) in zip(images, origins, strict=True):
        steps = np.diff(light, axis=0)[:, :-1] ** 2 + np.diff(light, axis=1)[:-1] ** 2
        kept = light[:-1, :-1]  # pixels that have a next row and column
        rows, cols = (row0 + np.arange(kept.shape[0])) % period, (col0 + np.arange(kept.shape[1])) % period
        phase = (rows[:, None] * period + cols).ravel()
        for total, values in zip(totals, (np.ones_like(kept), kept, kept**2, steps), strict=True):
            total += np.bincount(phase, weights=values.ravel(), minlength=period * period)
    count, first, second, steps = totals.reshape(4, period, period)
    mean = first / count
    return {"mean": mean, "variance": second / count - mean**2, "gradient": steps / count}


def _against_null(folds: dict[int, dict[str, Float64[np.ndarray, "period period"]]], name: str, period: int) -> Spread:
    below, spread, above = (_spread(folds[p], name) for p in (period - 1, period, period + 1))
    null = (below + above) / 2
    return Spread(period_px=period, spread=spread, null=null, ratio=spread / max(null, _LEAST_NULL))


def _spread(maps: dict[str, Float64[np.ndarray, "period period"]], name: str) -> float:
    unit = np.sqrt(maps["variance"].mean()) if name == "mean" else maps[name].mean()
    return float(maps[name].std() / unit)
