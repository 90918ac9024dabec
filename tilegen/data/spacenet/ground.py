"""Which chips validate: whole blocks of ground, so that no ground is both trained on and validated with."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64
from pyproj import Transformer
from shapely import STRtree, polygons

from tilegen.errors import DataError

GROUND_CRS = "EPSG:6933"
"""EASE-Grid 2.0 (Brodzik et al. 2012): one equal-area map of all land, in metres, so that chips of all zones, rounds
and dates are compared in one plane. Areas are true; at 60 degrees north, a metre to the east is 1.7 on the map, and
one to the north 0.6."""

BLOCK_SIDES = (8, 4, 2, 1)
"""Edges of a block, in median chips; the largest that gives about the share that was asked for is taken."""

Split = str | None
"""Of a chip: "train", "val", or None for neither."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The ground of one chip.

    Args:
        group: its AOI.
        corners: (x, y) of its four corners in `GROUND_CRS`, metres, in order around it.
    """

    group: str
    corners: Float64[np.ndarray, "4 2"]

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of its middle."""
        x, y = self.corners.mean(axis=0)
        return float(x), float(y)

    @property
    def side_m(self) -> float:
        """Edge of a square of its size."""
        x, y = self.corners.T
        return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2) ** 0.5  # shoelace formula


def outline_of(
    group: str,
    shape: tuple[int, int],
    transform: tuple[float, float, float, float, float, float],
    crs: str,
) -> Outline:
    """The ground under a chip of (rows, cols) that lies in `crs` by `transform`, as in `ChipEntry`."""
    rows, cols = shape
    a, b, c, d, e, f = transform
    col, row = np.array([0, cols, cols, 0]), np.array([0, 0, rows, rows])
    x, y = _to_ground(crs).transform(a * col + b * row + c, d * col + e * row + f, errcheck=True)
    return Outline(group=group, corners=np.stack([x, y], axis=1))


@lru_cache
def _to_ground(crs: str) -> Transformer:
    return Transformer.from_crs(crs, GROUND_CRS, always_xy=True)


def split_by_ground(outlines: Sequence[Outline], val_fraction: float, *, distance_m: float) -> list[Split]:
    """The split of each chip.

    The ground is cut into square blocks, and a chip belongs to the block that holds its centre, so that all rounds,
    products and dates of one ground go together. Along the lines of blocks of one AOI after the other, a block
    validates whenever the share of validating chips would otherwise fall behind. A training chip that comes within
    `distance_m` of a validating one, whether it overlaps or abuts, is in neither split.

    Args:
        outlines: of all chips.
        val_fraction: share of the chips that validate, about.
        distance_m: smallest distance between the splits, in `GROUND_CRS`.

    Raises:
        DataError: the ground is too small to be parted.
    """
    if val_fraction == 0:
        return ["train"] * len(outlines)
    side_m = statistics.median(outline.side_m for outline in outlines)
    ground = polygons(np.stack([outline.corners for outline in outlines]))
    wanted = val_fraction * len(outlines)
    for chips in BLOCK_SIDES:
        validates = _in_chosen_blocks(outlines, chips * side_m, val_fraction)
        if chips > 1 and not wanted / 2 <= validates.sum() <= wanted * 3 / 2:
            continue
        near = np.zeros_like(validates)
        near[STRtree(ground).query(ground[validates], predicate="dwithin", distance=distance_m)[1]] = True
        if not near.all():
            return ["val" if own else None if close else "train" for own, close in zip(validates, near, strict=True)]
    raise DataError(
        f"{len(outlines)} chip(s) so close together leave validation no ground of its own. Pack more ground, or give "
        "--val-fraction 0."
    )


def _in_chosen_blocks(outlines: Sequence[Outline], block_m: float, val_fraction: float) -> np.ndarray:
    blocks: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, outline in enumerate(outlines):
        x, y = outline.centre
        blocks[int(y // block_m), int(x // block_m)].append(index)
    order = {group: number for number, group in enumerate(dict.fromkeys(one.group for one in outlines))}
    in_order = sorted(blocks, key=lambda block: (order[outlines[blocks[block][0]].group], block))

    chosen, num_seen, num_val = np.zeros(len(outlines), bool), 0, 0
    for block in in_order:
        num = len(blocks[block])
        num_seen += num
        if num_val + num / 2 <= val_fraction * num_seen:
            chosen[blocks[block]] = True
            num_val += num
    if not chosen.any():
        chosen[blocks[in_order[-1]]] = True
    return chosen
