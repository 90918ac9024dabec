"""Which UTM zone a place lies in, and where in it."""

from __future__ import annotations

import math

from pyproj import Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info

from tilegen.errors import InputError

_WIDEST_DEG = 60.0
"""Beyond some 30 degrees from its meridian the projection of a zone means nothing."""

_POINTS = 1001
"""Points between the corners of bounds, as their sides are no straight lines in a zone."""


def utm_crs(lon: float, lat: float) -> str:
    """The CRS of the WGS 84 UTM zone of a place, such as "EPSG:32611".

    On a border between zones it is that with the lower code, on the equator the northern one.

    Args:
        lon: degrees east; beyond ±180 is counted on.
        lat: degrees north.

    Raises:
        InputError: no place, or one beyond the latitudes of UTM.
    """
    if not (math.isfinite(lon) and math.isfinite(lat)) or abs(lon) > 540 or abs(lat) > 90:
        raise InputError(f"--crs utm: {lon:g},{lat:g} is no place. Give longitude and latitude in degrees.")
    lon = (lon + 180) % 360 - 180
    found = query_utm_crs_info(datum_name="WGS 84", area_of_interest=AreaOfInterest(lon, lat, lon, lat))
    codes = sorted(int(crs.code) for crs in found)
    if not codes:
        raise InputError(
            f"UTM ends at 84 degrees north and 80 south, and {lat:g} lies beyond. Give a polar --crs such as "
            f"{'EPSG:3413' if lat > 0 else 'EPSG:3031'}."
        )
    return f"EPSG:{codes[0]}"


def utm_origin(crs: str, lon: float, lat: float) -> tuple[float, float]:
    """(x, y) of a place in a zone, metres."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    return float(x), float(y)


def utm_bounds(crs: str, west: float, south: float, east: float, north: float) -> tuple[float, float, float, float]:
    """(xmin, ymin, xmax, ymax) in a zone, metres, of all that lies between these longitudes and latitudes.

    Raises:
        InputError: they are empty, or more than a zone can show.
    """
    if not (west < east and south < north):
        raise InputError(f"The bounds {west:g},{south:g},{east:g},{north:g} are empty. Give west,south,east,north.")
    if east - west > _WIDEST_DEG:
        raise InputError(f"{east - west:g} degrees of longitude are too wide for a UTM zone. Give another --crs.")
    transformer = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    xmin, ymin, xmax, ymax = transformer.transform_bounds(west, south, east, north, densify_pts=_POINTS)
    return float(xmin), float(ymin), float(xmax), float(ymax)
