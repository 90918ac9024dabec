"""A small picture of a written product, and what it says of itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt, UInt8
from PIL import Image
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from tilegen.atomic import new_file
from tilegen.errors import InputError, OutputError
from tilegen.tiling.finished import is_zarr_store, opened_store, opened_tiff
from tilegen.tiling.sinks.zarr_attributes import stored_levels

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


def save_preview(product: Path | str, png: Path) -> None:
    """Write the first three bands of `product` as a PNG of at most `PREVIEW_PX` pixels a side.

    Args:
        product: on a disk, or s3://BUCKET/NAME.
        png: on a disk.

    Raises:
        OutputError: the file cannot be written, or the product not be read.
    """
    pixels = _reduced_zarr(product) if is_zarr_store(product) else _reduced_tiff(product)
    pixels = pixels if pixels.dtype == np.uint8 else _stretched(pixels)
    bands = pixels[:3] if len(pixels) >= 3 else pixels[:1].repeat(3, axis=0)
    with new_file(png) as file:
        Image.fromarray(np.ascontiguousarray(bands.transpose(1, 2, 0))).save(file, "PNG")


def _stretched(pixels: UInt[np.ndarray, "bands rows cols"]) -> UInt8[np.ndarray, "bands rows cols"]:
    """8 bits for the eye: from the 2nd to the 98th percentile of each band's valid pixels, as QGIS shows 16 bits."""
    shown = np.zeros(pixels.shape, np.uint8)
    for band, result in zip(pixels, shown, strict=True):
        if (band > 0).any():
            low, high = np.percentile(band[band > 0], (2, 98))
            scaled = 1 + (band.astype(np.float64) - low) * (254 / max(high - low, 1))
            result[...] = np.where(band > 0, np.clip(np.rint(scaled), 1, 255), 0)
    return shown


def _reduced_tiff(product: Path | str) -> UInt[np.ndarray, "bands rows cols"]:
    with opened_tiff(product) as tiff:
        factor = max(1, -(-max(tiff.shape) // PREVIEW_PX))
        shape = (tiff.count, -(-tiff.height // factor), -(-tiff.width // factor))
        pixels: np.ndarray = tiff.read(out_shape=shape, resampling=Resampling.average)
        return pixels


def _reduced_zarr(product: Path | str) -> UInt[np.ndarray, "bands rows cols"]:
    """The largest level that is small enough; if none is, every n-th pixel of the smallest."""
    with opened_store(product) as store:
        levels = stored_levels(zarr.open_group(store, mode="r").attrs.asdict())
        images = (zarr.open_array(store, path=path, mode="r") for path in levels)
        for image in images:
            if max(image.shape[1:]) <= PREVIEW_PX:
                break
        step = -(-max(image.shape[1:]) // PREVIEW_PX)
        return np.asarray(image[:, ::step, ::step])


def describe_product(product: Path | str) -> dict[str, Any]:
    """Size, CRS, levels and provenance of a GeoTIFF or a Zarr store, JSON-serialisable.

    Args:
        product: on a disk, or s3://BUCKET/NAME.

    Raises:
        InputError: it is neither. OutputError: the object store refuses.
    """
    return _describe_zarr(product) if is_zarr_store(product) else _describe_tiff(product)


def _describe_tiff(path: Path | str) -> dict[str, Any]:
    # An image without a place is described, too, and as such.
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        opened_tiff(path) as tiff,
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
            "dtype": tiff.dtypes[0],
            "provenance": tags,
        }


def _describe_zarr(path: Path | str) -> dict[str, Any]:
    with opened_store(path) as store:
        try:
            group = zarr.open_group(store, mode="r")
            levels = stored_levels(group.attrs.asdict())
            image = zarr.open_array(store, path=levels[0], mode="r")
            bands, rows, cols = image.shape
        except (KeyError, ValueError, TypeError, RecursionError, OSError):
            raise InputError(f"{path} is not a Zarr store that tilegen wrote.") from None
        return {
            "format": f"Zarr v{group.metadata.zarr_format}",
            "size": f"{cols}x{rows}",
            "num_bands": bands,
            "dtype": str(image.dtype),
            "chunks": list(image.chunks),
            "shards": None if image.shards is None else list(image.shards),
            "levels": levels,
            "attributes": dict(group.attrs),
        }
