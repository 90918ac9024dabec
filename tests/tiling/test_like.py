"""The grid of another raster: a world that has its pixels, one for one."""

import json

import numpy as np
import pytest
import rasterio
import zarr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference, anchor_of
from tilegen.geometry.window import Window
from tilegen.testing.sinks import address_product, write_product
from tilegen.tiling.like import read_grid
from tilegen.tiling.sinks import open_sink


@pytest.fixture
def save(tmp_path):
    def saved(transform, crs="EPSG:32633", shape=(30, 40)):
        path = tmp_path / "other.tif"
        options = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "int16"}
        with rasterio.open(path, "w", transform=transform, crs=crs, **options) as raster:
            raster.write(np.zeros((1, *shape), np.int16))
        return path

    return saved


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("left", "top", "res", "crs", "anchor"),
    [
        (391335.0, 5818793.5, 0.5, "EPSG:32633", (0.0, 0.0)),
        (391335.25, 5818793.5, 0.5, "EPSG:32633", (0.25, 0.0)),
        (-391335.1, -5818793.4, 10.0, "EPSG:32633", (4.9, 6.6)),
        (664000.2, 4005000.1, 0.3, "EPSG:32611", None),
        (13.4, 52.5, 1 / 3600, "EPSG:4326", (0.0, 0.0)),
        (13.4 + 1 / 7200, 52.5 - 1 / 7200, 1 / 3600, "EPSG:4326", (1 / 7200, 1 / 7200)),
    ],
)
def test_the_window_has_the_transform_of_the_raster(save, left, top, res, crs, anchor):
    georef, window = read_grid(save(Affine(res, 0, left, 0, -res, top), crs))
    assert (window.shape, georef.res, georef.crs) == ((30, 40), res, crs)
    assert georef.transform(window).almost_equals(Affine(res, 0, left, 0, -res, top), 1e-9)
    if anchor is not None:
        assert georef.anchor == pytest.approx(anchor, abs=1e-8)


@given(left=st.floats(-1e6, 1e6), top=st.floats(-1e7, 1e7), res=st.sampled_from([0.3, 0.5, 1.0, 10.0, 2 / 3]))
def test_any_corner_is_on_its_own_grid(left, top, res):
    georef = GeoReference(crs="EPSG:32633", res=res, anchor=anchor_of(left, top, res))
    row, col = georef.pixel(left, top)
    found = georef.transform(Window.from_size(1, 1, row0=row, col0=col))
    assert (found.c, found.f) == pytest.approx((left, top), abs=2e-6 * res)
    assert georef.window((left, top - 3 * res, left + 5 * res, top)) == Window.from_size(3, 5, row0=row, col0=col)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.tif", {}),
        ("a.zarr", {}),
        ("a.zarr", {"layout": "groups"}),
        ("a.zarr", {"zarr_format": 2}),
        ("a.zarr", {"zarr_format": 2, "layout": "groups"}),
    ],
    ids=str,
)
def test_our_own_products_give_their_own_grid(tmp_path, name, options):
    product = address_product(70, 50)
    write_product(open_sink(tmp_path / name, product, options))
    assert read_grid(tmp_path / name) == (product.georef, product.extent)


def test_a_store_that_does_not_say_where_it_lies_is_refused(tmp_path):
    zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    with pytest.raises(InputError, match="does not say where it lies"):
        read_grid(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("file", "content"), [("zarr.json", b"{"), ("zarr.json", b"[]"), ("zarr.json", b"\xff"), (".zgroup", b"[]")]
)
def test_a_store_that_is_damaged_is_refused(tmp_path, file, content):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / file).write_bytes(content)
    with pytest.raises(InputError, match="does not say where it lies"):
        read_grid(tmp_path / "a.zarr")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match="is no raster that GDAL can read"):
        read_grid(tmp_path / "a.zarr")


def test_a_store_of_others_that_gdal_reads_gives_its_grid(tmp_path):
    """Of version 2, with the attributes of GDAL instead of those of GeoZarr."""
    store = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    image = store.create_array("image", data=np.zeros((30, 40), np.uint8))
    image.attrs.update(
        {"_ARRAY_DIMENSIONS": ["y", "x"], "_CRS": {"url": "http://www.opengis.net/def/crs/EPSG/0/32633"}}
    )
    for name, centres in (("y", 99.75 - 0.5 * np.arange(30)), ("x", 10.25 + 0.5 * np.arange(40))):
        store.create_array(name, data=centres).attrs["_ARRAY_DIMENSIONS"] = [name]
    georef, window = read_grid(tmp_path / "a.zarr")
    assert (georef, window) == (GeoReference(crs="EPSG:32633", res=0.5), Window.from_size(30, 40, row0=-200, col0=20))


@pytest.mark.parametrize("anchor", [(-0.1, 0.0), (0.0, 0.5), (float("nan"), 0.0)])
def test_an_anchor_is_less_than_a_pixel(anchor):
    with pytest.raises(InputError, match="less than a pixel"):
        GeoReference(crs="EPSG:32633", res=0.5, anchor=anchor)


@pytest.mark.parametrize("place", [0, 2, 5])
@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_place_that_is_no_number_is_refused(tmp_path, place, value):
    write_product(open_sink(tmp_path / "a.zarr", address_product(60, 70)))
    said = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    said["attributes"]["spatial:transform"][place] = float(value)
    (tmp_path / "a.zarr/zarr.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="a corner or a pixel size that is no number"):
        read_grid(tmp_path / "a.zarr")
