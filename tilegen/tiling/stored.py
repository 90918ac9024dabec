"""A finished product as a source of pixels: what reads it draws nothing, and any sink takes it as it takes a world."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import zarr
from rasterio.errors import NotGeoreferencedWarning

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.tiling.finished import (
    extent_of,
    is_zarr_store,
    opened_store,
    opened_tiff,
    plain,
    says_what_made_it,
    stored_anchor,
)
from tilegen.tiling.lossy import lossy_encoding
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog_metadata import creation_options
from tilegen.tiling.sinks.encoding import COMPRESSIONS, DEFAULT_ZARR, CogEncoding
from tilegen.tiling.sinks.overviews import num_owned_levels
from tilegen.tiling.sinks.partial import partial_folder
from tilegen.tiling.sinks.remote.address import is_url
from tilegen.tiling.sinks.zarr_attributes import root_attributes, stored_levels
from tilegen.tiling.stored_source import StoredSource
from tilegen.tiling.verify import aoi_of

_SHARD_PX = 2048
_FREE_TEXT = {"licence", "attribution"}
"""Provenance that people word: "2026" is not a number there."""

_UNFINISHED = "is not finished. Give the command that makes it again, which goes on with it."
_CHANGED = "was changed since tilegen wrote it. Export the product that it was made from."
_LOSSY = "is lossy: its pixels are not those of the world. Export the product that it was made from, or generate it."
_HOW_STORED = creation_options(CogEncoding()) | creation_options(CogEncoding(compression="webp"))
_NO_PROVENANCE = {"AREA_OR_POINT", "TIFFTAG_IMAGEDESCRIPTION", "TIFFTAG_SOFTWARE", *_HOW_STORED}


def open_stored(
    place: Path | str, *, chunk_px: int | None = None, shard_px: int | None = None, aoi_name: str | None = None
) -> tuple[Product, StoredSource]:
    """A finished product of tilegen, to be written again in another format or layout, and where its pixels are.

    Args:
        place: a GeoTIFF or a Zarr store, on a disk or at s3://BUCKET/NAME.
        chunk_px: of the product that will be written; by default as it is.
        shard_px: likewise. A GeoTIFF does not say what it was: 2048, as for `generate`, or four chunks.
        aoi_name: file of its AOI, FILE or FILE:LAYER; needed where the product does not repeat it.

    Raises:
        InputError: it is none, it is not finished, or it is not as tilegen wrote it.
        OutputError: an object store refuses, or has no such product.
    """
    text = os.fspath(place) if is_url(place) else str(Path(place).absolute())
    if not is_url(place) and not Path(place).exists():
        is_begun = partial_folder(Path(place)).exists()
        raise InputError(f"{place} {_UNFINISHED}" if is_begun else f"{place} does not exist.")
    found, images = _zarr_product(text) if is_zarr_store(text) else (_tiff_product(text), ())
    aoi = aoi_of(text, found.provenance, aoi_name, found.georef)
    chunk_px = found.chunk_px if chunk_px is None else chunk_px
    if shard_px is None:
        shard_px = found.shard_px if found.shard_px % max(chunk_px, 1) == 0 else 4 * chunk_px
    product = replace(found, chunk_px=chunk_px, shard_px=shard_px, aoi=aoi)
    # What is read at once shows whether a file is missing if it consists of whole shards of a store.
    can_check = bool(images) and shard_px % found.shard_px == 0
    source = StoredSource(
        place=text,
        extent=found.extent,
        band_names=found.band_names,
        read_px=shard_px,
        dtype=found.dtype,
        images=images,
        check_level=num_owned_levels(found) - 1 if can_check else 0,
    )
    return product, source


def _zarr_product(place: str) -> tuple[Product, tuple[str, ...]]:
    """The product of a store, and the paths of the pixels of its levels."""
    try:
        with opened_store(place) as store:
            group = zarr.open_group(store, mode="r")
            said: dict[str, Any] = dict(group.attrs)
            images = tuple(stored_levels(said))
            image = zarr.open_array(store, path=images[0], mode="r")
            grid = zarr.open_array(store, path=f"{images[0].rpartition('/')[0]}/spatial_ref".lstrip("/"), mode="r")
            about: dict[str, Any] = {**image.attrs, **grid.attrs}
        # The last thing that a run writes before it moves the store to its name.
        _require(group.metadata.consolidated_metadata is not None, f"{place} {_UNFINISHED}")
        _require_ours(place, said)
        transform = tuple(map(float, said["spatial:transform"]))
        georef = _georef(said.get("proj:code"), str(about["spatial_ref"]), transform[0], stored_anchor(place, said))
        band_names = tuple(map(str, about["long_name"]))
        scales, offsets = _radiometry(about, len(band_names))
        product = Product(
            extent=extent_of(place, image.shape[1:], transform, georef.anchor),
            georef=georef,
            band_names=band_names,
            dtype=str(image.dtype),
            scales=scales,
            offsets=offsets,
            provenance=said,
            chunk_px=image.chunks[-1],
            shard_px=image.shards[-1] if image.shards else image.chunks[-1],
            nodata=int(image.fill_value),
        )
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, RecursionError, FileNotFoundError, NotADirectoryError):
        raise InputError(f"{place} is not a Zarr store that tilegen finished.") from None
    layout = root_attributes(replace(product, provenance={}), DEFAULT_ZARR)
    own = {name: value for name, value in said.items() if name == "synthetic" or name not in layout}
    return replace(product, provenance=own), images


def _tiff_product(place: str) -> Product:
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        opened_tiff(place) as tiff,
    ):
        said = {name: _meant(name, text) for name, text in tiff.tags().items() if name not in _NO_PROVENANCE}
        _require_ours(place, said)
        _require(_is_as_written(tiff, said), f"{place} {_CHANGED}")
        _require(lossy_encoding(place, tiff) is None, f"{place} {_LOSSY}")
        chunk_px = int(tiff.block_shapes[0][0])
        anchor = stored_anchor(place, said)
        georef = GeoReference(crs=tiff.crs.to_string(), res=float(tiff.transform.a), anchor=anchor)
        is_scaled = set(tiff.scales) != {1.0} or set(tiff.offsets) != {0.0}
        return Product(
            extent=extent_of(place, tiff.shape, tuple(tiff.transform), anchor),
            georef=georef,
            dtype=tiff.dtypes[0],
            scales=tuple(tiff.scales) if is_scaled else (),
            offsets=tuple(tiff.offsets) if is_scaled else (),
            band_names=tuple(str(name) for name in tiff.descriptions),
            provenance=said,
            chunk_px=chunk_px,
            shard_px=max(_SHARD_PX, chunk_px),
            nodata=int(tiff.nodata or 0),
        )


def _is_as_written(tiff: Any, said: Mapping[str, Any]) -> bool:
    """Whether a GeoTIFF with our tags is a COG of ours: GDAL sorts tags that it copies, and edits break the layout."""
    is_compressed = tiff.compression is not None and tiff.compression.name in COMPRESSIONS
    is_cog = tiff.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    return is_cog and is_compressed and tiff.crs is not None and next(iter(said)) == "synthetic"


def _require_ours(place: str, said: Mapping[str, Any]) -> None:
    _require(
        says_what_made_it(said),
        f"{place} does not say what made it. Only products of tilegen are exported, as it wrote them.",
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)


def _radiometry(about: Mapping[str, Any], num_bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scales and offsets of the bands as the attributes of an image say them; empty where they say nothing."""
    if "scale_factor" in about:
        return (float(about["scale_factor"]),) * num_bands, (float(about["add_offset"]),) * num_bands
    return tuple(map(float, about.get("scales", ()))), tuple(map(float, about.get("offsets", ())))


def _georef(code: Any, wkt: str, res: float, anchor: tuple[float, float]) -> GeoReference:
    """The CRS by its code, if that is all that was meant by the WKT beside it."""
    if isinstance(code, str):
        named = GeoReference(crs=code, res=res, anchor=anchor)
        if named.wkt == wkt:
            return named
    return GeoReference(crs=wkt, res=res, anchor=anchor)


def _meant(name: str, text: str) -> Any:
    """The value of provenance that a GeoTIFF has as text."""
    value = plain(text)
    return text if name in _FREE_TEXT and value is not None else value
