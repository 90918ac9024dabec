"""Pixels of an endless image seen from afar: each is the mean of 2x2 pixels of the level below, as in products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt

from tilegen.errors import InputError
from tilegen.geometry.georef import Bounds, GeoReference
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.render import TileRenderer
from tilegen.tiling.sinks.overviews import halved

_SAME = 1e-9
"""Relative difference of two pixel sizes that are meant to be one; decimals of degrees differ by less."""


def level_of(res: float | None, full_res: float, tile_px: int) -> int:
    """The level whose pixels are `res` wide; 0 for None.

    Args:
        full_res: edge of a pixel at full resolution, in the same units.
        tile_px: edge of a tile. A pixel covers one at most, so that no pixel costs more than that.

    Raises:
        InputError: there is no such level.
    """
    if res is None:
        return 0
    for level in range(tile_px.bit_length()):
        if abs(res / (full_res * (1 << level)) - 1) < _SAME:
            return level
    raise InputError(
        f"res={res:g} is no level of a world of {full_res:g}: give that times 1, 2, 4 and so on up to {tile_px}. "
        "For any other, take the next finer level and resample it."
    )


def covering(georef: GeoReference, window: Window | None, bounds: Bounds | None, *, level: int) -> Window:
    """The smallest window that covers `window` or `bounds` and that whole pixels of `level` fill.

    Levels are anchored at pixel (0, 0) of the world, so a place on the ground is the same mean in every window.

    Raises:
        InputError: neither is given, or both; or the bounds cannot be used.
    """
    if window is not None and bounds is not None:
        raise InputError("Give a window or bounds, not both.")
    if bounds is not None:
        window = georef.window(bounds)
    if window is None:
        raise InputError("A world has no end. Say which part: bounds=(xmin, ymin, xmax, ymax) in the CRS, or a window.")
    span = Lattice(tile_px=1 << level).indices(window)
    return Window(row0=span.row0 << level, col0=span.col0 << level, row1=span.row1 << level, col1=span.col1 << level)


def pixels_at(
    renderer: TileRenderer, rows: Sequence[int], cols: Sequence[int], *, level: int
) -> UInt[np.ndarray, "bands rows cols"]:
    """The pixels where these rows and columns cross, in this order. Each tile that has any is rendered once.

    Args:
        rows: of the world, in pixels of `level`; any order, repeated or not.
        cols: likewise.
        level: 0 is full resolution; a tile holds whole pixels of it.
    """
    tile_px = renderer.lattice.tile_px >> level
    pixels = np.empty((len(renderer.band_names), len(rows), len(cols)), np.uint8)  # if there is no tile to ask
    by_col = list(_by_tile(cols, tile_px))
    for row, places, inside in _by_tile(rows, tile_px):
        for col, across, within in by_col:
            tile = renderer.render_tile(renderer.lattice.tile(row, col))
            for _ in range(level):
                tile = halved(tile)
            if pixels.dtype != tile.dtype:
                pixels = np.empty(pixels.shape, tile.dtype)
            pixels[:, places[:, None], across] = tile[:, inside[:, None], within]
    return pixels


def _by_tile(positions: Sequence[int], tile_px: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(index of the tile, which of `positions` it holds, where in the tile they are), tile by tile."""
    every = np.asarray(positions, np.int64)
    tiles = every // tile_px
    order = np.argsort(tiles, kind="stable")
    found, starts = np.unique(tiles[order], return_index=True)
    for tile, places in zip(found.tolist(), np.split(order, starts[1:]), strict=False):
        yield tile, places, every[places] - tile * tile_px
