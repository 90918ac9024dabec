"""A window of a world as a lazy xarray.DataArray, one independent Dask task per chunk."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  gives DataArrays their .rio
import xarray as xr

from tilegen.geometry.window import Window
from tilegen.tiling.product import Product
from tilegen.tiling.render import RendererSource, opened, render_window


def lazy_image(source: RendererSource, product: Product, chunk_px: int) -> xr.DataArray:
    """`product` as a DataArray (band, y, x) georeferenced for rioxarray; nothing is rendered until used."""
    extent, transform = product.extent, product.georef.transform(product.extent)
    pixels = da.map_blocks(
        _rendered_chunk,
        source,
        extent,
        chunks=da.core.normalize_chunks((-1, chunk_px, chunk_px), product.shape, dtype=product.dtype),
        dtype=product.dtype,
        meta=np.empty((0, 0, 0), product.dtype),
    )
    image = xr.DataArray(
        pixels,
        dims=("band", "y", "x"),
        coords={
            "band": np.arange(1, len(product.band_names) + 1),
            "y": transform.f + transform.e * (np.arange(extent.height) + 0.5),
            "x": transform.c + transform.a * (np.arange(extent.width) + 0.5),
        },
        name="image",
        attrs={"long_name": product.band_names, "synthetic": "true"},
    )
    georeferenced: xr.DataArray = image.rio.write_crs(product.georef.crs).rio.write_transform(transform)
    return georeferenced.rio.write_nodata(product.nodata)


def _rendered_chunk(source: RendererSource, extent: Window, block_info: dict[Any, Any]) -> np.ndarray:
    _, (row0, row1), (col0, col1) = block_info[None]["array-location"]
    chunk = Window(row0=int(row0), col0=int(col0), row1=int(row1), col1=int(col1))
    return render_window(opened(source), chunk.shifted(extent.row0, extent.col0))
