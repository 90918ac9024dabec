"""Every encoding in an object store: the bytes of a disk, resumed, replaced by another, and catalogued."""

import json

import pytest

from tilegen.catalog.item import save_item
from tilegen.testing.sinks import address_pixels, address_product, write_product, write_shards
from tilegen.tiling.preview import describe_product
from tilegen.tiling.sinks import open_sink

ENCODINGS = [
    (".tif", {"compression": "jpeg", "quality": 70}),
    (".tif", {"compression": "lzw", "resampling": "nearest"}),
    (".zarr", {"zarr_format": 2}),
    (".zarr", {"sharded": False}),
    (".zarr", {"zarr_format": 2, "layout": "groups"}),
]
PROVENANCE = {"synthetic": True, "seed": 7, "model_digest": "00ff"}


def named(value):
    return value if isinstance(value, str) else " ".join(map(str, value.values()))


@pytest.fixture
def product():
    return address_product(200, 170, provenance=PROVENANCE)


@pytest.fixture
def pixels(product):
    """With a hole, so that some files are not there."""
    pixels = address_pixels(product.extent)
    pixels[:, :90, :90] = 0
    return pixels


@pytest.mark.parametrize(("suffix", "options"), ENCODINGS, ids=named)
def test_a_resumed_run_ends_with_the_bytes_of_a_disk(tmp_path, bucket, contents_of, product, pixels, suffix, options):
    write_product(open_sink(tmp_path / f"a{suffix}", product, options), pixels)
    local = {file.relative_to(tmp_path).as_posix(): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    url, shards = f"s3://{bucket}/in/a{suffix}", product.shard_indices
    first = open_sink(url, product, options)
    first.begin(overwrite=False)
    write_shards(first, pixels, shards[:5])
    second = open_sink(url, product, options)
    assert second.begin(overwrite=False) == set(shards[:5])
    write_shards(second, pixels, shards[5:])
    second.finish()
    assert contents_of("in/") == local


@pytest.mark.parametrize("versions", [(2, 3), (3, 2)])
def test_a_store_of_one_version_makes_way_for_the_other(bucket, contents_of, product, pixels, versions):
    """No metadata of the old one stay, which readers would believe."""
    url = f"s3://{bucket}/a.zarr"
    for version in versions:
        sink = open_sink(url, product, {"zarr_format": version})
        sink.begin(overwrite=True)
        write_shards(sink, pixels, product.shard_indices)
        sink.finish()
    names = {name.rpartition("/")[2] for name in contents_of("a.zarr/")}
    assert ("zarr.json" in names, ".zgroup" in names) == (versions[1] == 3, versions[1] == 2)
    assert describe_product(url)["format"] == f"Zarr v{versions[1]}"


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_an_item_lies_beside_a_product_in_a_bucket(tmp_path, bucket, contents_of, product, monkeypatch, suffix):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for where in (f"s3://{bucket}/in/a{suffix}", tmp_path / f"a{suffix}"):
        write_product(open_sink(where, product))
        save_item(where)
    content = (tmp_path / f"a{suffix}.stac.json").read_bytes()
    assert contents_of("in/")[f"a{suffix}.stac.json"] == content
    assert json.loads(content)["properties"]["tilegen:seed"] == 7
