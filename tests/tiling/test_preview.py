"""Previews of COG and Zarr products, and what a product says of itself; garbage is refused in a sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tilegen.errors import InputError, OutputError
from tilegen.testing.sinks import address_pixels, address_product, reference_levels, write_product
from tilegen.tiling.preview import PREVIEW_PX, checked_preview, describe_product, save_preview
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog import CogSink
from tilegen.tiling.sinks.zarr import ZarrSink

SINKS = {"tif": CogSink, "zarr": ZarrSink}
formats = pytest.mark.parametrize("suffix", SINKS)


def written(folder: Path, suffix: str, product: Product, pixels: np.ndarray | None = None) -> Path:
    path = folder / f"world.{suffix}"
    write_product(SINKS[suffix](path=path, product=product), pixels)
    return path


def preview_of(product: Path) -> np.ndarray:
    """[bands, rows, cols] of the PNG."""
    save_preview(product, product.parent / "preview.png")
    with Image.open(product.parent / "preview.png") as image:
        assert image.mode == "RGB"
        return np.asarray(image).transpose(2, 0, 1)


@formats
def test_a_small_product_is_shown_pixel_by_pixel(tmp_path, suffix):
    product = address_product(70, 133)
    np.testing.assert_array_equal(preview_of(written(tmp_path, suffix, product)), address_pixels(product.extent))


@formats
def test_a_product_that_is_too_large_is_halved(tmp_path, suffix):
    """Rows and columns alike, the odd last row kept; by the first overview or as GDAL would."""
    product = replace(address_product(33, PREVIEW_PX + 2), chunk_px=512, shard_px=1024)
    flat = np.full(product.shape, 90, np.uint8)
    flat[:, :, : product.extent.width // 2] = 200
    found = preview_of(written(tmp_path, suffix, product, flat))
    np.testing.assert_array_equal(found, reference_levels(flat, 2)[1])


@formats
def test_exactly_the_largest_size_is_not_reduced(tmp_path, suffix):
    product = replace(address_product(8, PREVIEW_PX), chunk_px=512, shard_px=1024)
    assert preview_of(written(tmp_path, suffix, product)).shape == (3, 8, PREVIEW_PX)


@formats
@pytest.mark.parametrize(("bands", "shown"), [(("pan",), [0, 0, 0]), (("a", "b"), [0, 0, 0]), ("abcd", [0, 1, 2])])
def test_three_bands_are_shown_or_the_first_as_grey(tmp_path, suffix, bands, shown):
    product = replace(address_product(20, 30), band_names=tuple(bands))
    pixels = np.random.default_rng(0).integers(1, 256, product.shape, dtype=np.uint8)
    np.testing.assert_array_equal(preview_of(written(tmp_path, suffix, product, pixels)), pixels[shown])


def test_a_preview_replaces_what_was_there_and_leaves_nothing_else(tmp_path):
    path = written(tmp_path, "tif", address_product(20, 20))
    (tmp_path / "preview.png").write_bytes(b"old")
    assert preview_of(path).shape == (3, 20, 20)
    assert {entry.name for entry in tmp_path.iterdir()} == {"world.tif", "preview.png"}


# Where a preview may go


def test_no_preview_is_asked_for(tmp_path):
    assert checked_preview(None, overwrite=False) is None


@pytest.mark.parametrize("name", ["a.png", "a.PNG"])
def test_a_new_png_in_a_folder_that_is_there_is_fine(tmp_path, name):
    assert checked_preview(tmp_path / name, overwrite=False) == tmp_path / name


@pytest.mark.parametrize("name", ["a.jpg", "a", "nowhere/a.png"])
def test_anything_else_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"--preview .*: give the name of a \.png file in a folder that exists"):
        checked_preview(tmp_path / name, overwrite=True)


def test_a_preview_that_is_there_is_replaced_only_if_asked(tmp_path):
    png = tmp_path / "a.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\nold")
    with pytest.raises(OutputError, match=r"exists\. Give another name or --overwrite"):
        checked_preview(png, overwrite=False)
    assert checked_preview(png, overwrite=True) == png
    png.write_text("something precious")
    with pytest.raises(OutputError, match=r"is not a PNG\. It will not be overwritten"):
        checked_preview(png, overwrite=True)


# What a product says of itself


def test_a_cog_is_described(tmp_path):
    found = describe_product(written(tmp_path, "tif", address_product(150, 133)))
    assert (found["format"], found["size"], found["bands"]) == ("COG", "133x150", ["red", "green", "blue"])
    assert (found["crs"], found["res"], found["nodata"]) == ("EPSG:32633", [0.5, 0.5], 0)
    assert found["bounds"] == [150.0, -40.0, 216.5, 35.0]
    assert found["provenance"]["synthetic"] == "true"
    assert found["provenance"]["seed"] == "7"


def test_a_zarr_store_is_described(tmp_path):
    found = describe_product(written(tmp_path, "zarr", address_product(150, 133)))
    assert (found["format"], found["size"], found["num_bands"]) == ("Zarr v3", "133x150", 3)
    assert (found["chunks"][1:], found["shards"][1:]) == ([16, 16], [64, 64])
    assert "ovr_2x/image" in found["levels"]
    assert found["attributes"]["synthetic"] is True
    assert found["attributes"]["seed"] == 7


@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG", b"no picture at all" * 100])
def test_a_file_that_is_no_tiff_is_refused(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.tif is neither a GeoTIFF nor a Zarr store of tilegen"):
        describe_product(tmp_path / "x.tif")


def test_a_path_where_nothing_is_is_refused(tmp_path):
    with pytest.raises(InputError, match="is neither a GeoTIFF nor"):
        describe_product(tmp_path / "x.tif")


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b'{"zarr_format": 3, "node_type": "group"}'])
def test_a_folder_that_is_no_store_is_refused(tmp_path, content):
    folder = tmp_path / "x.zarr"
    folder.mkdir()
    if content is not None:
        (folder / "zarr.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.zarr is not a Zarr store that tilegen wrote"):
        describe_product(folder)
