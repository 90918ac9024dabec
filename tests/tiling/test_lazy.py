"""Lazy windows: nothing is rendered before it is used, and then the right pixels on the right ground."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateSource, ExplodingSource
from tilegen.testing.sinks import address_pixels, address_product
from tilegen.tiling.lazy import lazy_image
from tilegen.tiling.render import RendererSource


def image(chunk_px: int = 40, source: RendererSource | None = None) -> xr.DataArray:
    return lazy_image(source or CoordinateSource(tile_px=32), address_product(100, 130), chunk_px=chunk_px)


def test_nothing_is_rendered_before_it_is_used() -> None:
    """A source that explodes when opened: neither building, nor slicing, nor looking opens it."""
    lazy = image(source=ExplodingSource())
    assert lazy[:, 10:20].mean("band").shape == (10, 130)
    assert "dask.array" in repr(lazy)
    assert lazy.rio.bounds() == address_product(100, 130).georef.bounds(address_product(100, 130).extent)
    with pytest.raises(AssertionError, match="opened before a pixel was asked for"):
        lazy[:, :1, :1].compute()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunk_px", [7, 40, 64, 1000])
def test_any_chunks_hold_the_same_pixels(chunk_px: int, scheduler: str) -> None:
    lazy = image(chunk_px)
    assert max(lazy.chunksizes["y"]) == min(chunk_px, 100)
    np.testing.assert_array_equal(lazy.compute(scheduler=scheduler), address_pixels(address_product(100, 130).extent))


def test_a_slice_renders_its_own_chunks_only() -> None:
    lazy = image()[:, 45:60, 3:90]
    assert (
        len([key for key in lazy.__dask_graph__().cull(lazy.__dask_keys__()) if "_rendered_chunk" in str(key[0])]) == 3
    )
    expected = address_pixels(Window.from_size(15, 87, row0=-70 + 45, col0=300 + 3))
    np.testing.assert_array_equal(lazy, expected)


def test_the_same_image_has_the_same_graph() -> None:
    """So that a cluster knows what it has."""
    assert image().data.name == image().data.name
    assert image().data.name != image(source=CoordinateSource(tile_px=16)).data.name


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray 0.19 with affine 3
def test_rioxarray_knows_where_it_lies() -> None:
    lazy = image()
    assert lazy.dims == ("band", "y", "x")
    assert lazy.rio.crs.to_epsg() == 32633
    assert lazy.rio.transform() == Affine(0.5, 0, 150.0, 0, -0.5, 35.0)
    assert lazy.rio.nodata == 0
    assert (lazy.dtype, lazy.attrs["long_name"]) == (np.uint8, ("red", "green", "blue"))
    assert lazy.band.values.tolist() == [1, 2, 3]
    # Coordinates are those of pixel centres.
    assert (float(lazy.x[0]), float(lazy.y[0])) == (150.25, 34.75)
    assert lazy.rio.clip_box(160, 20, 170, 30).shape == (3, 20, 20)


def test_a_place_on_the_ground_is_the_same_pixel_in_every_window() -> None:
    georef: GeoReference = address_product(1, 1).georef
    whole = image()
    row, col = georef.pixel(x=180.0, y=10.0)
    found = whole.sel(x=180.25, y=9.75, method="nearest").to_numpy()
    np.testing.assert_array_equal(found, address_pixels(Window.from_size(1, 1, row0=row, col0=col))[:, 0, 0])
