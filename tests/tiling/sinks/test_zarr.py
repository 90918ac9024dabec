"""ZarrSink keeps the contract; xarray, rioxarray and the GeoZarr conventions find what they look for."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers the accessor
import xarray as xr
import zarr
from rasterio.crs import CRS

from tilegen.errors import OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.testing.sinks import (
    SinkContract,
    address_pixels,
    address_product,
    reference_levels,
    write_product,
    write_shards,
)
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import ZarrEncoding
from tilegen.tiling.sinks.zarr import ZarrSink
from tilegen.tiling.sinks.zarr_attributes import stored_levels


def read_levels(path):
    root = zarr.open_group(path, mode="r", use_consolidated=True)
    return [root[entry["asset"]][...] for entry in root.attrs["multiscales"]["layout"]]


class TestZarrSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _digest_of_trees(self, tree_digest):
        self.tree_digest = tree_digest

    def open(self, folder: Path, product: Product) -> ZarrSink:
        return ZarrSink(path=folder / "x.zarr", product=product)

    def read(self, folder: Path) -> list[np.ndarray] | None:
        path = folder / "x.zarr"
        return read_levels(path) if path.exists() else None

    def digest(self, folder: Path) -> str:
        assert [entry.name for entry in folder.iterdir()] == ["x.zarr"]
        return self.tree_digest(folder)


class TestUnshardedZarrSink(TestZarrSink):
    """A file for each chunk."""

    def open(self, folder: Path, product: Product) -> ZarrSink:
        return ZarrSink(path=folder / "x.zarr", product=product, encoding=ZarrEncoding(sharded=False))


class TestZarr2Sink(TestZarrSink):
    """Version 2, and a group for each level."""

    def open(self, folder: Path, product: Product) -> ZarrSink:
        return ZarrSink(path=folder / "x.zarr", product=product, encoding=ZarrEncoding(zarr_format=2, layout="groups"))

    def read(self, folder: Path) -> list[np.ndarray] | None:
        path = folder / "x.zarr"
        if not path.exists():
            return None
        root = zarr.open_group(path, mode="r")
        return [root[name][...] for name in stored_levels(root.attrs.asdict())]


@pytest.fixture
def product():
    return address_product(150, 133)


@pytest.fixture
def sink(tmp_path, product):
    return ZarrSink(path=tmp_path / "x.zarr", product=product)


@pytest.fixture
def written(sink):
    write_product(sink)
    return sink


def pixel_centres(product, level):
    res = product.georef.res * 2**level
    xmin, _, _, ymax = product.georef.bounds(product.extent)
    rows, cols = product.level_shape(level)
    return xmin + res * (np.arange(cols) + 0.5), ymax - res * (np.arange(rows) + 0.5)


# rioxarray 0.19 multiplies transforms as affine did before 3.0.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_xarray_and_rioxarray_see_pixels_crs_and_transform_of_every_level(written, product):
    for level, pixels in enumerate(reference_levels(address_pixels(product.extent), product.num_levels)):
        group = f"ovr_{2**level}x" if level else None
        with xr.open_zarr(written.path, group=group, mask_and_scale=False, chunks=None) as dataset:
            image = dataset.image
            np.testing.assert_array_equal(image, pixels)
            assert image.dims == ("band", "y", "x")
            assert image.rio.crs == CRS.from_epsg(32633)
            assert image.rio.nodata == 0
            assert image.rio.transform().almost_equals(image.rio.transform(recalc=True))
            x, y = pixel_centres(product, level)
            np.testing.assert_allclose(image.x, x, rtol=0, atol=1e-9)
            np.testing.assert_allclose(image.y, y, rtol=0, atol=1e-9)
            assert image.x.attrs["standard_name"] == "projection_x_coordinate"
            assert image.attrs["long_name"] == ["red", "green", "blue"]


def test_plain_xarray_sees_the_bytes_and_what_is_nodata(sink, product):
    """GDAL takes nodata from the fill value, rioxarray from an attribute; CF's would make all pixels float32."""
    pixels = address_pixels(product.extent)
    pixels[:, :70, :70] = 0
    write_product(sink, pixels)
    with xr.open_zarr(sink.path, chunks=None) as dataset:
        assert dataset.image.dtype == np.uint8
        np.testing.assert_array_equal(dataset.image, pixels)
        assert dataset.image.rio.nodata == 0
    assert zarr.open_array(sink.path, path="image", mode="r").fill_value == 0


def test_the_root_says_where_it_came_from_and_that_it_is_synthetic(written):
    attributes = zarr.open_group(written.path, mode="r").attrs
    assert attributes["synthetic"] is True
    assert attributes["seed"] == 7
    assert attributes["model"] == {"digest": "00ff"}


def test_the_conventions_are_declared_with_what_they_ask_for(written, product):
    root = zarr.open_group(written.path, mode="r")
    declared = {entry["name"]: entry["uuid"] for entry in root.attrs["zarr_conventions"]}
    assert declared == {
        "multiscales": "d35379db-88df-4056-af3a-620245f8e347",
        "proj": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    }
    layout = root.attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == [
        "image",
        *(f"ovr_{2**level}x/image" for level in range(1, product.num_levels)),
    ]
    for level, entry in enumerate(layout):
        image = root[entry["asset"]]
        assert entry.get("derived_from") == (layout[level - 1]["asset"] if level else None)
        assert entry["transform"]["scale"] == ([1, 2, 2] if level else [1, 1, 1])
        assert image.attrs["proj:code"] == "EPSG:32633"
        assert image.attrs["spatial:dimensions"] == list(image.metadata.dimension_names[1:])
        assert image.attrs["spatial:shape"] == entry["spatial:shape"] == list(image.shape[1:])
        expected = [0.5 * 2**level, 0, 150.0, 0, -0.5 * 2**level, 35.0]
        assert image.attrs["spatial:transform"] == entry["spatial:transform"] == expected
    assert tuple(root.attrs["spatial:bbox"]) == product.georef.bounds(product.extent)


def test_a_crs_without_a_code_is_stored_as_wkt(tmp_path, product):
    georef = GeoReference(crs="+proj=laea +lat_0=10 +lon_0=-81 +ellps=WGS84 +units=m +type=crs", res=2.0)
    sink = ZarrSink(path=tmp_path / "x.zarr", product=replace(product, georef=georef))
    write_product(sink)
    root = zarr.open_group(sink.path, mode="r")
    assert "proj:code" not in root.attrs
    assert CRS.from_wkt(root.attrs["proj:wkt2"]).to_dict()["proj"] == "laea"
    with xr.open_zarr(sink.path, chunks=None) as dataset:
        assert dataset.image.rio.crs.to_dict()["lat_0"] == 10


def test_a_geographic_crs_names_its_axes(tmp_path, product):
    georef = GeoReference(crs="EPSG:4326", res=1e-4)
    sink = ZarrSink(path=tmp_path / "x.zarr", product=replace(product, georef=georef))
    write_product(sink)
    with xr.open_zarr(sink.path, chunks=None) as dataset:
        assert dataset.x.attrs["units"] == "degrees_east"
        assert dataset.y.attrs["units"] == "degrees_north"


def test_shards_shrink_with_the_levels_that_tasks_write(written, product):
    root = zarr.open_group(written.path, mode="r")
    layout = root.attrs["multiscales"]["layout"]
    assert [root[entry["asset"]].shards[-1] for entry in layout] == [64, 32, 16, 64, 64]
    assert {root[entry["asset"]].chunks for entry in layout} == {(3, 16, 16)}


def test_the_store_holds_nothing_but_zarr(written):
    strange = [
        path
        for path in written.path.rglob("*")
        if path.is_file() and path.name != "zarr.json" and "c" not in path.relative_to(written.path).parts
    ]
    assert strange == []
    assert "consolidated_metadata" in json.loads((written.path / "zarr.json").read_text())


def test_the_growing_store_can_be_watched(sink, product):
    sink.begin(overwrite=False)
    pixels = address_pixels(product.extent)
    write_shards(sink, pixels, [(1, 1)])
    store = zarr.open_group(sink.path.with_name("x.zarr.partial") / "store", mode="r")
    np.testing.assert_array_equal(store["image"][:, 64:128, 64:128], pixels[:, 64:128, 64:128])
    assert not store["image"][:, :64].any()


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
@pytest.mark.parametrize("file", ["image/c/0/2/2", "ovr_4x/image/c/0/2/2"])
def test_a_damaged_shard_is_done_again(sink, product, damage, file):
    """(2, 2) is cut at the edge of the extent, where Zarr would merge what it finds into what it writes."""
    pixels = address_pixels(product.extent)
    sink.begin(overwrite=False)
    write_shards(sink, pixels, product.shard_indices)
    damage(sink.path.with_name("x.zarr.partial") / "store" / file)
    with pytest.raises(OutputError, match=r"1 of 9 shards are missing, the first is \(2, 2\)"):
        sink.finish()
    assert sink.begin(overwrite=False) == set(product.shard_indices) - {(2, 2)}
    write_shards(sink, pixels, [(2, 2)])
    sink.finish()
    for found, wanted in zip(read_levels(sink.path), reference_levels(pixels, product.num_levels), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_nobody_vouches_for_is_removed_at_resume(sink):
    sink.begin(overwrite=False)
    folder = sink.path.with_name("x.zarr.partial") / "store" / "image" / "c" / "0" / "0"
    folder.mkdir(parents=True)
    for name in ("1", "1.0123.partial"):
        (folder / name).write_bytes(b"half a shard")
    assert sink.begin(overwrite=False) == set()
    assert list(folder.iterdir()) == []


def put_folder(path):
    path.mkdir()
    (path / "precious").write_text("mine")


def put_array(path):
    zarr.create_array(path, shape=(3,), dtype="uint8")


def put_link(path):
    zarr.create_group(path.parent / "elsewhere.zarr")
    path.symlink_to(path.parent / "elsewhere.zarr")


def put_file(path):
    path.write_text("mine")


@pytest.mark.parametrize("put", [put_folder, put_array, put_link, put_file])
@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.partial"])
def test_what_tilegen_did_not_make_is_never_deleted(sink, put, name):
    put(sink.path.with_name(name))
    before = sorted((path, path.lstat().st_mtime_ns) for path in sink.path.parent.rglob("*"))
    with pytest.raises(OutputError):
        sink.begin(overwrite=True)
    assert sorted((path, path.lstat().st_mtime_ns) for path in sink.path.parent.rglob("*")) == before


def test_the_old_store_stays_until_the_new_one_is_complete(written, product, tree_digest):
    before = tree_digest(written.path)
    newer = replace(written, product=address_product(150, 133, provenance={"seed": 8}))
    newer.begin(overwrite=True)
    write_shards(newer, address_pixels(product.extent), product.shard_indices)
    assert tree_digest(written.path) == before
    newer.finish()
    assert zarr.open_group(written.path, mode="r").attrs["seed"] == 8
    assert [entry.name for entry in written.path.parent.iterdir()] == ["x.zarr"]
