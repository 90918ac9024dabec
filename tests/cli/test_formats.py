"""The options of storage, the STAC item and `tilegen info`, from the command line to the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import zarr
from PIL import Image

from tilegen.testing.checkpoints import NANO, save_random_checkpoint
from tilegen.world import open_world


@pytest.fixture
def generate(run, model, scheduler, folder):
    def generated(out, *words):
        result = run(
            "generate", out, "--size", "200x150", "--model", model, "--scheduler", scheduler, "--chunk", 64,
            "--shard", 128, "--device", "cpu", "--quiet", *words,
        )  # fmt: skip
        assert (result.exit_code, result.stderr) == (0, "")
        return folder / out

    return generated


@pytest.mark.cluster
def test_a_picture_is_generated_described_verified_and_catalogued(generate, run, model, folder):
    path = generate("a.tif", "--compress", "JPEG", "--quality", 90, "--stac", "--preview", "a.png")
    assert sorted(entry.name for entry in folder.iterdir()) == ["a.png", "a.tif", "a.tif.stac.json"]
    item = json.loads((folder / "a.tif.stac.json").read_text())
    assert item["assets"]["preview"]["href"] == "./a.png"
    said = json.loads(run("info", path, "--json").stdout)
    assert (said["compression"], said["provenance"]["QUALITY"]) == ("JPEG", "90")
    assert said["opens_in"].startswith("any reader of GeoTIFF")
    verified = run("verify", path, "--all", "--model", model, "--quiet")
    assert verified.exit_code == 0
    assert verified.stdout == "a.tif: 12 tiles are identical after jpeg, which loses a little (12 in all).\n".replace(
        "a.tif", str(path)
    )


@pytest.mark.cluster
def test_a_lossy_product_that_was_altered_is_found_out(generate, run, model, folder):
    path = generate("a.tif", "--compress", "jpeg")
    with rasterio.open(path) as tiff:
        start, size = (int(tiff.get_tag_item(f"BLOCK_{what}_1_1", "TIFF", 1)) for what in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[start + size // 2] ^= 0x55
    path.write_bytes(content)
    verified = run("verify", path, "--all", "--model", model, "--quiet")
    assert verified.exit_code == 1
    assert "1 of 12 tiles differ" in verified.stdout
    assert "rows 64 to 127, columns 64 to 127" in verified.stdout


@pytest.mark.cluster
def test_a_store_of_version_2_is_generated_verified_and_described(generate, run, model):
    path = generate("a.zarr", "--zarr-format", 2, "--zarr-layout", "groups", "--level", 3, "--resampling", "nearest")
    root = zarr.open_group(path, mode="r")
    assert (root.metadata.zarr_format, root["0/image"].shards) == (2, None)
    said = json.loads(run("info", path, "--json").stdout)
    assert said["levels"] == ["0/image", "1/image", "2/image"]
    assert "xarray.open_zarr(PATH, group='0')" in said["opens_in"]["xarray"]
    assert run("verify", path, "--all", "--model", model, "--quiet").exit_code == 0
    assert run("stac", path).stdout == f"{path}.stac.json\n"
    assert "exists" in run("stac", path).stderr
    assert run("stac", path, "--overwrite").exit_code == 0


@pytest.mark.cluster
@pytest.mark.parametrize("out", ["a.tif", "a.zarr"])
def test_a_model_of_four_bands_of_16_bits_makes_products_of_them(run, scheduler, folder, out):
    """The card says what pixels are; the product, its preview, its item and `verify` follow."""
    config = replace(NANO, band_names=("red", "green", "blue", "nir"))
    pixels = {"dtype": "uint16", "scales": [1e-4, 1e-4, 1e-4, 2e-4], "offsets": [0.0, 0.0, 0.0, -0.1]}
    save_random_checkpoint(folder / "deep.safetensors", config, about={"pixels": pixels})
    words = ["--size", "200x150", "--model", "deep.safetensors", "--chunk", 64, "--shard", 128, "--device", "cpu"]
    beside = ["--preview", "a.png", "--stac", "--quiet", "--scheduler", scheduler]
    assert run("generate", out, *words, *beside).exit_code == 0
    world = open_world("deep.safetensors", device="cpu")
    expected = world.read(world.window_at(0.0, 0.0, 150, 200))
    assert (expected.dtype, expected.shape) == (np.uint16, (4, 150, 200))
    assert len(np.unique(expected)) > 1000
    if out.endswith(".tif"):
        with rasterio.open(out) as tiff:
            found = tiff.read()
            assert (list(tiff.scales), list(tiff.offsets)) == (pixels["scales"], pixels["offsets"])
    else:
        found = zarr.open_array(out, path="image", mode="r")[...]
    np.testing.assert_array_equal(found, expected)
    item = json.loads((folder / f"{out}.stac.json").read_text())
    assert [band["raster:scale"] for band in item["assets"]["data"]["bands"]] == pixels["scales"]
    with Image.open("a.png") as image:
        assert (image.mode, image.size) == ("RGB", (200, 150))
        assert np.asarray(image).std() > 10
    assert run("verify", out, "--all", "--model", "deep.safetensors", "--quiet").exit_code == 0
    np.testing.assert_array_equal(world.to_xarray(world.window_at(0.0, 0.0, 150, 200)).values, expected)


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("a.tif", ["--zarr-format", 2], "--zarr-format is an option of a .zarr. Leave it out."),
        ("a.zarr", ["--compress", "jpeg"], "--compress is an option of a .tif"),
        ("a.tif", ["--compress", "lzw", "--level", 3], "lzw has none."),
    ],
)
def test_options_of_the_other_format_are_refused(refused, model, out, options, said):
    assert said in refused("generate", out, "--size", "100x80", "--model", model, "--device", "cpu", *options)


def test_an_item_that_exists_is_kept(refused, model, folder):
    (folder / "a.tif.stac.json").write_text("my thesis")
    words = ["--size", "100x80", "--model", model, "--device", "cpu", "--workers", 1, "--stac"]
    assert "a.tif.stac.json exists" in refused("generate", "a.tif", *words)
