"""The grid and the extent of a raster that a product is to match pixel for pixel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rasterio
import zarr
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference, anchor_of
from tilegen.geometry.window import Window
from tilegen.tiling.finished import crs_of

_DRIFT_PX = 0.01
"""How far the last pixel may be off where sides of pixels are not quite equal."""


def read_grid(path: Path) -> tuple[GeoReference, Window]:
    """The georeference of a world that has the pixels of a raster, and the window of the raster in it.

    Args:
        path: anything that GDAL reads, or a Zarr store with the GeoZarr attributes `proj:` and `spatial:`.

    Raises:
        InputError: it is neither, has no CRS or place, is rotated or upside down, or its pixels are not square.
    """
    if not path.exists():
        raise InputError(f"--like {path}: there is no such file.")
    said = _said_by_store(path)
    shape, transform, crs = _raster_grid(path) if said is None else _zarr_grid(path, said)
    res, skew_x, left, skew_y, down, top = (float(value) for value in transform[:6])
    if not all(map(math.isfinite, (res, skew_x, left, skew_y, down, top))):
        raise InputError(f"--like {path} has a corner or a pixel size that is no number. Give it a place.")
    if skew_x or skew_y:
        raise InputError(f"--like {path} is rotated. Give a north-up raster: gdalwarp in.tif out.tif makes one.")
    if res <= 0 or down >= 0:
        raise InputError(f"--like {path} is upside down or mirrored. Give a north-up raster, as gdalwarp writes them.")
    if abs(res + down) * max(shape) > _DRIFT_PX * res:
        raise InputError(
            f"--like {path} has pixels of {res:g} x {-down:g}, and those of a world are square. Warp it first: "
            f"gdalwarp -tr {res:g} {res:g} in.tif out.tif."
        )
    georef = GeoReference(crs=crs, res=res, anchor=anchor_of(left, top, res))
    row0, col0 = georef.pixel(left, top)
    return georef, Window.from_size(*shape, row0=row0, col0=col0)


def _raster_grid(path: Path) -> tuple[tuple[int, int], Sequence[float], str]:
    """(rows, cols), affine transform row by row, and CRS."""
    try:
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            rasterio.open(path) as raster,
        ):
            shape, transform, crs = (raster.height, raster.width), raster.transform, raster.crs
    except RasterioIOError:
        raise InputError(f"--like {path} is no raster that GDAL can read.") from None
    if crs is None or transform.is_identity:
        raise InputError(f"--like {path} has no CRS, or no place in it. Give it both, for example with gdal_edit.py.")
    return shape, tuple(transform), str(crs.to_string())


def _said_by_store(path: Path) -> Mapping[str, Any] | None:
    """Attributes of the root of a Zarr store; None of what is none, or what GDAL is to read."""
    if not path.is_dir():
        return None
    try:
        root = zarr.open(path, mode="r")
    except FileNotFoundError:
        return None
    except (AttributeError, ValueError, TypeError, RecursionError, OSError):  # what there is, is damaged
        raise _without_place(path) from None
    said = root.attrs.asdict()
    # Others say in stores of version 2, in words of GDAL, where they lie.
    is_for_gdal = root.metadata.zarr_format == 2 and "spatial:transform" not in said
    return None if is_for_gdal else said


def _zarr_grid(path: Path, said: Mapping[str, Any]) -> tuple[tuple[int, int], Sequence[float], str]:
    """The same, as the root of a store says."""
    try:
        rows, cols = map(int, said["spatial:shape"])
        transform = [float(value) for value in said["spatial:transform"]]
        crs = crs_of(said)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise _without_place(path) from None
    if len(transform) < 6:
        raise _without_place(path)
    return (rows, cols), transform, crs


def _without_place(path: Path) -> InputError:
    return InputError(f"--like {path} does not say where it lies (attributes spatial: and proj:).")
