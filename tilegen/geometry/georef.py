"""Where the world lies on the Earth: a CRS and a north-up grid of square pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from tilegen.errors import InputError
from tilegen.geometry.window import MAX_COORDINATE, Window

Bounds = Sequence[float | int]
"""(xmin, ymin, xmax, ymax) in units of a CRS."""

_EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (IUGG)."""


_NO_PIXEL = 1e-6
"""Share of a pixel by which bounds may reach into another one: decimals in float64, and no wish for it."""

_SMALLEST_RES, _LARGEST_RES = 1e-9, 1e9
"""Pixel sizes beyond these are typing errors in every unit, and coordinates in float64 would not hold them."""


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
        if not _SMALLEST_RES <= self.res <= _LARGEST_RES:
            raise InputError(
                f"--res must be a positive number in units of the CRS, from {_SMALLEST_RES:g} to {_LARGEST_RES:g}, "
                f"got {self.res}."
            )
        try:
            crs = CRS.from_user_input(self.crs)
        except CRSError:
            raise InputError(
                f"Unknown CRS {self.crs!r}. Give an EPSG code such as EPSG:32611, or WKT that PROJ understands."
            ) from None
        axes = [axis.direction for axis in crs.axis_info]
        if not (crs.is_projected or crs.is_geographic) or len(axes) != 2 or "west" in axes:
            raise InputError(
                f"{self.crs!r} is no map of two axes, one of them east. Give one such as EPSG:32611 or EPSG:4326."
            )

    @property
    def wkt(self) -> str:
        """The CRS as WKT 2."""
        return str(CRS.from_user_input(self.crs).to_wkt())

    @property
    def unit(self) -> str:
        """Name of the unit of the CRS axes, such as "metre" or "degree"."""
        return str(CRS.from_user_input(self.crs).axis_info[0].unit_name)

    @property
    def unit_m(self) -> float:
        """Metres in one unit of the CRS; for degrees along a meridian of the mean sphere."""
        axis = CRS.from_user_input(self.crs).axis_info[0]
        factor = float(axis.unit_conversion_factor)
        return factor * _EARTH_RADIUS_M if self.is_geographic else factor

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are angles."""
        return bool(CRS.from_user_input(self.crs).is_geographic)

    def check_on_earth(self, window: Window) -> None:
        """Refuse a window of a geographic CRS that leaves the globe by more than half a pixel, the grid's own rounding.

        Raises:
            InputError: longitudes beyond ±180 or latitudes beyond ±90 degrees.
        """
        xmin, ymin, xmax, ymax = self.bounds(window)
        lon, lat = 180 + self.res / 2, 90 + self.res / 2
        if self.is_geographic and (xmin < -lon or xmax > lon or ymin < -lat or ymax > lat):
            raise InputError(
                f"{window} is {xmin:g} {ymin:g} {xmax:g} {ymax:g} degrees, which is not on the globe. "
                "Give another --origin, a smaller --size or a smaller --res (in degrees)."
            )

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

    def window(self, bounds: Bounds) -> Window:
        """The smallest window that covers `bounds`, (xmin, ymin, xmax, ymax) in the CRS: the inverse of `bounds`.

        Raises:
            InputError: the bounds are not finite, not in this order, or lie beyond the grid or the globe.
        """
        xmin, ymin, xmax, ymax = map(float, bounds) if len(bounds) == 4 else [math.nan] * 4
        if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))) or xmin >= xmax or ymin >= ymax:
            raise InputError(
                f"{tuple(bounds)} are no bounds. Give (xmin, ymin, xmax, ymax) in units of the CRS, smaller ones first."
            )
        if max(map(abs, (xmin, ymin, xmax, ymax))) / self.res > MAX_COORDINATE:
            raise InputError(f"{tuple(bounds)} are not on a grid of {self.res} {self.unit} pixels. Give other bounds.")
        window = Window(
            row0=math.floor(-ymax / self.res + _NO_PIXEL),
            col0=math.floor(xmin / self.res + _NO_PIXEL),
            row1=math.ceil(-ymin / self.res - _NO_PIXEL),
            col1=math.ceil(xmax / self.res - _NO_PIXEL),
        )
        self.check_on_earth(window)
        return window
