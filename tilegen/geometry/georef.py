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

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (IUGG)."""

_SMALLEST_RES, _LARGEST_RES = 1e-9, 1e9
"""Pixel sizes beyond these are typing errors in every unit, and coordinates in float64 would not hold them."""

_ROUNDING_PX = 1e-6
"""Nearer to a whole pixel than this is whole: decimal pixel sizes have no exact float64."""


@dataclass(frozen=True, kw_only=True)
class GeoReference:
    """North-up georeference of the world: pixel (row, col) has its upper left corner at (x + col * res, y - row * res).

    (x, y) is the anchor: (0, 0) of the CRS, unless a world has to fit the grid of another file. So a ground coordinate
    is the same pixel of the same world, whatever extent is rendered.

    Args:
        crs: anything PROJ understands: "EPSG:32611", an OGC URN, WKT.
        res: edge of one pixel, in units of the CRS (metres, or degrees for a geographic CRS).
        anchor: (x, y) of the corner of pixel (0, 0), less than a pixel from (0, 0) of the CRS: see `anchor_of`.

    Raises:
        InputError: PROJ does not know the CRS, `res` is not a positive finite number, or the anchor is far off.
    """

    crs: str
    res: float
    anchor: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not _SMALLEST_RES <= self.res <= _LARGEST_RES:
            raise InputError(
                f"--res must be a positive number in units of the CRS, from {_SMALLEST_RES:g} to {_LARGEST_RES:g}, "
                f"got {self.res}."
            )
        if not all(0 <= offset < self.res for offset in self.anchor):
            raise InputError(f"An anchor of the grid is from 0 to less than a pixel ({self.res:g}), got {self.anchor}.")
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
        return factor * EARTH_RADIUS_M if self.is_geographic else factor

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
        # A grid that was given cannot be snapped to the antimeridian, and ends less than a pixel beyond it.
        slack = self.res / 2 if self.anchor == (0.0, 0.0) else self.res
        lon, lat = 180 + slack, 90 + slack
        if self.is_geographic and (xmin < -lon or xmax > lon or ymin < -lat or ymax > lat):
            raise InputError(
                f"{window} is {xmin:g} {ymin:g} {xmax:g} {ymax:g} degrees, which is not on the globe. "
                "Give another --origin, a smaller --size or a smaller --res (in degrees); across the antimeridian or a "
                "pole, a projected --crs."
            )

    def transform(self, window: Window) -> Affine:
        """Affine transform from pixels of `window` (its own rows and columns, corner convention) to the CRS."""
        x, y = self._corner(window.row0, window.col0)
        return Affine(self.res, 0.0, x, 0.0, -self.res, y)

    def bounds(self, window: Window) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) of `window` in the CRS."""
        xmin, ymax = self._corner(window.row0, window.col0)
        xmax, ymin = self._corner(window.row1, window.col1)
        return xmin, ymin, xmax, ymax

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """(row, col) of the grid corner nearest to the CRS coordinate (`x`, `y`).

        Raises:
            InputError: the coordinate is not finite or lies beyond the grid.
        """
        self._require_on_grid("--origin", x, y)
        row, col = self._position(x, y)
        return round(row), round(col)

    def window(self, bounds: Bounds) -> Window:
        """The smallest window that covers `bounds`, (xmin, ymin, xmax, ymax) in the CRS: the inverse of `bounds`.

        Snapped outward, but for a millionth of a pixel.

        Raises:
            InputError: the bounds are not finite, not in this order, or lie beyond the grid or the globe.
        """
        try:
            xmin, ymin, xmax, ymax = map(float, bounds)
        except (TypeError, ValueError):
            raise InputError(f"{bounds!r} are no bounds. Give four numbers: west, south, east, north.") from None
        if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))) or xmin >= xmax or ymin >= ymax:
            given = ",".join(f"{side:.10g}" for side in bounds)
            raise InputError(f"The bounds {given} are empty or the wrong way round. Give west,south,east,north.")
        self._require_on_grid("The corner", xmin, ymin)
        self._require_on_grid("The corner", xmax, ymax)
        (row0, col0), (row1, col1) = self._position(xmin, ymax), self._position(xmax, ymin)
        row0, col0 = math.floor(row0 + _ROUNDING_PX), math.floor(col0 + _ROUNDING_PX)
        row1, col1 = math.ceil(row1 - _ROUNDING_PX), math.ceil(col1 - _ROUNDING_PX)
        window = Window(row0=row0, col0=col0, row1=max(row1, row0 + 1), col1=max(col1, col0 + 1))
        self.check_on_earth(window)
        return window

    def _corner(self, row: int, col: int) -> tuple[float, float]:
        """(x, y) of a grid corner."""
        return self.anchor[0] + col * self.res, self.anchor[1] - row * self.res

    def _position(self, x: float, y: float) -> tuple[float, float]:
        """(row, col) of a coordinate, with fractions."""
        return (self.anchor[1] - y) / self.res, (x - self.anchor[0]) / self.res

    def _require_on_grid(self, name: str, x: float, y: float) -> None:
        if not (math.isfinite(x) and math.isfinite(y)) or max(abs(x), abs(y)) / self.res > MAX_COORDINATE:
            raise InputError(f"{name} ({x}, {y}) is not a coordinate on a grid of {self.res} {self.unit} pixels.")


def anchor_of(x: float, y: float, res: float) -> tuple[float, float]:
    """The anchor of the grid of `res` that has a corner at (`x`, `y`); (0, 0) where that is so but for rounding."""
    x_off, y_off = (value - math.floor(value / res) * res for value in (x, y))
    return _rounded(x_off, res), _rounded(y_off, res)


def _rounded(offset: float, res: float) -> float:
    """`offset`, or 0 if it is a whole number of pixels but for rounding."""
    # Nearer than `covering` asks for, so that it never sees a corner of a grid on the other side.
    nearest = min(abs(offset), abs(res - offset))
    return 0.0 if nearest <= _ROUNDING_PX / 10 * res or not 0 <= offset < res else offset
