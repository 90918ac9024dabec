"""A finished product as a source of pixels: what reads it draws nothing, and any sink takes it as it takes a world."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt8
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from tilegen.errors import InputError, TilegenError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.halo import HaloPlan, Layer
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.finished import opened_store, opened_tiff
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.overviews import num_owned_levels
from tilegen.tiling.sinks.partial import partial_folder
from tilegen.tiling.sinks.remote.address import is_url
from tilegen.tiling.sinks.tile_codec import TIFF_COMPRESSION
from tilegen.tiling.sinks.zarr_attributes import IMAGE_NAME, group_name, root_attributes
from tilegen.tiling.verify import plain

_MADE_BY_US = {"synthetic", "seed", "model_digest"}
_SHARD_PX = 2048
_FREE_TEXT = {"licence", "attribution"}
"""Provenance that people word: "2026" is not a number there."""

_UNFINISHED = "is not finished. Give the command that makes it again, which goes on with it."
_CHANGED = "was changed since tilegen wrote it. Export the product that it was made from."
_GDAL_S_OWN = {"AREA_OR_POINT", "TIFFTAG_IMAGEDESCRIPTION", "TIFFTAG_SOFTWARE"}


@dataclass(frozen=True)
class StoredSource:
    """A finished product in plain data. Implements `RendererSource`; opened by each worker for itself.

    Args:
        place: path or address of a GeoTIFF or a Zarr store.
        extent: absolute pixels of the world that it covers.
        band_names: in order.
        read_px: pixels a side that are read at once.
        check_level: the coarsest level of which whole pixels lie in what is read at once; 0 if it is not stored.
    """

    place: str
    extent: Window
    band_names: tuple[str, ...]
    read_px: int
    check_level: int

    def open(self) -> StoredTiles:
        """What reads it."""
        return StoredTiles(self)


class StoredTiles:
    """Reads a finished product in tiles of its own lattice, from its first pixel on. Implements `TileRenderer`."""

    def __init__(self, source: StoredSource) -> None:
        self._source = source

    @property
    def lattice(self) -> Lattice:
        """What is read at once, anchored at the first pixel of the product."""
        extent = self._source.extent
        return Lattice(tile_px=self._source.read_px, row0=extent.row0, col0=extent.col0)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        return self._source.band_names

    def halo_plan(self) -> HaloPlan:
        """One layer that looks nowhere else."""
        return HaloPlan.for_window(self.lattice.tile(0, 0), [Layer(name="image")])

    def tile_bytes(self) -> int:
        """Pixels, and once more as they are decoded."""
        return 2 * len(self.band_names) * self._source.read_px**2

    def render_tile(self, tile: Window) -> UInt8[np.ndarray, "bands rows cols"]:
        """The stored pixels of one tile; 0 beyond the product.

        Raises:
            InputError: they are damaged or gone. OutputError: an object store refuses.
        """
        source = self._source
        pixels = np.zeros((len(source.band_names), *tile.shape), np.uint8)
        common = tile.intersection(source.extent)
        if common is not None:
            place = common.shifted(-source.extent.row0, -source.extent.col0)
            try:
                stored = self._stored(place, 0)
                is_lost = source.check_level > 0 and not stored.any() and self._stored(place, source.check_level).any()
            except (OSError, ValueError, RuntimeError) as error:
                # What the system or an object store says may pass: the task is tried again.
                if isinstance(error, TilegenError) or (isinstance(error, OSError) and error.errno is not None):
                    raise
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InputError(f"{source.place} is damaged at {place}: {reason.rstrip('.')}.") from error
            if is_lost:
                raise InputError(f"{source.place} is damaged at {place}: a file of it is missing.")
            pixels[:, *common.within(tile)] = stored
        return pixels

    def _stored(self, window: Window, level: int) -> UInt8[np.ndarray, "bands rows cols"]:
        """Pixels of a level that lie in `window`, which is counted at full resolution from the first pixel on."""
        rows = slice(window.row0 >> level, -(-window.row1 >> level))
        cols = slice(window.col0 >> level, -(-window.col1 >> level))
        if not _is_zarr(self._source.place):
            with opened_tiff(self._source.place) as tiff:
                pixels: np.ndarray = tiff.read(window=((rows.start, rows.stop), (cols.start, cols.stop)))
                return pixels
        with opened_store(self._source.place) as store:
            image = zarr.open_array(store, path=f"{group_name(level)}/{IMAGE_NAME}".lstrip("/"), mode="r")
            return np.asarray(image[:, rows, cols])


def open_stored(
    place: Path | str, *, chunk_px: int | None = None, shard_px: int | None = None
) -> tuple[Product, StoredSource]:
    """A finished product of tilegen, to be written again in another format or layout, and where its pixels are.

    Args:
        place: a GeoTIFF or a Zarr store, on a disk or at s3://BUCKET/NAME.
        chunk_px: of the product that will be written; by default as it is.
        shard_px: likewise. A GeoTIFF does not say what it was: 2048, as for `generate`, or four chunks.

    Raises:
        InputError: it is none, it is not finished, or it is not as tilegen wrote it.
        OutputError: an object store refuses, or has no such product.
    """
    text = os.fspath(place) if is_url(place) else str(Path(place).absolute())
    if not is_url(place) and not Path(place).exists():
        is_begun = partial_folder(Path(place)).exists()
        raise InputError(f"{place} {_UNFINISHED}" if is_begun else f"{place} does not exist.")
    found = _zarr_product(text) if _is_zarr(text) else _tiff_product(text)
    chunk_px = found.chunk_px if chunk_px is None else chunk_px
    if shard_px is None:
        shard_px = found.shard_px if found.shard_px % max(chunk_px, 1) == 0 else 4 * chunk_px
    product = replace(found, chunk_px=chunk_px, shard_px=shard_px)
    # What is read at once shows whether a file is missing if it consists of whole shards of a store.
    can_check = _is_zarr(text) and shard_px % found.shard_px == 0
    source = StoredSource(
        place=text,
        extent=found.extent,
        band_names=found.band_names,
        read_px=shard_px,
        check_level=num_owned_levels(found) - 1 if can_check else 0,
    )
    return product, source


def _zarr_product(place: str) -> Product:
    try:
        with opened_store(place) as store:
            group = zarr.open_group(store, mode="r")
            image = zarr.open_array(store, path=IMAGE_NAME, mode="r")
            said: dict[str, Any] = dict(group.attrs)
            about: dict[str, Any] = {**image.attrs, **zarr.open_array(store, path="spatial_ref", mode="r").attrs}
        # The last thing that a run writes before it moves the store to its name.
        _require(group.metadata.consolidated_metadata is not None, f"{place} {_UNFINISHED}")
        _require_ours(place, said, image.dtype)
        transform = tuple(map(float, said["spatial:transform"]))
        product = Product(
            extent=_extent(place, image.shape[1:], transform),
            georef=_georef(said.get("proj:code"), str(about["spatial_ref"]), transform[0]),
            band_names=tuple(map(str, about["long_name"])),
            provenance=said,
            chunk_px=image.chunks[-1],
            shard_px=image.shards[-1] if image.shards else image.chunks[-1],
            nodata=int(image.fill_value),
        )
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, RecursionError, FileNotFoundError, NotADirectoryError):
        raise InputError(f"{place} is not a Zarr store that tilegen finished.") from None
    layout = root_attributes(replace(product, provenance={}))
    own = {name: value for name, value in said.items() if name == "synthetic" or name not in layout}
    return replace(product, provenance=own)


def _tiff_product(place: str) -> Product:
    try:
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            opened_tiff(place) as tiff,
        ):
            said = {name: _meant(name, text) for name, text in tiff.tags().items() if name not in _GDAL_S_OWN}
            _require_ours(place, said, np.dtype(tiff.dtypes[0]))
            _require(_is_as_written(tiff, said), f"{place} {_CHANGED}")
            chunk_px = int(tiff.block_shapes[0][0])
            return Product(
                extent=_extent(place, tiff.shape, tuple(tiff.transform)),
                georef=GeoReference(crs=tiff.crs.to_string(), res=float(tiff.transform.a)),
                band_names=tuple(str(name) for name in tiff.descriptions),
                provenance=said,
                chunk_px=chunk_px,
                shard_px=max(_SHARD_PX, chunk_px),
                nodata=int(tiff.nodata or 0),
            )
    except RasterioIOError:
        raise InputError(f"{place} is neither a GeoTIFF nor a Zarr store of tilegen.") from None


def _is_as_written(tiff: Any, said: Mapping[str, Any]) -> bool:
    """Whether a GeoTIFF with our tags is a COG of ours: GDAL sorts tags that it copies, and edits break the layout."""
    is_lossless = tiff.compression is not None and tiff.compression.name in TIFF_COMPRESSION
    is_cog = tiff.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
    return is_cog and is_lossless and tiff.crs is not None and next(iter(said)) == "synthetic"


def _require_ours(place: str, said: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
    is_ours = said.keys() >= _MADE_BY_US and dtype == np.uint8
    _require(is_ours, f"{place} does not say what made it. Only products of tilegen are exported, as it wrote them.")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)


def _extent(place: str, shape: tuple[int, ...], transform: Any) -> Window:
    """Absolute pixels of a product, whose corner is at (col, -row) times the pixel size.

    Raises:
        InputError: the corner is between pixels, or so far away that a float does not say which.
    """
    res, left, top = float(transform[0]), float(transform[2]), float(transform[5])
    corner = round(-top / res), round(left / res)
    if (corner[1] * res, -corner[0] * res) != (left, top) or max(map(abs, corner)) >= 1 << 53:
        raise InputError(f"{place} does not lie on the grid of a world. Was it moved?")
    return Window.from_size(shape[0], shape[1], row0=corner[0], col0=corner[1])


def _georef(code: Any, wkt: str, res: float) -> GeoReference:
    """The CRS by its code, if that is all that was meant by the WKT beside it."""
    if isinstance(code, str):
        named = GeoReference(crs=code, res=res)
        if named.wkt == wkt:
            return named
    return GeoReference(crs=wkt, res=res)


def _meant(name: str, text: str) -> Any:
    """The value of provenance that a GeoTIFF has as text."""
    value = plain(text)
    return text if name in _FREE_TEXT and value is not None else value


def _is_zarr(place: str) -> bool:
    return place.lower().endswith(".zarr") if is_url(place) else Path(place).is_dir()
