"""Reading the GeoJSON files of labels: geometries, their properties and their CRS."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from tilegen.errors import DataError

DEFAULT_CRS = "OGC:CRS84"
"""Longitude and latitude on WGS 84, of a file that does not say (RFC 7946, 4)."""

_CRS_NAME = re.compile(r"(urn:ogc:def:crs:)?(EPSG|OGC):[\w.]*:?\w+", re.ASCII)
"""Names of the "crs" member of GeoJSON 2008, which most rounds have; nothing that PROJ could take for a file."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One geometry, not empty, with its properties."""

    geometry: BaseGeometry
    properties: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FeatureCollection:
    """The features of a file, and the CRS of their coordinates, x before y."""

    features: tuple[Feature, ...]
    crs: str


def read_geojson(path: Path) -> FeatureCollection:
    """Read a FeatureCollection; features without a geometry are passed over.

    Raises:
        DataError: the file is truncated, no FeatureCollection, in an unknown CRS, or has coordinates that are none.
    """
    try:
        record = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
        features = tuple(_features(record["features"]))
    except (
        OSError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
        ShapelyError,
    ) as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(f"{path.name}: is truncated or no GeoJSON of labels ({what}). Download it again.") from error
    for feature in features:
        if not np.isfinite(shapely.get_coordinates(feature.geometry)).all():
            raise DataError(f"{path.name}: has coordinates that are no numbers. Download it again.")
    return FeatureCollection(features=features, crs=_crs(record, path.name))


def _refuse_constant(text: str) -> None:
    """NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{text} is no number")


def _features(records: Any) -> Iterator[Feature]:
    for record in records:
        if record["geometry"] is None:
            continue
        geometry = shape(record["geometry"])
        if not geometry.is_empty:
            yield Feature(geometry=geometry, properties=dict(record.get("properties") or {}))


def _crs(record: dict[str, Any], name: str) -> str:
    match record.get("crs"):
        case None:
            return DEFAULT_CRS
        case {"properties": {"name": str(crs)}} if _CRS_NAME.fullmatch(crs):
            return crs
        case other:
            raise DataError(f"{name}: is in a CRS that has no name of EPSG or OGC ({str(other)[:80]}).")
