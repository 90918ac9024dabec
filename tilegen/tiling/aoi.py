"""The AOI of a product: a polygon on the grid of the world, outside of which every pixel is nodata.

A pixel is inside if its centre is, GDAL's rule for rasterising. Whether it is depends on the polygon and the absolute
pixel alone, so the mask is the same however the product is cut into tiles and shards. GDAL's own function counts from
the corner of the raster it is given, and rounds differently in each: a centre close to an edge may fall on either side.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from jaxtyping import Bool, Float64, Int64

from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window

_LARGEST_STORED_BYTES = 32 << 10
"""Larger polygons are named in a product, not repeated: metadata of a GeoTIFF are read whole by whoever opens it."""

_MANY_PX = 4096**2


@dataclass(frozen=True, kw_only=True)
class Aoi:
    """One polygon, with any number of parts and holes. Picklable and hashable.

    Args:
        wkb: a valid polygon or multipolygon in the CRS of `georef`, as WKB; y points up.
        georef: grid of the world.
    """

    wkb: bytes
    georef: GeoReference

    @property
    def digest(self) -> str:
        """SHA-256 of the WKB."""
        return hashlib.sha256(self.wkb).hexdigest()

    @property
    def is_stored(self) -> bool:
        """Whether `provenance` repeats the polygon."""
        return len(self.wkb) <= _LARGEST_STORED_BYTES

    def provenance(self) -> dict[str, Any]:
        """What a product says of it, JSON-serialisable: its SHA-256, and the polygon if that is not too large."""
        return {"sha256": self.digest, **({"wkb": self.wkb.hex()} if self.is_stored else {})}

    def covering(self) -> Window:
        """The smallest window that contains it."""
        return self.georef.window([float(value) for value in shapely.bounds(shapely.from_wkb(self.wkb))])

    def mask(self, window: Window) -> Bool[np.ndarray, "rows cols"]:
        """True for the pixels of `window` whose centres lie inside.

        Of two areas with a common edge, a centre on it belongs to exactly one: to that on its left, or above.
        """
        edges = _edges(self)
        top, left, bottom, right = edges[(edges[:, 0] < window.row1) & (edges[:, 2] > window.row0)].T
        first = np.clip(np.ceil(top), window.row0, window.row1).astype(np.int64)
        count = np.clip(np.ceil(bottom), window.row0, window.row1).astype(np.int64) - first
        edge = np.repeat(np.arange(len(count)), count)
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        crossing = left[edge] + (row - top[edge]) * ((right - left) / (bottom - top))[edge]
        col = np.clip(np.floor(crossing) + 1, window.col0, window.col1).astype(np.int64)
        # Each crossing turns inside to outside, and back, for all pixels on its right.
        place = (row - window.row0) * (window.width + 1) + col - window.col0
        turns = np.bincount(place, minlength=window.height * (window.width + 1)).astype(np.uint8) & 1
        inside = np.bitwise_xor.accumulate(turns.reshape(window.height, -1), axis=1)[:, :-1]
        return inside.astype(np.bool_)

    def meets_pixel(self, window: Window) -> bool:
        """Whether any pixel of `window` is inside; of many pixels that is taken for granted."""
        common = self.covering().intersection(window)
        if common is None:
            return False
        return common.height * common.width > _MANY_PX or bool(self.mask(common).any())

    def meets(self, rows: Int64[np.ndarray, " n"], cols: Int64[np.ndarray, " m"]) -> Bool[np.ndarray, "n-1 m-1"]:
        """Which cells of a grid of borders it meets, if only by its rim: none of the others has a pixel inside.

        Args:
            rows: borders between the cells, absolute pixels, from the first to the last.
            cols: the same from left to right.
        """
        polygon = _polygon(self)
        met = np.zeros((len(rows) - 1, len(cols) - 1), np.bool_)
        for row in range(len(met)):
            cells = shapely.box(cols[:-1], float(rows[row]), cols[1:], float(rows[row + 1]))
            met[row] = shapely.intersects(polygon, cells)
        return met


@functools.lru_cache(maxsize=4)
def _polygon(aoi: Aoi) -> Any:
    """The polygon in absolute pixels, x for columns and y for rows, prepared for many questions."""
    (x0, y0), res = aoi.georef.anchor, aoi.georef.res
    polygon = shapely.transform(shapely.from_wkb(aoi.wkb), lambda xy: (xy - [x0, y0]) / [res, -res])
    shapely.prepare(polygon)
    return polygon


@functools.lru_cache(maxsize=4)
def _edges(aoi: Aoi) -> Float64[np.ndarray, "edges 4"]:
    """(top row, its column, bottom row, its column) of every edge that is not level, where whole numbers are centres.

    An edge reads the same for the polygons on both its sides.
    """
    rings = shapely.get_rings(shapely.get_parts(_polygon(aoi)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    points = points[:, ::-1] - 0.5
    pairs = np.concatenate([points[:-1], points[1:]], axis=1)[ring[:-1] == ring[1:]]
    upwards = pairs[:, 0] > pairs[:, 2]
    pairs[upwards] = pairs[upwards][:, [2, 3, 0, 1]]
    return np.ascontiguousarray(pairs[pairs[:, 0] < pairs[:, 2]])
