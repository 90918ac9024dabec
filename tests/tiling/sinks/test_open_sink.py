"""The suffix chooses the sink, and nothing heavy is loaded before."""

import pickle
import subprocess
import sys

import pytest

from tilegen.errors import InputError
from tilegen.testing.sinks import address_pixels, address_product, write_shards
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.sinks.protocol import Sink


@pytest.mark.parametrize(("name", "kind"), [("x.tif", "CogSink"), ("x.TIFF", "CogSink"), ("x.zarr", "ZarrSink")])
def test_the_suffix_chooses(tmp_path, name, kind):
    sink = open_sink(tmp_path / name, address_product(20, 20))
    assert type(sink).__name__ == kind
    assert isinstance(sink, Sink)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_meant_for_workers_in_other_folders_too():
    assert open_sink("x.tif", address_product(20, 20)).path.is_absolute()


@pytest.mark.parametrize(("name", "kind"), [("x.tif", "RemoteCogSink"), ("in/x.ZARR/", "RemoteZarrSink")])
def test_an_address_of_an_object_store_is_one(name, kind):
    sink = open_sink(f"s3://bucket/{name}", address_product(20, 20))
    assert type(sink).__name__ == kind
    assert isinstance(sink, Sink)
    assert pickle.loads(pickle.dumps(sink)) == sink


@pytest.mark.parametrize("name", ["x.png", "x", "x.zarr.zip", "gs://bucket/x.zarr", "s3://bucket/x.png"])
def test_anything_else_is_refused_with_what_is_possible(name):
    with pytest.raises(InputError, match=r"Give (a|s3)"):
        open_sink(name, address_product(20, 20))


@pytest.mark.parametrize("name", ["x.tif", "x.zarr"])
def test_a_sink_travels_to_workers(tmp_path, name):
    product = address_product(100, 20)
    sink = open_sink(tmp_path / name, product)
    assert pickle.loads(pickle.dumps(sink)) == sink
    sink.begin(overwrite=False)
    write_shards(pickle.loads(pickle.dumps(sink)), address_pixels(product.extent), product.shard_indices)
    pickle.loads(pickle.dumps(sink)).finish()
    assert sink.path.exists()


def test_choosing_loads_no_format():
    heavy = {"zarr", "rasterio", "imagecodecs", "obstore", "botocore"}
    code = f"import sys, tilegen.tiling.sinks; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
