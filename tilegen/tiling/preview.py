"""A small picture of a written product, and what it says of itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from jaxtyping import UInt8
from PIL import Image
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from tilegen.atomic import new_file
from tilegen.errors import InputError, OutputError
from tilegen.tiling.sinks.zarr_attributes import IMAGE_NAME, group_name

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

PREVIEW_PX = 2048
"""Longest side of a preview."""


def checked_preview(png: Path | None, *, overwrite: bool) -> Path | None:
    """`png`, if a preview may be written there.

    Raises:
        InputError: it does not end in .png, or its folder does not exist. OutputError: it exists already.
    """
    if png is None:
        return None
    if png.suffix.lower() != ".png" or not png.absolute().parent.is_dir():
        raise InputError(f"--preview {png}: give the name of a .png file in a folder that exists.")
    if png.exists() and not overwrite:
        raise OutputError(f"{png} exists. Give another name or --overwrite.")
    if png.exists() and not _is_png(png):
        raise OutputError(f"{png} is not a PNG. It will not be overwritten; give another name.")
    return png


def _is_png(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_PNG_MAGIC)) == _PNG_MAGIC


def save_preview(product: Path, png: Path) -> None:
    """Write the first three bands of `product` as a PNG of at most `PREVIEW_PX` pixels a side.

    Raises:
        OutputError: the file cannot be written.
    """
    pixels = _reduced_tiff(product) if product.suffix.lower() != ".zarr" else _reduced_zarr(product)
    bands = pixels[:3] if len(pixels) >= 3 else pixels[:1].repeat(3, axis=0)
    with new_file(png) as file:
        Image.fromarray(np.ascontiguousarray(bands.transpose(1, 2, 0))).save(file, "PNG")


def _reduced_tiff(path: Path) -> UInt8[np.ndarray, "bands rows cols"]:
    with rasterio.open(path, driver="GTiff") as tiff:
        factor = max(1, -(-max(tiff.shape) // PREVIEW_PX))
        shape = (tiff.count, -(-tiff.height // factor), -(-tiff.width // factor))
        pixels: np.ndarray = tiff.read(out_shape=shape, resampling=Resampling.average)
        return pixels


def _reduced_zarr(path: Path) -> UInt8[np.ndarray, "bands rows cols"]:
    """The largest level that is small enough; if none is, every n-th pixel of the smallest."""
    group, level = zarr.open_group(path, mode="r"), 0
    image = zarr.open_array(path, path=IMAGE_NAME, mode="r")
    while max(image.shape[1:]) > PREVIEW_PX and group_name(level + 1) in group:
        level += 1
        image = zarr.open_array(path, path=f"{group_name(level)}/{IMAGE_NAME}", mode="r")
    step = -(-max(image.shape[1:]) // PREVIEW_PX)
    return np.asarray(image[:, ::step, ::step])


def describe_product(path: Path) -> dict[str, Any]:
    """Size, CRS, levels and provenance of a GeoTIFF or a Zarr store, JSON-serialisable.

    Raises:
        InputError: it is neither.
    """
    return _describe_zarr(path) if path.is_dir() else _describe_tiff(path)


def _describe_tiff(path: Path) -> dict[str, Any]:
    try:
        # An image without a place is described, too, and as such.
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            rasterio.open(path, driver="GTiff") as tiff,
        ):
            tags = {name: value for name, value in tiff.tags().items() if name != "AREA_OR_POINT"}
            return {
                "format": tiff.tags(ns="IMAGE_STRUCTURE").get("LAYOUT", tiff.driver),
                "size": f"{tiff.width}x{tiff.height}",
                "bands": list(tiff.descriptions),
                "crs": None if tiff.crs is None else tiff.crs.to_string(),
                "bounds": list(tiff.bounds),
                "res": list(tiff.res),
                "nodata": tiff.nodata,
                "overviews": tiff.overviews(1),
                "compression": None if tiff.compression is None else tiff.compression.value,
                "provenance": tags,
            }
    except RasterioIOError:
        raise InputError(f"{path} is not a product that tilegen can describe.") from None


def _describe_zarr(path: Path) -> dict[str, Any]:
    try:
        group = zarr.open_group(path, mode="r")
        image = zarr.open_array(path, path="image", mode="r")
        bands, rows, cols = image.shape
    except (KeyError, ValueError, TypeError, RecursionError, OSError):
        raise InputError(f"{path} is not a Zarr store that tilegen wrote.") from None
    attributes = dict(group.attrs)
    return {
        "format": f"Zarr v{group.metadata.zarr_format}",
        "size": f"{cols}x{rows}",
        "num_bands": bands,
        "chunks": list(image.chunks),
        "shards": None if image.shards is None else list(image.shards),
        "levels": [name for name in sorted(group.group_keys()) if name.startswith("ovr_")],
        "attributes": attributes,
    }
