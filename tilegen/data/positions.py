"""Where a crop may lie: every position in every chip whose crop holds valid pixels only, counted and addressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True, kw_only=True)
class CropPositions:
    """The allowed positions of square crops, numbered 0 .. total - 1: chip by chip, row by row.

    A uniform number is therefore a chip weighted by its number of positions and a uniform position in it.

    Args:
        crop_px: edge of the crop.
        ends: how many positions the chips up to and with this one have.
        widths: positions in a row of a chip, allowed or not.
        allowed: of chips with invalid pixels, whether the crop that starts at (row, col) is valid; else None.
        row_ends: of the same chips, how many positions the rows up to and with this one have.
    """

    crop_px: int
    ends: Int64[np.ndarray, " chips"]
    widths: tuple[int, ...]
    allowed: tuple[Bool[np.ndarray, "_ _"] | None, ...]
    row_ends: tuple[Int64[np.ndarray, " _"] | None, ...]

    @property
    def total(self) -> int:
        """Number of allowed positions in all chips."""
        return int(self.ends[-1])

    def same_chip(self, number: int, rng: np.random.Generator, count: int) -> list[int]:
        """This position and others of its chip, drawn uniformly, `count` in all."""
        chip = int(np.searchsorted(self.ends, number, side="right"))
        begin = int(self.ends[chip - 1]) if chip else 0
        return [number, *rng.integers(begin, self.ends[chip], size=count - 1).tolist()]

    def locate(self, number: int) -> tuple[int, int, int]:
        """(chip, row, col) of the position with this number."""
        chip = int(np.searchsorted(self.ends, number, side="right"))
        inside = number - (int(self.ends[chip - 1]) if chip else 0)
        allowed, row_ends = self.allowed[chip], self.row_ends[chip]
        if allowed is None or row_ends is None:
            return chip, *divmod(inside, self.widths[chip])
        row = int(np.searchsorted(row_ends, inside, side="right"))
        inside -= int(row_ends[row - 1]) if row else 0
        return chip, row, int(np.flatnonzero(allowed[row])[inside])


def crop_positions(
    shapes: Sequence[tuple[int, int]],
    valid: Sequence[Bool[np.ndarray, "_ _"] | None],
    crop_px: int,
) -> CropPositions:
    """Count the positions in chips of these (rows, cols); `valid` is None for chips without invalid pixels."""
    widths = tuple(max(cols - crop_px + 1, 0) for _, cols in shapes)
    heights = tuple(max(rows - crop_px + 1, 0) for rows, _ in shapes)
    allowed = tuple(None if mask is None else allowed_corners(mask, crop_px) for mask in valid)
    row_ends = tuple(None if mask is None else np.cumsum(mask.sum(axis=1, dtype=np.int64)) for mask in allowed)
    counts = [
        height * width if mask is None else int(mask.sum())
        for height, width, mask in zip(heights, widths, allowed, strict=True)
    ]
    ends = np.cumsum(np.array(counts, np.int64))
    return CropPositions(crop_px=crop_px, ends=ends, widths=widths, allowed=allowed, row_ends=row_ends)


def allowed_corners(valid: Bool[np.ndarray, "rows cols"], crop_px: int) -> Bool[np.ndarray, "top left"]:
    """Whether the crop whose first pixel is (top, left) holds valid pixels only; empty where no crop fits.

    Counts of invalid pixels come from an integral image (summed-area table; Crow 1984).
    """
    rows, cols = valid.shape
    if min(rows, cols) < crop_px:
        return np.zeros((max(rows - crop_px + 1, 0), max(cols - crop_px + 1, 0)), bool)
    table = np.zeros((rows + 1, cols + 1), np.int32)
    table[1:, 1:] = (~valid).cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    c = crop_px
    return np.asarray(table[c:, c:] - table[:-c, c:] - table[c:, :-c] + table[:-c, :-c] == 0)
