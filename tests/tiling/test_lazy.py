"""Lazy windows: nothing is rendered before it is used, and then the right pixels on the right ground."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import odc.geo.xr  # noqa: F401  gives DataArrays their .odc
import pytest
import xarray as xr
from affine import Affine
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateSource, ExplodingSource, RecordingSource
from tilegen.testing.sinks import address_pixels, address_product, reference_levels
from tilegen.tiling.lazy import indexed_image, lazy_image
from tilegen.tiling.render import RendererSource
from tilegen.tiling.sinks.zarr_attributes import level_transform
from tilegen.tiling.verify import open_written

# rioxarray 0.19 and odc-geo multiply transforms as affine did before 3.0.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


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


def test_coarse_pixels_keep_their_place_on_the_ground() -> None:
    product = address_product(96, 128, row0=-64, col0=320)
    lazy = lazy_image(CoordinateSource(tile_px=32), product, level=3, chunk_px=5)
    assert lazy.rio.transform() == Affine(4.0, 0, 160.0, 0, -4.0, 32.0)
    assert (float(lazy.x[0]), float(lazy.y[0])) == (162.0, 30.0)
    np.testing.assert_array_equal(lazy, reference_levels(address_pixels(product.extent), 4)[3])


@pytest.mark.parametrize(("chunk_px", "said"), [(1, "more than a graph holds"), (0, "at least 1")])
def test_what_no_graph_holds_is_refused(chunk_px: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        lazy_image(CoordinateSource(), address_product(2000, 2000), chunk_px=chunk_px)


@pytest.mark.parametrize("open_image", [lazy_image, indexed_image])
def test_coordinates_that_no_memory_holds_are_refused(open_image: Callable[..., xr.DataArray]) -> None:
    with pytest.raises(InputError, match=r"more coordinates than fit into memory .* coarser res"):
        open_image(CoordinateSource(), address_product(1, 2**28))


# Without Dask


@given(data=st.data(), level=st.integers(0, 3))
@settings(max_examples=40)
def test_any_index_gives_what_it_gives_of_an_array(data: st.DataObject, level: int) -> None:
    """Numbers, slices with steps of either sign, lists with repetitions, none at all, and points one by one."""
    product = address_product(104, 136, row0=-72, col0=304)
    expected = xr.Variable(("band", "y", "x"), reference_levels(address_pixels(product.extent), level + 1)[level])
    image = indexed_image(CoordinateSource(tile_px=32), product, level=level).variable
    for _ in range(data.draw(st.integers(1, 2))):  # an index of an index is one, too
        chosen = {}
        for name, size in expected.sizes.items():
            numbers = st.integers(-size, size - 1) if size else st.nothing()
            lists = st.lists(numbers, max_size=5) if size else st.just([])
            # xarray 2026.9 itself fails at empty slices of backward ones; empty lists are drawn instead.
            slices = st.slices(size).filter(lambda part, size=size: len(range(size)[part]) > 0)
            chosen[name] = data.draw(st.one_of(slices, numbers, lists))
        image, expected = image.isel(chosen), expected.isel(chosen)
    np.testing.assert_array_equal(image, expected)
    assert image.dims == expected.dims


def test_points_are_picked_one_by_one() -> None:
    """Vectorised indexing: as many pixels as points, not all where their rows and columns cross."""
    product = address_product(100, 130)
    image = indexed_image(CoordinateSource(tile_px=32), product)
    at = {"y": xr.DataArray([0, 99, 5], dims="point"), "x": xr.DataArray([129, -1, 7], dims="point")}
    expected = address_pixels(product.extent)[:, [0, 99, 5], [129, -1, 7]]
    np.testing.assert_array_equal(image.isel(at).transpose("band", "point"), expected)


@pytest.mark.parametrize(
    ("index", "num_tiles"),
    [
        ({"y": 0, "x": 0}, 1),
        ({"y": slice(None, None, 70), "x": [129, 0]}, 4),  # and nothing of what lies between
        ({"y": slice(6, 38), "x": slice(20, 52)}, 1),
        ({"y": slice(6, 39), "x": slice(20, 52)}, 2),
        ({"y": slice(0, 0)}, 0),
        ({"band": 2}, 20),
    ],
    ids=str,
)
def test_an_index_renders_the_tiles_that_it_meets_and_no_others(index: dict, num_tiles: int) -> None:
    source = RecordingSource(tile_px=32)
    image = indexed_image(source, address_product(100, 130)).isel(index)
    assert source.asked == []
    image.load()
    assert len(source.asked) == len(set(source.asked)) == num_tiles


def test_an_index_beyond_the_window_is_an_error() -> None:
    with pytest.raises(IndexError):
        indexed_image(CoordinateSource(), address_product(100, 130)).isel(y=100).load()


# What other libraries make of it


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("open_image", [lazy_image, indexed_image])
def test_the_geobox_of_odc_is_the_grid_of_the_world(open_image: Callable[..., xr.DataArray], level: int) -> None:
    product = address_product(96, 128, row0=-64, col0=320)
    geobox = open_image(CoordinateSource(), product, level=level).odc.geobox
    assert geobox == GeoBox(product.level_shape(level), level_transform(product, level), "EPSG:32633")
    assert geobox.crs.epsg == 32633


def test_a_geotiff_written_by_rioxarray_says_what_made_its_pixels(tmp_path: Path) -> None:
    made = {"synthetic": True, "seed": 2**64 - 1, "model_digest": "00ff", "scale_seeds": {"region": 5}, "licence": None}
    product = address_product(100, 130, provenance=made)
    lazy_image(CoordinateSource(), product).rio.to_raster(tmp_path / "image.tif")
    written = open_written(tmp_path / "image.tif")
    assert made.items() <= written.provenance.items()
    assert written.extent == product.extent
    np.testing.assert_array_equal(written.read(product.extent), address_pixels(product.extent))


def test_an_image_survives_a_zarr_store_of_xarray(tmp_path: Path) -> None:
    lazy = image()
    lazy.to_dataset().to_zarr(tmp_path / "image.zarr", zarr_format=3)
    again = xr.open_dataset(tmp_path / "image.zarr", engine="zarr", decode_coords="all", mask_and_scale=False).image
    assert (again.rio.crs.to_epsg(), again.rio.bounds()) == (32633, lazy.rio.bounds())
    np.testing.assert_array_equal(again, address_pixels(address_product(100, 130).extent))


def test_matplotlib_shows_its_colours() -> None:
    mpl.use("Agg")
    shown = image().plot.imshow(rgb="band")
    np.testing.assert_array_equal(
        np.asarray(shown.get_array())[..., :3], address_pixels(address_product(100, 130).extent).transpose(1, 2, 0)
    )
    assert shown.get_extent() == [150.0, 215.0, -15.0, 35.0]
    plt.close("all")


@pytest.mark.cluster
def test_it_goes_to_workers_of_a_cluster(two_workers: Client) -> None:
    product = address_product(100, 130)
    on_dask = lazy_image(CoordinateSource(tile_px=32), product, chunk_px=40)
    chunked = indexed_image(CoordinateSource(tile_px=32), product).chunk({"y": 40, "x": 40})
    for lazy in (on_dask, chunked):
        found = two_workers.compute(lazy).result()
        np.testing.assert_array_equal(found, address_pixels(product.extent))
