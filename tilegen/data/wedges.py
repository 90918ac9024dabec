"""Finding no-data that nobody tagged: black wedges where a chip reaches over the edge of its strip of imagery."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int32, Shaped

MIN_WEDGE_PX = 6
"""Smallest wedge, pixels. A SpaceNet 1 chip of Rio has one of 7; single black pixels of a shadow are fewer."""

MIN_STRAIGHTNESS = 0.8
"""Smallest share of a wedge's pixels that pass the test of `_reaches_sides`. Of the wedges in the SpaceNet chips that
we have seen the roughest, enlarged and reduced by somebody, has 0.86; of the shadows at a corner in UC Merced 0.77."""

MIN_GAP_SHARE = 0.01
"""Smallest share of the chip that a gap between two strips covers."""

MARGIN_PX = 3
"""No-data is grown by this much: resampled chips have a rim, up to 3 pixels wide, mixed of imagery and black."""


def black_wedges(
    pixels: Shaped[np.ndarray, "bands rows cols"],
    valid: Bool[np.ndarray, "rows cols"],
) -> Bool[np.ndarray, "rows cols"]:
    """Valid pixels that are untagged no-data, True where they are; shadows at the sides stay valid.

    The rule is tilegen's own. The footprint of a strip is convex, so a straight line parts each black pixel outside
    of it from the imagery, and all of the chip beyond that line is black, to the corner. A *wedge* is therefore a
    connected region of zeros at a corner, most of whose horizontal and vertical runs end at a side of the chip;
    shadows are ragged. A *gap* between two strips crosses the chip, from one side to another. Water that somebody
    stretched to solid black at such a place is taken for no-data as well: nothing in the pixels tells them apart.
    """
    black = (pixels == 0).all(axis=0) & valid
    if not black.any():
        return np.zeros_like(black)
    labels = region_labels(black)
    num = int(labels.max()) + 1
    areas = np.maximum(np.bincount(labels[black], minlength=num), 1)
    straightness = np.bincount(labels[black & _reaches_sides(black)], minlength=num) / areas

    at_corner = _among(labels[[0, 0, -1, -1], [0, -1, 0, -1]], num)
    top, bottom, left, right = (_among(side, num) for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    crossing = (top & bottom) | (left & right) | ((top | bottom) & (left | right) & ~at_corner)
    wedges = at_corner & (areas >= MIN_WEDGE_PX) & (straightness >= MIN_STRAIGHTNESS)
    gaps = crossing & (areas >= MIN_GAP_SHARE * black.size)
    if not (wedges | gaps).any():
        return np.zeros_like(black)
    found = black & (wedges | gaps)[labels]
    return np.asarray(grown(found, MARGIN_PX) & valid)


def _reaches_sides(mask: Bool[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """Pixels from which one can go straight to the left or right side, and to the top or bottom, inside `mask`."""
    reached = np.ones_like(mask)
    for axis in (0, 1):
        forth = np.logical_and.accumulate(mask, axis=axis)
        back = np.flip(np.logical_and.accumulate(np.flip(mask, axis), axis=axis), axis)
        reached &= forth | back
    return reached


def region_labels(mask: Bool[np.ndarray, "rows cols"]) -> Int32[np.ndarray, "rows cols"]:
    """A number for each 4-connected region of `mask`, -1 elsewhere; the numbers have gaps.

    Horizontal and vertical runs are the two sides of a bipartite graph whose edges are the pixels. The least number
    of a horizontal run spreads over it, and numbers point on to smaller numbers, until nothing changes (pointer
    jumping as in Shiloach & Vishkin 1982).
    """
    in_row = _run_numbers(mask)[mask]
    in_col = np.ascontiguousarray(_run_numbers(mask.T).T)[mask]
    least = np.arange(in_row.max(initial=-1) + 1, dtype=np.int32)
    while True:
        of_col = np.full(in_col.max(initial=-1) + 1, least.size, np.int32)
        np.minimum.at(of_col, in_col, least[in_row])
        smaller = least.copy()
        np.minimum.at(smaller, in_row, of_col[in_col])
        smaller = smaller[smaller]
        if np.array_equal(smaller, least):
            break
        least = smaller
    labels = np.full(mask.shape, -1, np.int32)
    labels[mask] = least[in_row]
    return labels


def _run_numbers(mask: Bool[np.ndarray, "rows cols"]) -> Int32[np.ndarray, "rows cols"]:
    """The number, from 0, of the horizontal run that each True pixel is in; anything elsewhere."""
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    return np.asarray(np.cumsum(starts, dtype=np.int32).reshape(mask.shape) - 1)


def grown(mask: Bool[np.ndarray, "rows cols"], margin_px: int) -> Bool[np.ndarray, "rows cols"]:
    """`mask` with all pixels whose row and column are at most `margin_px` from one of it."""
    for axis in (0, 1):
        lines = np.moveaxis(mask.copy(), axis, 0)
        source = lines.copy()
        for shift in range(1, margin_px + 1):
            lines[shift:] |= source[:-shift]
            lines[:-shift] |= source[shift:]
        mask = np.moveaxis(lines, 0, axis)
    return mask


def _among(labels: Int32[np.ndarray, " n"], num: int) -> Bool[np.ndarray, " regions"]:
    """For each region number below `num`, whether it is one of `labels`."""
    return np.asarray(np.bincount(labels[labels >= 0], minlength=num) > 0)
