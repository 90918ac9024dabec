"""Every chip at one ground resolution: onto the pixels of a UTM grid that all chips of a zone share."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError  # some failures of GDAL come without the wrapper of rasterio.errors
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import reproject, transform_bounds

from tilegen.data.chips import MAX_CHIP_PX, Chip
from tilegen.data.wedges import grown
from tilegen.errors import DataError

KERNEL_PX = 2
"""Reach of the cubic kernel, source pixels: so far, no-data would bleed into imagery."""

MAX_ENLARGED = 8
"""More than so many pixels out of one, and --res is a typing error or a chip of another sensor."""

_BARELY_SHRUNK = 1.05
"""Up to this ratio of pixel sizes, chips are cubic: averages over hardly more than a pixel are nearest neighbours."""

_ON_GRID_PX = 1e-6
"""A chip this near to the grid is on it."""

_ROUNDING = 1e-3
"""Of edges, in new pixels, and of shares."""


def resampled(chip: Chip, res_m: float, *, min_px: int = 1) -> Chip:
    """`chip` with pixels of `res_m` metres, whose corners are multiples of `res_m` in the UTM zone of the chip.

    A chip that lies in a UTM zone, of whichever datum, stays in it; another one goes to the zone of WGS 84 that holds
    its centre. Shrunk chips are averaged over each new pixel, others interpolated by cubic convolution (Keys 1981).
    A new pixel is valid when the chip has a part in it and no invalid pixel has; where the chip ends, GDAL takes the
    average or the kernel over what there is.

    Args:
        chip: with georeference.
        res_m: edge of the new pixels, metres.
        min_px: smallest rows and columns of the result.

    Raises:
        DataError: the chip has no georeference or one that leads nowhere, is enlarged more than `MAX_ENLARGED` times,
            or the result is smaller than `min_px`, larger than `MAX_CHIP_PX`, or without a valid pixel.
    """
    if chip.crs is None or chip.transform is None:
        raise DataError(f"{chip.name}: has no georeference, so its ground resolution is unknown. Leave it out.")
    try:
        return _resampled(chip, chip.crs, chip.transform, res_m, min_px)
    except (CRSError, ProjError, RasterioError, CPLE_BaseError) as error:
        raise DataError(f"{chip.name}: its georeference cannot be used ({error}). Leave it out.") from error


def _resampled(chip: Chip, crs: str, transform: Affine, res_m: float, min_px: int) -> Chip:
    first_x, first_y, last_x, last_y = array_bounds(*chip.valid.shape, transform)  # swapped where rows go north
    bounds = (min(first_x, last_x), min(first_y, last_y), max(first_x, last_x), max(first_y, last_y))
    zone = utm_zone(crs, (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    west, south, east, north = transform_bounds(crs, zone, *bounds, densify_pts=21)
    if not all(math.isfinite(edge / res_m) for edge in (west, south, east, north)):
        raise CRSError("a part of it is beyond the map, or beyond all numbers in pixels of --res")
    col0, row0, col1, row1 = (
        round(edge / res_m) if abs(edge / res_m - round(edge / res_m)) < _ROUNDING else rounded(edge / res_m)
        for edge, rounded in ((west, math.floor), (-north, math.floor), (east, math.ceil), (-south, math.ceil))
    )
    rows, cols = row1 - row0, col1 - col0
    _check_shape(chip, rows, cols, min_px)
    grid = Affine(res_m, 0.0, col0 * res_m, 0.0, -res_m, -row0 * res_m)
    if zone == crs and transform.almost_equals(grid, precision=_ON_GRID_PX * res_m):
        return Chip(name=chip.name, pixels=chip.pixels, valid=chip.valid, crs=zone, transform=grid)
    return _warped(chip, zone, grid, rows, cols)


def _check_shape(chip: Chip, rows: int, cols: int, min_px: int) -> None:
    if min(rows, cols) < min_px:
        raise DataError(f"{chip.name}: is {rows} x {cols} pixels at --res, smaller than the minimum of {min_px}.")
    if rows * cols > min(MAX_CHIP_PX, MAX_ENLARGED**2 * chip.valid.size):
        raise DataError(f"{chip.name}: would be enlarged to {rows} x {cols} pixels. Give a larger --res.")


def _warped(chip: Chip, zone: str, transform: Affine, rows: int, cols: int) -> Chip:
    old_px = (chip.valid.size / (rows * cols)) ** 0.5  # source pixels along one new pixel, about
    kernel = Resampling.average if old_px > _BARELY_SHRUNK else Resampling.cubic
    places: dict[str, Any] = {
        "src_transform": chip.transform,
        "src_crs": chip.crs,
        "dst_transform": transform,
        "dst_crs": zone,
        "num_threads": 1,
    }
    pixels = np.zeros((len(chip.pixels), rows, cols), chip.pixels.dtype)
    reproject(chip.pixels, pixels, resampling=kernel, **places)

    clean = ~grown(~chip.valid, KERNEL_PX)
    share = np.zeros((rows, cols), np.float32)
    spread = Resampling.average if kernel is Resampling.average else Resampling.bilinear
    reproject(clean.astype(np.float32), share, resampling=spread, **places)
    valid = share > 1 - _ROUNDING
    if not valid.any():
        raise DataError(f"{chip.name}: has no valid pixel at --res. Leave it out.")
    pixels[:, ~valid] = 0
    return Chip(name=chip.name, pixels=pixels, valid=valid, crs=zone, transform=transform)


def utm_zone(crs: str, x: float, y: float) -> str:
    """`crs` itself if it is a UTM zone, else the zone of WGS 84 around the place (x, y) of `crs`.

    Raises:
        ProjError: PROJ does not know the CRS. CRSError: the place is not on Earth, or beyond all zones.
    """
    is_zone, to_degrees = _known(crs)
    lon, lat = to_degrees.transform(x, y)
    if not (-180 <= lon <= 180 and -80 <= lat <= 84):
        raise CRSError(f"{lon:g} {lat:g} degrees are in no UTM zone")
    number = min(int((lon + 180) // 6) + 1, 60)  # the exceptions of Norway and Svalbard are left aside
    return crs if is_zone else f"EPSG:{32600 + number + 100 * (lat < 0)}"


@lru_cache
def _known(crs: str) -> tuple[bool, Transformer]:
    """Whether it is a UTM zone, and the way from it to longitude and latitude."""
    known = CRS.from_user_input(crs)
    return known.utm_zone is not None, Transformer.from_crs(known, "EPSG:4326", always_xy=True)
