"""AOIs as users have them: polygons in GeoJSON, GeoPackage, Shapefile or whatever GDAL reads, in any CRS."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from jaxtyping import Float64
from pyproj import CRS, Transformer

from tilegen.errors import InputError
from tilegen.geometry.georef import EARTH_RADIUS_M, GeoReference
from tilegen.tiling.aoi import Aoi

_LON_LAT = CRS("EPSG:4326")

_BEND_PX = 0.01
"""How far a straight edge may bend away, on a sphere, between two points that are added before it is transformed."""

_LONGEST_EDGE_M, _TORN_M = 100_000.0, 1_000_000.0
"""Points are added at most so far apart. What lies farther apart after the transformation was torn."""


@dataclass(frozen=True, kw_only=True)
class DrawnAoi:
    """The union of all polygons of a file, in the CRS of the file.

    Args:
        name: of the file, for messages.
        polygon: valid, flat shapely polygon or multipolygon.
        crs: of the file.
        num_repaired: how many features were not valid.
    """

    name: str
    polygon: Any
    crs: CRS
    num_repaired: int

    def centre(self) -> tuple[float, float]:
        """(longitude, latitude) of the middle of its bounds, degrees; the longitude may be beyond 180.

        Raises:
            InputError: it is at no place of the Earth.
        """
        polygon = self._transformed(self.polygon, _LON_LAT, 1.0)
        ends = _ends(polygon)
        if ends is not None:  # neighbours, across the antimeridian
            polygon = shapely.union_all([shapely.transform(ends[0], lambda xy: np.add(xy, (360.0, 0.0))), ends[1]])
        west, south, east, north = (float(value) for value in shapely.bounds(polygon))
        return (west + east) / 2, (south + north) / 2

    def on(self, georef: GeoReference) -> Aoi:
        """The AOI on the grid of a world. Edges that are straight in the CRS of the file stay so on the ground.

        Raises:
            InputError: the CRS of the world has no place for it, or tears it apart at the antimeridian.
        """
        crs, polygon = CRS.from_user_input(georef.crs), self.polygon
        ends = _ends(polygon) if self.crs.is_geographic else None
        if not _same(self.crs, crs):
            pixel_m = georef.res * georef.unit_m
            longest_m = min(math.sqrt(8 * EARTH_RADIUS_M * _BEND_PX * pixel_m), _LONGEST_EDGE_M)
            polygon = shapely.segmentize(polygon, longest_m / _unit_m(self.crs))
            polygon = self._transformed(polygon, crs, pixel_m / 2)
            if _longest_edge(polygon) * georef.unit_m > _TORN_M:
                raise InputError(
                    f"--aoi {self.name} lies across the edge of the map in {_named(crs)}, most likely the antimeridian "
                    "or a pole. Give a --crs that holds it together, such as utm."
                )
            ends = None if ends is None else tuple(self._transformed(end, crs, pixel_m / 2) for end in ends)
        if ends is not None and shapely.distance(ends[0], ends[1]) * georef.unit_m > _TORN_M:
            raise InputError(
                f"--aoi {self.name} crosses the antimeridian in two parts, which lie at opposite ends of the map in "
                f"{_named(crs)}. Give a --crs that holds them together, such as utm."
            )
        return Aoi(wkb=shapely.to_wkb(shapely.normalize(_polygonal(polygon)), byte_order=1), georef=georef)

    def _transformed(self, polygon: Any, crs: CRS, tolerance_m: float) -> Any:
        """`polygon`, of the CRS of the file, in another one.

        Raises:
            InputError: a point does not come back to within `tolerance_m`.
        """
        if _same(self.crs, crs):
            return polygon
        there = Transformer.from_crs(self.crs, crs, always_xy=True)
        back = Transformer.from_crs(crs, self.crs, always_xy=True)
        before = shapely.get_coordinates(polygon)
        after = np.column_stack(there.transform(before[:, 0], before[:, 1]))
        if np.isfinite(after).all():
            missed = np.column_stack(back.transform(after[:, 0], after[:, 1])) - before
            if self.crs.is_geographic:
                missed[:, 0] = ((missed[:, 0] + 180) % 360 - 180) * np.cos(np.radians(before[:, 1]))
            if (np.abs(missed) * _unit_m(self.crs) <= tolerance_m).all():
                return shapely.set_coordinates(shapely.force_2d(polygon), after)
        raise InputError(
            f"--aoi {self.name} reaches where {_named(crs)} has no coordinates. Give another --crs, such as utm."
        )


def read_aoi(name: str) -> DrawnAoi:
    """The polygons of a file. They are united; what is not valid is repaired.

    Args:
        name: FILE or FILE:LAYER, if the file has several layers.

    Raises:
        InputError: there is no such file or layer, it has no CRS, or it holds no polygons, or anything else.
    """
    path, layer = _found(name)
    with _explained(name), warnings.catch_warnings(action="ignore"):  # GDAL warns of what is repaired here
        layers = [str(found) for found in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise InputError(f"--aoi {name} has several layers ({', '.join(layers)}). Give {name}:LAYER.")
        if layer is not None and layer not in layers:
            raise InputError(f"--aoi {path} has no layer {layer!r}. It has: {', '.join(layers)}.")
        meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer, columns=[], force_2d=True)
        shapes = shapely.from_wkb([shape for shape in wkb if shape] if wkb is not None else [], on_invalid="ignore")
    if not len(shapes):
        raise InputError(f"--aoi {name} is empty. Give a file with at least one polygon.")
    if not meta["crs"]:
        raise InputError(f"--aoi {name} has no CRS. Give it one, for example with ogr2ogr -a_srs EPSG:4326.")
    # Of vertices with heights, heights and their axis are left out.
    return _drawn(name, shapes, CRS.from_user_input(meta["crs"]).to_2d())


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what GDAL cannot read inside the block into one sentence.

    Raises:
        InputError: that.
    """
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(";")[0].rstrip(".")
        raise InputError(f"--aoi {name} cannot be read as vector data ({reason}).") from None


def _found(name: str) -> tuple[Path, str | None]:
    """File and layer of FILE:LAYER; the name of a file may have a colon."""
    file, colon, layer = name.rpartition(":")
    if Path(name).exists() or not colon:
        path, chosen = Path(name), None
    else:
        path, chosen = Path(file), layer
    if not path.exists():
        raise InputError(f"--aoi {name}: there is no such file.")
    return path, chosen


def _drawn(name: str, shapes: Any, crs: CRS) -> DrawnAoi:
    """One polygon of all shapes.

    Raises:
        InputError: any is none, or the union is no place.
    """
    kinds = shapely.get_type_id(shapes)
    if not np.isin(kinds, (3, 6)).all():
        others = int((~np.isin(kinds, (3, 6))).sum())
        raise InputError(f"--aoi {name}: {others} of {len(shapes)} features are no polygons. Give polygons alone.")
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise InputError(f"--aoi {name} has coordinates that are not finite. Repair the file.")
    num_repaired = int((~shapely.is_valid(shapes)).sum())
    polygon = shapely.union_all([_polygonal(shape) for shape in shapes])
    if polygon.is_empty or not polygon.area > 0:
        raise InputError(f"--aoi {name} is empty: its polygons cover nothing.")
    if crs.is_geographic:
        _require_no_jump(name, polygon)
    return DrawnAoi(name=name, polygon=polygon, crs=crs, num_repaired=num_repaired)


def _require_no_jump(name: str, polygon: Any) -> None:
    """Raises InputError for degrees off the globe, and for edges that may mean the other way round it."""
    _, south, _, north = (float(value) for value in shapely.bounds(polygon))
    if max(-south, north) > 90 + 1e-9:
        raise InputError(f"--aoi {name} has latitudes beyond 90 degrees. Are its coordinates really degrees?")
    spans = np.abs(_steps(polygon)[:, 0])
    if ((spans > 180) & (spans < 360 - 1e-6)).any():
        raise InputError(
            f"--aoi {name} has an edge of more than 180 degrees of longitude, which may mean either way round the "
            "globe. Cut it in two at the antimeridian, or let longitudes go beyond 180."
        )


def _ends(polygon: Any) -> tuple[Any, ...] | None:
    """The parts at 180 degrees west and those at 180 east, if the polygon, in degrees, was cut there in two."""
    parts = shapely.get_parts(polygon)
    west, _, east, _ = shapely.bounds(parts).T
    at_west, at_east = west <= -180 + 1e-9, east >= 180 - 1e-9
    if (at_west & at_east).any() or not (at_west.any() and at_east.any()):
        return None
    return shapely.multipolygons(parts[at_west]), shapely.multipolygons(parts[at_east])


def _polygonal(shape: Any) -> Any:
    """`shape`, repaired if it must be: its rings are areas and holes as they say, whatever their edges do."""
    return shape if shapely.is_valid(shape) else shapely.make_valid(shape, method="structure", keep_collapsed=False)


def _longest_edge(polygon: Any) -> float:
    """In units of the coordinates."""
    return float(np.hypot(*_steps(polygon).T).max(initial=0.0))


def _steps(polygon: Any) -> Float64[np.ndarray, "edges 2"]:
    """From each point of a ring to the next."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(polygon)), return_index=True)
    return np.diff(points, axis=0)[ring[:-1] == ring[1:]]


def _same(one: CRS, other: CRS) -> bool:
    """Whether coordinates need no transformation."""
    return bool(one.equals(other, ignore_axis_order=True))


def _unit_m(crs: CRS) -> float:
    """Metres in one unit; for degrees along a meridian, which is more than along any parallel."""
    return GeoReference(crs=crs.to_wkt(), res=1.0).unit_m


def _named(crs: CRS) -> str:
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else str(crs.name)
