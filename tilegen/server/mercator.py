"""XYZ tiles of Web Mercator from imagery in any CRS: plain pixels where the grids coincide, else resampled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import morecantile
import numpy as np
from affine import Affine
from jaxtyping import UInt8
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.errors import CRSError
from rasterio.warp import reproject, transform_bounds

from tilegen.geometry.window import MAX_COORDINATE, Window
from tilegen.server.encoding import NODATA
from tilegen.server.grid import MAP_TILE_PX, MapGrid, NoTileError

WEB_MERCATOR = morecantile.tms.get("WebMercatorQuad")

_CRS = "EPSG:3857"
_MARGIN_PX = 4
"""GDAL's bilinear kernel reaches 2 pixels of the result, here at most 4 of what it reads."""

_MOST_MAGNIFIED = 4.0
"""A tile finer than that shows nothing new; whoever looks can magnify."""

_MOST_PX = 3 * MAP_TILE_PX
"""Longest side of what one tile may read; only near the poles it would be more."""

_COINCIDES_PX = 1e-3
_TOLERANCE = 1e-6
"""Of zooms: those of grids that coincide differ by rounding."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a tile of Web Mercator is made of.

    Args:
        level: of the imagery.
        window: pixels of the level.
        is_exact: whether these are the pixels of the tile.
    """

    level: int
    window: Window
    is_exact: bool


def reading(grid: MapGrid, zoom: int, row: int, col: int) -> Reading:
    """What to read for the XYZ tile x = `col`, y = `row`.

    The level is the coarsest one that is as fine as the tile.

    Raises:
        NoTileError: there is no such tile, or it is finer or coarser than what can be shown.
    """
    if not (0 <= zoom <= WEB_MERCATOR.maxzoom and 0 <= row < 1 << zoom and 0 <= col < 1 << zoom):
        raise NoTileError(f"There is no tile {zoom}/{col}/{row}: x and y go from 0 to 2**z - 1, z to 24.")
    left, bottom, right, top = _bounds_in(grid.crs, tuple(WEB_MERCATOR.xy_bounds(morecantile.Tile(col, row, zoom))))
    magnified = MAP_TILE_PX * grid.res / max(right - left, top - bottom)
    if magnified > _MOST_MAGNIFIED:
        raise NoTileError(f"Zoom {zoom} is finer than the imagery. Magnify a tile of a lower zoom.")
    reduced = -math.log2(magnified)
    if reduced > grid.num_levels - 1 + _TOLERANCE:
        raise NoTileError(f"Zoom {zoom} is too far out. Zoom in to see pixels.")
    level = max(0, math.floor(reduced + _TOLERANCE))
    res = grid.res * (1 << level)
    edges = ((grid.y0 - top) / res, (left - grid.x0) / res, (grid.y0 - bottom) / res, (right - grid.x0) / res)
    if max(map(abs, edges)) > MAX_COORDINATE / (2 << level):
        raise NoTileError("There is no imagery here: the tile lies beyond the edge of all coordinates.")
    near = Window(**dict(zip(("row0", "col0", "row1", "col1"), map(round, edges), strict=True)))
    is_exact = near.shape == (MAP_TILE_PX, MAP_TILE_PX) and all(
        abs(edge - round(edge)) < _COINCIDES_PX for edge in edges
    )
    window = near if is_exact and CRS.from_user_input(_CRS) == grid.parsed_crs else _with_margin(edges)
    if grid.clipped(level, window) is None:
        raise NoTileError("There is no imagery here: the tile lies beyond its edge.")
    return Reading(level=level, window=window, is_exact=window == near)


def warped(
    grid: MapGrid, found: Reading, pixels: UInt8[np.ndarray, "bands rows cols"], tile: tuple[int, int, int]
) -> UInt8[np.ndarray, "bands 256 256"]:
    """The pixels of a tile (zoom, row, col), bilinear; 0 where there is nothing.

    Each depends on its place alone, so tiles fit together.
    """
    if found.is_exact:
        return pixels
    zoom, row, col = tile
    bounds = WEB_MERCATOR.xy_bounds(morecantile.Tile(col, row, zoom))
    res = WEB_MERCATOR.matrix(zoom).cellSize
    out = np.zeros((len(pixels), MAP_TILE_PX, MAP_TILE_PX), np.uint8)
    reproject(
        np.ascontiguousarray(pixels),
        out,
        src_transform=grid.transform(found.level, found.window),
        src_crs=grid.crs,
        src_nodata=NODATA,
        dst_transform=Affine(res, 0.0, bounds.left, 0.0, -res, bounds.top),
        dst_crs=_CRS,
        dst_nodata=NODATA,
        resampling=Resampling.bilinear,
        tolerance=0.0,  # GDAL would interpolate coordinates, in every tile in another way
    )
    return out


def zooms(grid: MapGrid) -> tuple[int, int] | None:
    """(least, greatest) zoom of Web Mercator at which the middle of the imagery is shown; None if it is nowhere there.

    The greatest is the first one that is as fine as the imagery.
    """
    edge = grid.edge or Window.from_size(2, 2, row0=-1, col0=-1)
    middle = Window.from_size(2, 2, row0=(edge.row0 + edge.row1) // 2, col0=(edge.col0 + edge.col1) // 2)
    corner = grid.transform(0, middle)
    try:
        to_mercator = Transformer.from_crs(grid.parsed_crs, _CRS, always_xy=True)
        x0, y0, x1, y1 = to_mercator.transform_bounds(
            corner.c, corner.f - 2 * grid.res, corner.c + 2 * grid.res, corner.f
        )
    except (ValueError, RuntimeError):
        return None
    res = max(x1 - x0, y1 - y0) / 2
    if not math.isfinite(res) or res <= 0:
        return None
    finest = math.ceil(math.log2(WEB_MERCATOR.matrix(0).cellSize / res) - _TOLERANCE)
    coarsest = finest - (grid.num_levels - 1)
    if finest < 0 or coarsest > WEB_MERCATOR.maxzoom:
        return None
    return max(0, coarsest), min(finest, WEB_MERCATOR.maxzoom)


def _bounds_in(crs: str, bounds: tuple[float, ...]) -> tuple[float, float, float, float]:
    """Bounds of Web Mercator in another CRS."""
    if crs == _CRS:
        left, bottom, right, top = bounds
        return left, bottom, right, top
    try:
        left, bottom, right, top = transform_bounds(_CRS, crs, *bounds)
    except CRSError:
        left = bottom = right = top = math.nan
    if not (math.isfinite(left + bottom + right + top) and right > left and top > bottom):
        raise NoTileError("The CRS of the imagery does not reach here. Look closer to where it belongs.")
    return left, bottom, right, top


def _with_margin(edges: tuple[float, float, float, float]) -> Window:
    """The pixels that a tile with these edges reads.

    Raises:
        NoTileError: they are too many.
    """
    row0, col0, row1, col1 = edges
    window = Window(
        row0=math.floor(row0) - _MARGIN_PX,
        col0=math.floor(col0) - _MARGIN_PX,
        row1=math.ceil(row1) + _MARGIN_PX,
        col1=math.ceil(col1) + _MARGIN_PX,
    )
    if max(window.shape) > _MOST_PX:
        raise NoTileError("The CRS of the imagery is too distorted here for a map. Look closer to where it belongs.")
    return window
