"""Where the world lies on the Earth: a CRS and a north-up grid of square pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from tilegen.errors import InputError
from tilegen.geometry.window import MAX_COORDINATE, Window


@dataclass(frozen=True, kw_only=True)
class GeoReference:
    """North-up georeference of the world: pixel (row, col) has its upper left corner at (col * res, -row * res).

    The grid is anchored at (0, 0) of the CRS, so a ground coordinate is the same pixel of the same world, whatever
    extent is rendered.

    Args:
        crs: anything PROJ understands: "EPSG:32611", an OGC URN, WKT.
        res: edge of one pixel, in units of the CRS (metres, or degrees for a geographic CRS).

    Raises:
        InputError: PROJ does not know the CRS, or `res` is not a positive finite number.
    """

    crs: str
    res: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.res) and self.res > 0):
            raise InputError(f"--res must be a positive number in units of the CRS, got {self.res}.")
        try:
            CRS.from_user_input(self.crs)
        except CRSError:
            raise InputError(
                f"Unknown CRS {self.crs!r}. Give an EPSG code such as EPSG:32611, or WKT that PROJ understands."
            ) from None

    @property
    def wkt(self) -> str:
        """The CRS as WKT 2."""
        return str(CRS.from_user_input(self.crs).to_wkt())

    @property
    def unit(self) -> str:
        """Name of the unit of the CRS axes, such as "metre" or "degree"."""
        return str(CRS.from_user_input(self.crs).axis_info[0].unit_name)

    def transform(self, window: Window) -> Affine:
        """Affine transform from pixels of `window` (its own rows and columns, corner convention) to the CRS."""
        return Affine(self.res, 0.0, window.col0 * self.res, 0.0, -self.res, -window.row0 * self.res)

    def bounds(self, window: Window) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) of `window` in the CRS."""
        return (
            window.col0 * self.res,
            -window.row1 * self.res,
            window.col1 * self.res,
            -window.row0 * self.res,
        )

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the grid corner nearest to the CRS coordinate (`x`, `y`).

        Raises:
            InputError: the coordinate is not finite or lies beyond the grid.
        """
        if not (math.isfinite(x) and math.isfinite(y)) or max(abs(x), abs(y)) / self.res > MAX_COORDINATE:
            raise InputError(f"--origin ({x}, {y}) is not a coordinate on a grid of {self.res} {self.unit} pixels.")
        return round(-y / self.res), round(x / self.res)
