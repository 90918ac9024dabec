"""Both sinks of object stores keep the contract, end with the bytes of a disk, and spare what is not theirs."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import obstore.store
import pytest
import rasterio
import rasterio.session
import xarray as xr
import zarr
from rasterio.io import MemoryFile
from zarr.storage import ObjectStore

from tilegen.errors import OutputError, TilegenError
from tilegen.testing.s3_server import BrokenWay
from tilegen.testing.sinks import SinkContract, address_pixels, address_product, write_product, write_shards
from tilegen.tiling.finished import opened_store
from tilegen.tiling.preview import describe_product, save_preview
from tilegen.tiling.product import Product
from tilegen.tiling.sinks import open_sink, require_unfinished
from tilegen.tiling.sinks.protocol import Sink

SUFFIXES = [".zarr", ".tif"]


class RemoteContract(SinkContract):
    suffix: str

    @pytest.fixture(autouse=True)
    def _store(self, bucket, contents_of):
        self.bucket, self.contents_of = bucket, contents_of

    def open(self, folder: Path, product: Product) -> Sink:
        return open_sink(self._url(folder), product)

    def digest(self, folder: Path) -> str:
        found = self.contents_of(f"{folder.name}/")
        assert not [name for name in found if not name.startswith(f"x{self.suffix}")]
        assert not [name for name in found if ".partial" in name]
        return hashlib.sha256(pickle.dumps(sorted(found.items()))).hexdigest()

    def _url(self, folder: Path) -> str:
        return f"s3://{self.bucket}/{folder.name}/x{self.suffix}"


class TestRemoteZarrSink(RemoteContract):
    suffix = ".zarr"

    def read(self, folder: Path) -> list[np.ndarray] | None:
        with opened_store(self._url(folder)) as store:
            try:
                root = zarr.open_group(store, mode="r", use_consolidated=True)
            except FileNotFoundError:
                return None
            return [root[entry["asset"]][...] for entry in root.attrs["multiscales"]["layout"]]


class TestRemoteCogSink(RemoteContract):
    suffix = ".tif"

    def read(self, folder: Path) -> list[np.ndarray] | None:
        content = self.contents_of(f"{folder.name}/").get("x.tif")
        if content is None:
            return None
        with MemoryFile(content) as file, file.open() as tiff:
            levels, num_overviews = [tiff.read()], len(tiff.overviews(1))
        for number in range(num_overviews):
            with MemoryFile(content) as file, file.open(overview_level=number) as tiff:
                levels.append(tiff.read())
        return levels


@pytest.fixture
def product():
    return address_product(150, 133)


def place(suffix):
    return "" if suffix == ".tif" else "/zarr.json"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bytes_are_those_of_a_disk(tmp_path, bucket, contents_of, suffix):
    """With a hole, so that some shards have no objects."""
    product = address_product(300, 270)
    pixels = address_pixels(product.extent)
    pixels[:, :130, :130] = 0
    write_product(open_sink(tmp_path / f"a{suffix}", product), pixels)
    write_product(open_sink(f"s3://{bucket}/deep in/a{suffix}", product), pixels)
    local = {file.relative_to(tmp_path).as_posix(): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert contents_of("deep in/") == local


def test_gdal_reads_the_cog_by_itself(bucket, s3_url, product):
    write_product(open_sink(f"s3://{bucket}/a.tif", product))
    access = {"AWS_S3_ENDPOINT": s3_url.removeprefix("http://"), "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
    with (
        rasterio.Env(session=rasterio.session.DummySession(), **access),
        rasterio.open(f"/vsis3/{bucket}/a.tif") as tiff,
    ):
        np.testing.assert_array_equal(tiff.read(), address_pixels(product.extent))
        assert tiff.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert tiff.overviews(1) == [2, 4, 8, 15]


def test_xarray_reads_the_zarr_store_by_itself(bucket, s3_url, product):
    write_product(open_sink(f"s3://{bucket}/a.zarr", product))
    options = {"endpoint": s3_url, "client_options": {"allow_http": True}}
    store = ObjectStore(obstore.store.S3Store(bucket, prefix="a.zarr", **options), read_only=True)
    with xr.open_zarr(store, chunks=None) as dataset:
        np.testing.assert_array_equal(dataset.image, address_pixels(product.extent))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_described_and_shown_as_on_a_disk(tmp_path, bucket, suffix, product):
    shown = []
    for number, where in enumerate((f"s3://{bucket}/a{suffix}", tmp_path / f"a{suffix}")):
        write_product(open_sink(where, product))
        save_preview(where, tmp_path / f"{number}.png")
        shown.append((describe_product(where), (tmp_path / f"{number}.png").read_bytes()))
    assert shown[0] == shown[1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_what_was_begun_can_be_resumed(bucket, suffix, product):
    url = f"s3://{bucket}/a{suffix}"
    with pytest.raises(OutputError, match=f"There is nothing to resume at {url}"):
        require_unfinished(url)
    open_sink(url, product).begin(overwrite=False)
    require_unfinished(url)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_there_or_is_something_else_cannot_be_described(bucket, s3, suffix):
    with pytest.raises(TilegenError, match=r"is not there|is not a Zarr store that tilegen wrote"):
        describe_product(f"s3://{bucket}/a{suffix}")
    s3.put_object(Bucket=bucket, Key=f"a{suffix}{place(suffix)}", Body=b"thesis")
    with pytest.raises(TilegenError, match=r"is neither a GeoTIFF nor a Zarr store of tilegen|is not a Zarr store"):
        describe_product(f"s3://{bucket}/a{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_resuming_lists_instead_of_asking_for_each_shard(bucket, s3_url, environment, suffix):
    product = address_product(400, 400)
    sink = open_sink(f"s3://{bucket}/a{suffix}", product)
    sink.begin(overwrite=False)
    write_shards(sink, address_pixels(product.extent), product.shard_indices)
    with BrokenWay(server=s3_url).open() as way:
        environment(AWS_ENDPOINT_URL=way.url)
        assert sink.begin(overwrite=False) == set(product.shard_indices)
        assert len(way.seen) < 10


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_shard_whose_objects_changed_is_done_again(bucket, s3, suffix, change, product):
    url = f"s3://{bucket}/a{suffix}"
    sink, pixels = open_sink(url, product), address_pixels(product.extent)
    sink.begin(overwrite=False)
    write_shards(sink, pixels, product.shard_indices)
    key = "a.tif.partial/parts/shard-1-0.part" if suffix == ".tif" else "a.zarr/ovr_2x/image/c/0/1/0"
    if change == "deleted":
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        size = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        s3.put_object(Bucket=bucket, Key=key, Body=bytes(size))
    with pytest.raises(OutputError, match=r"1 of 9 shards are missing, the first is \(1, 0\)"):
        sink.finish()
    assert sink.begin(overwrite=False) == set(product.shard_indices) - {(1, 0)}


@pytest.mark.parametrize(
    ("suffix", "key"),
    [
        *(
            (suffix, key)
            for suffix in SUFFIXES
            for key in ("a{}", "a{}.partial/thesis.txt", "a{}.partial/manifest.json")
        ),
        (".zarr", "a{}/thesis.txt"),
        (".zarr", "a{}/zarr.json"),
    ],
)
def test_what_tilegen_did_not_make_is_never_deleted(bucket, s3, contents_of, suffix, key, product):
    s3.put_object(Bucket=bucket, Key=key.format(suffix), Body=b"precious")
    with pytest.raises(OutputError, match=r"was not made by tilegen|It will not be overwritten"):
        open_sink(f"s3://{bucket}/a{suffix}", product).begin(overwrite=True)
    assert contents_of() == {key.format(suffix): b"precious"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_appears_meanwhile_is_kept(bucket, s3, contents_of, suffix, product):
    sink = open_sink(f"s3://{bucket}/a{suffix}", product)
    sink.begin(overwrite=False)
    write_shards(sink, address_pixels(product.extent), product.shard_indices)
    s3.put_object(Bucket=bucket, Key=f"a{suffix}{place(suffix)}", Body=b"somebody was faster")
    with pytest.raises(OutputError, match="exists"):
        sink.finish()
    assert contents_of()[f"a{suffix}{place(suffix)}"] == b"somebody was faster"


def test_the_old_cog_stays_until_the_new_one_is_complete(bucket, contents_of, product):
    write_product(open_sink(f"s3://{bucket}/a.tif", product))
    before = contents_of()["a.tif"]
    newer = open_sink(f"s3://{bucket}/a.tif", address_product(150, 133, provenance={"seed": 8}))
    newer.begin(overwrite=True)
    write_shards(newer, address_pixels(product.extent), product.shard_indices)
    assert contents_of()["a.tif"] == before
    newer.finish()
    assert list(contents_of()) == ["a.tif"]
    assert contents_of()["a.tif"] != before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_product_of_another_run_is_not_written_to(bucket, suffix, product):
    """A worker that was cut off wakes up, and somebody has begun another product in its place."""
    late = open_sink(f"s3://{bucket}/a{suffix}", product)
    late.begin(overwrite=False)
    open_sink(f"s3://{bucket}/a{suffix}", address_product(150, 133, provenance={"seed": 8})).begin(overwrite=True)
    with pytest.raises(OutputError, match="belongs to another run"):
        write_shards(late, address_pixels(product.extent), [(0, 0)])
