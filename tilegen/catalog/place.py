"""Where a product lies on the Earth, as GeoJSON wants it."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyproj import CRS, Transformer
from shapely import Polygon, box, segmentize, transform
from shapely.affinity import translate
from shapely.geometry import mapping
from shapely.ops import unary_union

_NUM_STEPS = 32  # per side; a straight line of the CRS is a curve in degrees
_DIGITS = 7  # a centimetre


def footprint(crs: str, bounds: tuple[float, float, float, float]) -> tuple[dict[str, Any], list[float]]:
    """The outline of a rectangle of a CRS in longitude and latitude, and its box.

    What crosses the antimeridian is cut there (RFC 7946, section 3.1.9); its box has west > east. What holds a pole is
    described by its box.

    Args:
        crs: as a code or WKT.
        bounds: (xmin, ymin, xmax, ymax) in the CRS.

    Returns:
        A GeoJSON geometry, and [west, south, east, north] in degrees.
    """
    outline = box(*bounds)
    outline = segmentize(outline, max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / _NUM_STEPS)
    to_degrees = Transformer.from_crs(CRS.from_user_input(crs), "OGC:CRS84", always_xy=True)
    ring = transform(outline, lambda points: np.column_stack(to_degrees.transform(points[:, 0], points[:, 1])))
    degrees = [(float(x), float(y)) for x, y in ring.exterior.coords]
    unwrapped = [degrees[0]]
    for x, y in degrees[1:]:
        turn = round((unwrapped[-1][0] - x) / 360)
        unwrapped.append((x + 360 * turn, y))
    if abs(unwrapped[-1][0] - unwrapped[0][0]) > 180:  # once around
        return _around_a_pole([y for _, y in degrees])
    shape = Polygon(unwrapped).simplify(10**-_DIGITS)
    shifted = [translate(shape, 360 * turn).intersection(box(-180, -90, 180, 90)) for turn in (-1, 0, 1)]
    parts = [part for part in shifted if part.area > 0]
    west, _, east, _ = parts[0].bounds
    if len(parts) > 1:
        west, east = max(part.bounds[0] for part in parts), min(part.bounds[2] for part in parts)
    _, south, _, north = shape.bounds
    return _rounded(mapping(unary_union(parts))), [round(value, _DIGITS) for value in (west, south, east, north)]


def _around_a_pole(latitudes: list[float]) -> tuple[dict[str, Any], list[float]]:
    south, north = (min(latitudes), 90.0) if sum(latitudes) > 0 else (-90.0, max(latitudes))
    return _rounded(mapping(box(-180, south, 180, north))), [
        -180.0,
        round(south, _DIGITS),
        180.0,
        round(north, _DIGITS),
    ]


def _rounded(geometry: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        return (
            round(float(value), _DIGITS) if not isinstance(value, list | tuple) else [rounded(part) for part in value]
        )

    return {"type": geometry["type"], "coordinates": rounded(geometry["coordinates"])}
