"""`tilegen info`: what every kind of file says of itself, and one sentence for what is none of them."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import zarr
from PIL import Image

from tilegen.data.prepare import prepare_dataset
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.testing.sinks import address_product, write_product
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world


@pytest.fixture(params=["a.tif", "a.zarr"])
def product(request, folder):
    path = folder / request.param
    write_product(open_sink(path, address_product(150, 133)))
    return path


@pytest.fixture
def dataset(folder):
    for number in range(3):
        write_image(folder / "chips" / f"{number}.png", textured_pixels(64, 64, seed=number))
    prepare_dataset([folder / "chips"], folder / "data.safetensors", licence="CC0", val_fraction=0.34)
    return folder / "data.safetensors"


def described(run, *words) -> dict:
    result = run("info", *words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_a_product_says_where_it_lies_and_what_made_it(run, product):
    result = run("info", product)
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("format: ", "size: 133x150", "32633", "seed: 7", "00ff"):
        assert words in result.stdout
    assert described(run, product)["size"] == "133x150"


def test_a_cog_lists_its_overviews(run, folder):
    write_product(open_sink(folder / "a.tif", address_product(150, 133)))
    found = described(run, "a.tif")
    assert (found["format"], len(found["overviews"]), found["nodata"]) == ("COG", 4, 0)
    assert (found["crs"], found["res"], found["bands"]) == ("EPSG:32633", [0.5, 0.5], ["red", "green", "blue"])
    assert found["bounds"] == [150.0, -40.0, 216.5, 35.0]
    assert found["provenance"]["synthetic"] == "true"


def test_a_zarr_store_lists_its_levels(run, folder):
    write_product(open_sink(folder / "a.zarr", address_product(150, 133)))
    found = described(run, "a.zarr")
    levels = ["image", *(f"ovr_{factor}x/image" for factor in (2, 4, 8, 16))]
    assert (found["format"], found["levels"]) == ("Zarr v3", levels)
    assert "3.13 or newer" in found["opens_in"]["GDAL"]
    assert (found["chunks"], found["shards"]) == ([3, 16, 16], [3, 64, 64])
    assert found["attributes"]["synthetic"] is True


def test_the_default_model_is_described_without_a_path(run):
    found = described(run)
    assert len(found["digest"]) == 64
    assert found["architecture"]["channels"]
    assert "architecture:\n  channels: " in run("info").stdout


def test_a_checkpoint_and_the_run_it_comes_from_are_described(run, model, folder):
    assert described(run, model)["architecture"]["channels"] == [32, 32, 16, 16]
    (folder / "run").mkdir()
    shutil.copy(model, folder / "run" / "model.safetensors")
    assert described(run, "run") == described(run, model)


def test_a_dataset_counts_its_chips(run, dataset):
    said = run("info", dataset).stdout
    assert "chips:\n  train: 2\n  val: 1\n" in said
    assert "licence: CC0" in said
    assert "rejects: 0" in said
    assert [chip["shape"] for chip in described(run, dataset)["chips"]] == [[3, 64, 64]] * 3


def test_an_image_of_nowhere_is_described_too(run, folder):
    write_image(folder / "a.tif", textured_pixels(5, 7))
    found = described(run, "a.tif")
    assert (found["size"], found["crs"]) == ("7x5", None)


# What is none of them


def test_a_path_that_is_not_there_is_refused(refused):
    assert "'missing.tif' does not exist" in refused("info", "missing.tif", exit_code=2)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr", "a.txt", "a"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"II*\0\xff\xff\xff\xff", pickle.dumps({"size": "5x5"})])
def test_garbage_is_refused(refused, folder, name, content):
    (folder / name).write_bytes(content)
    assert refused("info", name) == f"{name} is neither a GeoTIFF nor a Zarr store of tilegen."


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"])
def test_garbage_named_as_a_checkpoint_is_refused(refused, folder, content):
    (folder / "a.safetensors").write_bytes(content)
    assert refused("info", "a.safetensors").startswith("a.safetensors ")


def test_a_picture_is_no_product(refused, folder):
    Image.fromarray(np.full((5, 7, 3), 9, np.uint8)).save(folder / "a.png")
    assert refused("info", "a.png") == "a.png is neither a GeoTIFF nor a Zarr store of tilegen."


def test_a_folder_that_is_no_store_is_refused(refused, folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").touch()
    assert refused("info", "photos") == "photos is not a Zarr store that tilegen wrote."


@pytest.mark.parametrize("kind", ["an empty group", "a group in the image's place", "an array", "broken", "version 2"])
def test_a_store_of_another_program_is_refused(refused, folder, kind):
    path = folder / "a.zarr"
    match kind:
        case "an empty group":
            zarr.create_group(path)
        case "a group in the image's place":
            zarr.create_group(path).create_group("image")
        case "an array":
            zarr.create_array(path, shape=(3, 4), dtype="uint8")
        case "broken":
            path.mkdir()
            (path / "zarr.json").write_text("{")
        case "version 2":
            zarr.create_group(path, zarr_format=2).create_array("image", shape=(4,), dtype="uint8")
    assert refused("info", "a.zarr") == "a.zarr is not a Zarr store that tilegen wrote."


def test_a_truncated_product_is_refused(refused, folder):
    path = folder / "a.tif"
    write_product(open_sink(path, address_product(150, 133)))
    path.write_bytes(path.read_bytes()[:150])
    assert refused("info", "a.tif") == "a.tif is neither a GeoTIFF nor a Zarr store of tilegen."


def test_a_truncated_dataset_is_refused(refused, dataset):
    dataset.write_bytes(dataset.read_bytes()[:-10])
    assert "truncated" in refused("info", dataset)


def test_an_unfinished_product_is_refused(refused, folder):
    """It must not look finished."""
    open_sink(folder / "a.tif", address_product(150, 133)).begin(overwrite=False)
    assert "not a Zarr store" in refused("info", "a.tif.partial")


@pytest.mark.parametrize("name", ["pipe.tif", "pipe.safetensors"])
def test_a_pipe_is_refused_and_not_waited_for(run, folder, name):
    os.mkfifo(folder / name)
    result = run("info", name)
    assert (result.exit_code, result.stderr) == (1, f"Error: {name} is neither a file nor a folder.\n")


def test_a_file_of_a_world_says_which(run, model, folder):
    open_world(str(model), seed=7, crs="EPSG:32611", device="cpu").save(folder / "world.json")
    said = described(run, "world.json")
    assert (said["seed"], said["crs"], said["res"]) == (7, "EPSG:32611", 0.5)
    (folder / "other.json").write_text("{}")
    assert run("info", "other.json").stderr.startswith("Error: other.json does not describe a world of tilegen.")
