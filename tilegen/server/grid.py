"""The grid of the map: which pixels a tile of a zoom shows, and where they lie."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from affine import Affine
from morecantile import TileMatrixSet
from pyproj import CRS

from tilegen.errors import InputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window

BLOCK_PX = 512
"""Edge of a block: what is painted or read at once. A tile of the world, so that its bytes are a product's."""

MAP_TILE_PX = BLOCK_PX // 2
"""Edge of a tile of the map: a quarter of a tile of the world, which four of them share."""

WORLD_ZOOM = 32
"""Zoom of an endless world's own pixels: 2**40 of them a side, which float64 and JavaScript still address exactly."""

_LATTICE = Lattice(tile_px=MAP_TILE_PX)


class NoTileError(InputError):
    """There is no such tile. The server answers 404."""


@dataclass(frozen=True, kw_only=True)
class MapGrid:
    """Tiles of 256 pixels at several levels; level 0 is full resolution, each next one has half of it.

    Zoom counts the other way: `native_zoom` is level 0. At zoom z the map has 2**z tiles a side. The first one lies at
    pixel (0, 0) of a product, and of an endless world so far up and left that pixel (0, 0) is in the middle.

    Args:
        crs: of the imagery.
        res: edge of a pixel in units of the CRS.
        x0, y0: upper left corner of pixel (0, 0) in the CRS.
        num_levels: how many levels the map has.
        native_zoom: zoom of level 0.
        centred: whether pixel (0, 0) is in the middle.
        edge: the pixels that there are; None if they do not end.
    """

    crs: str
    res: float
    x0: float = 0.0
    y0: float = 0.0
    num_levels: int
    native_zoom: int
    centred: bool
    edge: Window | None = None

    @property
    def min_zoom(self) -> int:
        """Zoom of the coarsest level."""
        return self.native_zoom - self.num_levels + 1

    @functools.cached_property
    def parsed_crs(self) -> CRS:
        """The CRS, parsed."""
        return CRS.from_user_input(self.crs)

    def address(self, zoom: int, row: int, col: int) -> tuple[int, int, int]:
        """(level, row, col) of a tile, counted from pixel (0, 0).

        Raises:
            NoTileError: there is no such tile.
        """
        if not self.min_zoom <= zoom <= self.native_zoom:
            raise NoTileError(f"There are tiles at zoom {self.min_zoom} to {self.native_zoom}, none at {zoom}.")
        if not (0 <= row < 1 << zoom and 0 <= col < 1 << zoom):
            raise NoTileError(f"Rows and columns of zoom {zoom} go from 0 to {(1 << zoom) - 1}, got {row} and {col}.")
        shift = 1 << (zoom - 1) if self.centred else 0
        level, row, col = self.native_zoom - zoom, row - shift, col - shift
        if self.clipped(level, _LATTICE.tile(row, col)) is None:
            raise NoTileError("There is no imagery here: the tile lies beyond its edge.")
        return level, row, col

    def clipped(self, level: int, window: Window) -> Window | None:
        """The part of a window of a level inside the edge; None if there is none."""
        if self.edge is None:
            return window
        edge, size = self.edge, 1 << level
        return window.intersection(
            Window(
                row0=edge.row0 // size, col0=edge.col0 // size, row1=-(-edge.row1 // size), col1=-(-edge.col1 // size)
            )
        )

    def transform(self, level: int, window: Window) -> Affine:
        """Affine transform from pixels of a window of a level to the CRS, corner convention."""
        res = self.res * (1 << level)
        return Affine(res, 0.0, self.x0 + window.col0 * res, 0.0, -res, self.y0 - window.row0 * res)

    def tile_matrix_set(self, identifier: str, title: str) -> TileMatrixSet:
        """The grid as OGC's Two Dimensional Tile Matrix Set 2.0 has it."""
        side = float(MAP_TILE_PX << self.native_zoom) * self.res
        left, top = (self.x0 - side / 2, self.y0 + side / 2) if self.centred else (self.x0, self.y0)
        return TileMatrixSet.custom(
            [left, top - side, left + side, top],
            self.parsed_crs,
            tile_width=MAP_TILE_PX,
            tile_height=MAP_TILE_PX,
            minzoom=self.min_zoom,
            maxzoom=self.native_zoom,
            id=identifier,
            title=title,
        )


def zoom_of(side_px: int) -> int:
    """The zoom whose tiles span `side_px` pixels or more."""
    tiles = -(-side_px // MAP_TILE_PX)
    return max(tiles - 1, 0).bit_length()
