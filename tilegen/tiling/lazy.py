"""A window of a world as an xarray.DataArray that renders what is used of it: by Dask, or by indexing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  gives DataArrays their .rio
import xarray as xr
from jaxtyping import UInt
from xarray.backends import BackendArray
from xarray.core.indexing import ExplicitIndexer, IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

from tilegen.errors import InputError
from tilegen.geometry.window import Window
from tilegen.tiling.aoi import Aoi
from tilegen.tiling.levels import pixels_at
from tilegen.tiling.product import Product
from tilegen.tiling.render import RendererSource, TileRenderer, opened, render_window
from tilegen.tiling.sinks.cog_metadata import flat_provenance
from tilegen.tiling.sinks.zarr_attributes import axis_attributes, level_transform

_DIMENSIONS = ("band", "y", "x")
_MOST_CHUNKS = 1_000_000  # a graph of as many takes a minute and a few GB; nothing is endless in memory
_LONGEST_SIDE_PX = 1 << 27  # coordinates of 1 GB
_CHUNK_PX, _SMALLEST_CHUNK_PX = 2048, 64


def lazy_image(
    source: RendererSource, product: Product, *, level: int = 0, chunk_px: int | None = None
) -> xr.DataArray:
    """`product` as a DataArray (band, y, x) on Dask, one independent task per chunk.

    Args:
        level: 0 is full resolution. The extent consists of whole pixels of it.
        chunk_px: edge of a chunk in pixels of `level`.

    Raises:
        InputError: there would be too many chunks, or too many coordinates.
    """
    chunk_px = default_chunk_px(level) if chunk_px is None else chunk_px
    if chunk_px < 1:
        raise InputError(f"chunk_px is the edge of a chunk in pixels, at least 1, not {chunk_px}.")
    rows, cols = product.level_shape(level)
    _check_size(rows, cols, num_chunks=-(-rows // chunk_px) * -(-cols // chunk_px))
    pixels = da.map_blocks(
        _rendered_chunk,
        _inside(source, product.aoi),
        _first_pixel(product, level),
        level,
        chunks=da.core.normalize_chunks(
            (-1, chunk_px, chunk_px), (len(product.band_names), rows, cols), dtype=product.dtype
        ),
        dtype=product.dtype,
        meta=np.empty((0, 0, 0), product.dtype),
    )
    return _georeferenced(pixels, product, level)


def indexed_image(source: RendererSource, product: Product, *, level: int = 0) -> xr.DataArray:
    """`product` as a DataArray (band, y, x) that renders the tiles which an index meets, and no others.

    Raises:
        InputError: there would be too many coordinates.
    """
    _check_size(*product.level_shape(level))
    image = _georeferenced(
        LazilyIndexedArray(_WorldArray(_inside(source, product.aoi), product, level)), product, level
    )
    edge = default_chunk_px(level)
    image.encoding["preferred_chunks"] = {"band": len(product.band_names), "y": edge, "x": edge}
    return image


def default_chunk_px(level: int) -> int:
    """Edge of a chunk in pixels of a level: as much to render as at full resolution, down to a chunk worth a task."""
    return max(_CHUNK_PX >> level, _SMALLEST_CHUNK_PX)


@dataclass(frozen=True, kw_only=True)
class _Inside:
    """Tiles of a source that are nodata outside of an AOI. Implements `RendererSource`."""

    source: RendererSource
    aoi: Aoi

    def open(self) -> TileRenderer:
        return _InsideRenderer(self.source.open(), self.aoi)


class _InsideRenderer:
    """Implements `TileRenderer`."""

    def __init__(self, renderer: TileRenderer, aoi: Aoi) -> None:
        self._renderer, self._aoi = renderer, aoi
        self.lattice, self.band_names = renderer.lattice, renderer.band_names
        self.halo_plan, self.tile_bytes = renderer.halo_plan, renderer.tile_bytes

    def render_tile(self, tile: Window) -> UInt[np.ndarray, "bands rows cols"]:
        return render_window(self._renderer, tile, self._aoi)


def _inside(source: RendererSource, aoi: Aoi | None) -> RendererSource:
    return source if aoi is None else _Inside(source=source, aoi=aoi)


class _WorldArray(BackendArray):
    """What xarray indexes; picklable, as the source is."""

    def __init__(self, source: RendererSource, product: Product, level: int) -> None:
        self._source, self._level = source, level
        self._first = _first_pixel(product, level)
        self.shape = (len(product.band_names), *product.level_shape(level))
        self.dtype = np.dtype(product.dtype)

    def __getitem__(self, key: ExplicitIndexer) -> Any:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        bands, rows, cols = (_chosen(part, size) for part, size in zip(key, self.shape, strict=True))
        row0, col0 = self._first
        places = [row0 + row for row in rows], [col0 + col for col in cols]
        # Asked for nothing, a renderer need not be opened.
        pixels: np.ndarray = np.empty((len(bands), len(rows), len(cols)), self.dtype)
        if pixels.size:
            pixels = pixels_at(opened(self._source), *places, level=self._level)[list(bands)]
        is_one = [isinstance(part, int | np.integer) for part in key]
        return np.asarray(pixels[tuple(0 if one else slice(None) for one in is_one)])


def _chosen(part: Any, size: int) -> Sequence[int]:
    """Positions along a dimension that an index of xarray means: a number, a slice, or many numbers."""
    every = range(size)
    if isinstance(part, slice):
        return every[part]
    return [every[int(position)] for position in np.atleast_1d(part)]


def _first_pixel(product: Product, level: int) -> tuple[int, int]:
    """(row, col) of the upper left pixel, of the world and in pixels of `level`."""
    return product.extent.row0 >> level, product.extent.col0 >> level


def _rendered_chunk(
    source: RendererSource, first: tuple[int, int], level: int, block_info: dict[Any, Any]
) -> UInt[np.ndarray, "bands rows cols"]:
    _, rows, cols = (range(int(start), int(stop)) for start, stop in block_info[None]["array-location"])
    places = [first[0] + row for row in rows], [first[1] + col for col in cols]
    return pixels_at(opened(source), *places, level=level)


def _georeferenced(pixels: Any, product: Product, level: int) -> xr.DataArray:
    """`pixels` with coordinates at pixel centres, CRS, transform and nodata as rioxarray and odc-geo read them."""
    transform, (rows, cols) = level_transform(product, level), product.level_shape(level)
    x = transform.c + transform.a * (np.arange(cols) + 0.5)
    y = transform.f + transform.e * (np.arange(rows) + 0.5)
    image = xr.DataArray(
        pixels,
        dims=_DIMENSIONS,
        coords={
            "band": np.arange(1, len(product.band_names) + 1),
            "y": ("y", y, axis_attributes(product, "y")),
            "x": ("x", x, axis_attributes(product, "x")),
        },
        name="image",
        # Flat text, as in a GeoTIFF: netCDF has no truth values, and whoever writes this image writes what made it.
        attrs={"long_name": product.band_names, **flat_provenance(product)},
    )
    # In place: rioxarray copies deeply otherwise, with whatever the pixels come from.
    image.rio.write_crs(product.georef.wkt, inplace=True)
    image.rio.write_transform(transform, inplace=True)
    image.rio.write_nodata(product.nodata, inplace=True)
    return image


def _check_size(rows: int, cols: int, *, num_chunks: int = 1) -> None:
    if max(rows, cols) > _LONGEST_SIDE_PX:
        raise InputError(
            f"{cols} x {rows} pixels have more coordinates than fit into memory ({_LONGEST_SIDE_PX} a side). Give "
            "smaller bounds or a coarser res."
        )
    if num_chunks > _MOST_CHUNKS:
        raise InputError(
            f"{cols} x {rows} pixels are {num_chunks} chunks, more than a graph holds ({_MOST_CHUNKS}). Give a larger "
            "chunk_px, smaller bounds or a coarser res."
        )
