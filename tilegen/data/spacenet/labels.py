"""What the labels of a chip say, as the share of each pixel that buildings and roads cover."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from jaxtyping import UInt8
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from tilegen.data.card import LABEL_KINDS
from tilegen.data.spacenet.find import LabelFile, SpaceNetChip
from tilegen.data.spacenet.geojson import DEFAULT_CRS, Feature, read_geojson
from tilegen.data.spacenet.solutions import read_solutions
from tilegen.errors import DataError

LANE_WIDTH_M = 3.5
"""Width of a lane. SpaceNet says none; lanes are 2.7 to 3.6 m wide (AASHTO, Policy on Geometric Design)."""

DEFAULT_NUM_LANES = 2
"""Of a road whose lanes nobody counted."""

MAX_NUM_LANES = 20
"""Counts beyond are typing errors, and roads so wide would cover the chip."""

_LANES = ("lane_number", "lane_numbe", "lanes")
"""Names of the count of lanes, both directions together: SpaceNet 3 (and as shapefiles cut it), 5 and 8."""

_FINER = 4
"""Points per pixel, along rows and along columns, at which coverage is sampled."""

_STRIP_ROWS = 1024
"""Rows at a time, to bound the memory: the finer raster of a strip of 16384 columns takes 256 MiB."""


def label_densities(
    chip: SpaceNetChip,
    *,
    shape: tuple[int, int],
    transform: Affine,
    crs: str,
) -> UInt8[np.ndarray, "2 rows cols"] | None:
    """Share of each pixel that is covered by buildings and by roads (`LABEL_KINDS`), 0 for none of it to 255 for all.

    Coverage is sampled at 4 x 4 points in each pixel, so that it is wrong by one sixteenth for every sixteenth of the
    pixel that an outline runs through, at most; overlapping shapes count once. Roads are centre lines, widened to
    their number of lanes times `LANE_WIDTH_M`.

    Args:
        chip: whose labels are read.
        shape: (rows, cols) of the raster that is asked for, whatever the chip's own is.
        transform: from (col, row) of that raster to x and y.
        crs: of that raster, as PROJ understands it, x before y.

    Returns:
        None when the chip has no label file. A plane whose kind is not in `chip.label_kinds` is zero, and means
        nothing: nobody has labelled it.

    Raises:
        DataError: a label file is damaged, or does not fit the CRS.
    """
    if not chip.labels:
        return None
    densities = np.zeros((len(LABEL_KINDS), *shape), np.uint8)
    for label in chip.labels:
        try:
            polygons = _buildings(label, chip, crs) if label.kind == "buildings" else _roads(label, crs)
        except ProjError as error:
            raise DataError(f"{label.path.name}: its coordinates do not fit {crs} ({error}).") from error
        densities[LABEL_KINDS.index(label.kind)] = coverage(polygons, shape=shape, transform=transform)
    return densities


def coverage(
    polygons: Sequence[BaseGeometry], *, shape: tuple[int, int], transform: Affine
) -> UInt8[np.ndarray, "rows cols"]:
    """Share of each pixel that is covered by any of `polygons`, 0 to 255."""
    rows, cols = shape
    covered = np.zeros(shape, np.uint8)
    if not polygons:
        return covered
    for row in range(0, rows, _STRIP_ROWS):
        num = min(_STRIP_ROWS, rows - row)
        finer = rasterize(
            polygons,
            out_shape=(num * _FINER, cols * _FINER),
            transform=_finer(transform, row),
            dtype="uint8",
        )
        count = finer.reshape(num, _FINER, cols, _FINER).sum(axis=(1, 3), dtype=np.uint16)
        covered[row : row + num] = (count * 255 + _FINER**2 // 2) // _FINER**2
    return covered


def _finer(transform: Affine, row: int) -> Affine:
    """`transform` of a raster that begins `row` rows further down and has `_FINER` times the rows and columns."""
    a, b, c, d, e, f = transform[:6]
    return Affine(a / _FINER, b / _FINER, c + b * row, d / _FINER, e / _FINER, f + e * row)


def _buildings(label: LabelFile, chip: SpaceNetChip, crs: str) -> list[BaseGeometry]:
    """Footprints in `crs`."""
    if label.image_id is None:
        collection = read_geojson(label.path)
        return _polygons(_moved([feature.geometry for feature in collection.features], collection.crs, crs))
    try:
        footprints = shapely.from_wkt(read_solutions(label.path).get(label.image_id, ()))
        with rasterio.open(chip.source.path, driver="GTiff") as image:
            a, b, c, d, e, f = image.transform[:6]
            image_crs = image.crs.to_wkt() if image.crs else crs
    except (ShapelyError, RasterioError) as error:
        raise DataError(f"{label.path.name}: {label.image_id} has no footprints that can be read ({error}).") from error
    on_ground = shapely.transform(
        footprints, lambda col, row: (a * col + b * row + c, d * col + e * row + f), interleaved=False
    )
    return _polygons(_moved(list(on_ground), image_crs, crs))


def _roads(label: LabelFile, crs: str) -> list[BaseGeometry]:
    """The surfaces of roads in `crs`: lines widened on a map around them that is true to scale."""
    collection = read_geojson(label.path)
    roads = [feature for feature in collection.features if "LineString" in feature.geometry.geom_type]
    if not roads:
        return []
    lines = _moved([road.geometry for road in roads], collection.crs, DEFAULT_CRS)
    west, south, east, north = shapely.total_bounds(lines)
    around = f"+proj=aeqd +lon_0={(west + east) / 2} +lat_0={(south + north) / 2} +datum=WGS84 +units=m +type=crs"
    widths_m = [_num_lanes(road) * LANE_WIDTH_M for road in roads]
    surfaces = shapely.buffer(_moved(lines, DEFAULT_CRS, around), np.divide(widths_m, 2))
    return _polygons(_moved(list(surfaces), around, crs))


def _num_lanes(road: Feature) -> float:
    """As the properties say; `DEFAULT_NUM_LANES` where they do not, or say nonsense."""
    for name in _LANES:
        lanes = _number(road.properties.get(name))
        if lanes is not None and 0 < lanes <= MAX_NUM_LANES:
            return lanes
    return float(DEFAULT_NUM_LANES)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _moved(geometries: list[BaseGeometry], source: str, target: str) -> list[BaseGeometry]:
    """Geometries in another CRS, in two dimensions.

    Raises:
        ProjError: PROJ does not know a CRS, or has no coordinates for some of theirs.
    """
    convert = _transformer(source, target)
    moved = shapely.transform(
        np.asarray(geometries, dtype=object), lambda x, y: convert.transform(x, y, errcheck=True), interleaved=False
    )
    return list(moved)


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _polygons(geometries: list[BaseGeometry]) -> list[BaseGeometry]:
    """The polygons among `geometries` and their parts; what overlaps within a multipolygon would else be a hole."""
    parts = shapely.get_parts(np.asarray(geometries, dtype=object))
    return [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]
