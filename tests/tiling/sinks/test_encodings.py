"""Every way to store a product, as others read it: GDAL and its validator, rio-cogeo, tifffile, xarray."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers the accessor
import tifffile
import xarray as xr
import zarr
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rio_cogeo import cog_validate

from tilegen.errors import InputError, OutputError
from tilegen.geometry.window import Window
from tilegen.testing.sinks import address_pixels, address_product, write_product, write_shards
from tilegen.tiling.sinks import open_sink

SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's python3-gdal is installed for this one only
LOSSY = [{"compression": "jpeg", "quality": 95}, {"compression": "webp", "quality": 95}]
LOSSLESS = [
    {"compression": "lzw"},
    {"compression": "deflate", "predictor": 1},
    {"compression": "deflate", "level": 9, "resampling": "nearest"},
    {"compression": "webp", "quality": 100},
]
STORES = [
    {},
    {"sharded": False},
    {"zarr_format": 2},
    {"layout": "groups"},
    {"zarr_format": 2, "layout": "groups", "resampling": "nearest"},
]


def named(options):
    return " ".join(map(str, options.values())) or "default"


def validate(path):
    """Every tile, as GDAL's own validator reads them."""
    command = [SYSTEM_PYTHON, "-m", "osgeo_utils.samples.validate_cloud_optimized_geotiff", "--full-check=yes", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def has_validator():
    if shutil.which(SYSTEM_PYTHON) is None:
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", "import osgeo_utils"], capture_output=True, check=False).returncode == 0


def smooth_pixels(product):
    """Slopes, which lossy codecs keep nearly, with nodata in whole shards, in whole tiles, and elsewhere."""
    rows, cols = np.mgrid[0 : product.extent.height, 0 : product.extent.width]
    pixels = np.stack([40 + rows / 2, 60 + cols / 2, 100 + (rows + cols) / 4]).astype(np.uint8)
    pixels[:, :70, :70] = 0
    pixels[:, 80:97, 20:51] = 0
    return pixels


@pytest.fixture
def product():
    return replace(address_product(250, 233), chunk_px=32, shard_px=64)


@pytest.fixture
def write(tmp_path, product):
    """Writes pixels with some options, and gives the path."""

    def written(options, pixels=None, suffix=".tif", **changes):
        path = tmp_path / f"x{suffix}"
        changed = replace(product, **changes)
        write_product(open_sink(path, changed, options), smooth_pixels(changed) if pixels is None else pixels)
        return path

    return written


@pytest.mark.parametrize("options", LOSSY, ids=named)
def test_what_loses_colours_loses_no_pixel(write, product, options):
    """GDAL finds a mask instead of nodata, on every level, and colours that are nearly those that were written."""
    path, pixels = write(options), smooth_pixels(product)
    valid = pixels.any(axis=0)
    inside = valid & np.roll(valid, 8, 0) & np.roll(valid, -8, 0) & np.roll(valid, 8, 1) & np.roll(valid, -8, 1)
    with rasterio.open(path) as source:
        assert source.nodata is None
        assert source.mask_flag_enums == ([MaskFlags.per_dataset],) * 3
        np.testing.assert_array_equal(source.dataset_mask(), np.where(valid, 255, 0))
        assert np.abs(source.read().astype(int) - pixels)[:, inside].max() <= 12
        assert source.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        assert source.tags()["QUALITY"] == "95"
        assert source.tags(1)["STATISTICS_APPROXIMATE"] == "YES"
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    level = valid
    for number in range(product.num_levels - 1):
        rows, cols = level.shape
        level = np.pad(level, ((0, rows % 2), (0, cols % 2)))
        level = level.reshape(-(-rows // 2), 2, -(-cols // 2), 2).any(axis=(1, 3))
        with rasterio.open(path, overview_level=number) as source:
            np.testing.assert_array_equal(source.dataset_mask(), np.where(level, 255, 0))
            colours = source.read()[:, level]
            assert np.abs(colours.mean(axis=1) - pixels[:, valid].mean(axis=1)).max() < 5


@pytest.mark.parametrize("options", [*LOSSY, *LOSSLESS], ids=named)
def test_every_encoding_is_a_valid_cog(write, options):
    path = write(options)
    is_valid, errors, warnings = cog_validate(path, strict=False, quiet=True)
    assert (is_valid, errors) == (True, [])
    assert [text for text in warnings if "compression" not in text] == []
    if has_validator():
        validate(path)


def test_jpeg_is_what_gdal_calls_ycbcr(write):
    """Half the chroma, as in the files of GDAL's own drivers; another reader sees the same colours."""
    path = write(LOSSY[0])
    with rasterio.open(path) as source, tifffile.TiffFile(path) as tiff:
        assert source.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "YCbCr JPEG"
        page = tiff.pages[0]
        assert page.photometric == tifffile.PHOTOMETRIC.YCBCR
        assert page.subsampling == (2, 2)
        difference = page.asarray().transpose(2, 0, 1).astype(int) - source.read()
        assert np.abs(difference).mean() < 0.5  # decoders smooth chroma in their own ways


@pytest.mark.parametrize("options", LOSSLESS, ids=named)
def test_what_loses_nothing_gives_every_pixel_back(write, product, options):
    path, pixels = write(options), smooth_pixels(product)
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert source.nodata == 0
        assert source.tags()["OVERVIEW_RESAMPLING"] == options.get("resampling", "average").upper()


@pytest.mark.skipif(shutil.which("gdal_translate") is None, reason="needs gdal-bin on the PATH")
def test_nearest_takes_the_pixels_that_gdal_takes(write, tmp_path):
    changes = {"extent": Window.from_size(640, 1024), "chunk_px": 128, "shard_px": 256}
    path = write({"resampling": "nearest"}, address_pixels(changes["extent"]), **changes)
    twin = tmp_path / "twin.tif"
    options = "-q -of COG -co BLOCKSIZE=128 -co RESAMPLING=NEAREST -co OVERVIEWS=IGNORE_EXISTING"
    subprocess.run(["gdal_translate", *options.split(), path, twin], check=True)
    for number in range(2):
        with (
            rasterio.open(path, overview_level=number) as ours,
            rasterio.open(twin, overview_level=number) as theirs,
        ):
            np.testing.assert_array_equal(ours.read(), theirs.read())


@pytest.mark.parametrize("options", [{"compression": "jpeg"}, {"compression": "zstd"}], ids=named)
def test_resumed_and_shuffled_runs_end_in_the_same_bytes(tmp_path, product, options):
    pixels, shards = smooth_pixels(product), product.shard_indices
    straight = open_sink(tmp_path / "a.tif", product, options)
    write_product(straight, pixels)
    first = open_sink(tmp_path / "b.tif", product, options)
    first.begin(overwrite=False)
    write_shards(first, pixels, shards[::-2])
    with pytest.raises(OutputError, match="different: options"):
        open_sink(tmp_path / "b.tif", product, {**options, "resampling": "nearest"}).begin(overwrite=False)
    second = open_sink(tmp_path / "b.tif", product, options)
    assert second.begin(overwrite=False) == set(shards[::-2])
    write_shards(second, pixels, [shard for shard in shards if shard not in shards[::-2]])
    second.finish()
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


RADIOMETRY = {"dtype": "uint16", "scales": (1e-4, 2e-4, 1e-4, 1.0), "offsets": (-0.1, 0.0, 0.5, 0.0)}
FOUR_BANDS = {"band_names": ("red", "green", "blue", "nir"), **RADIOMETRY}


@pytest.fixture
def deep(product):
    """Pixels of 16 bits, the largest value included."""
    rows, cols = np.mgrid[0 : product.extent.height, 0 : product.extent.width]
    pixels = np.stack([1 + rows * 200, 1 + cols * 250, 1 + rows * cols, 65535 - rows - cols]).astype(np.uint16)
    pixels[:, :70, :70] = 0
    return pixels


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
def test_four_bands_of_16_bits_come_back_with_their_meaning(write, deep, compression):
    path = write({"compression": compression}, deep, **FOUR_BANDS)
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(), deep)
        assert source.dtypes == ("uint16",) * 4
        assert (source.scales, source.offsets) == (RADIOMETRY["scales"], RADIOMETRY["offsets"])
        assert source.descriptions == FOUR_BANDS["band_names"]
        assert source.colorinterp[3] == ColorInterp.undefined
        for band, values in enumerate(deep, start=1):
            valid, tags = values[values > 0].astype(float), source.tags(band)
            found = [float(tags[f"STATISTICS_{name}"]) for name in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")]
            np.testing.assert_allclose(found, [valid.min(), valid.max(), valid.mean(), valid.std()], rtol=1e-9)
    with rasterio.open(path, overview_level=0) as source:
        blocks = np.pad(deep, ((0, 0), (0, 0), (0, 1))).reshape(4, 125, 2, 117, 2)
        means = np.ma.masked_equal(blocks, 0).mean(axis=(2, 4)).filled(0.0)
        np.testing.assert_array_equal(source.read(), np.floor(means + 0.5))
    if has_validator():
        validate(path)


def test_a_store_of_16_bits_says_what_its_values_mean(write, deep):
    path = write({}, deep, ".zarr", **FOUR_BANDS)
    image = zarr.open_array(path, path="image", mode="r")
    np.testing.assert_array_equal(image[...], deep)
    assert (image.attrs["scales"], image.attrs["offsets"]) == ([1e-4, 2e-4, 1e-4, 1.0], [-0.1, 0.0, 0.5, 0.0])
    alike = write({}, deep, ".b.zarr", **{**FOUR_BANDS, "scales": (1e-4,) * 4, "offsets": (-0.1,) * 4})
    with xr.open_zarr(alike, chunks=None) as dataset:
        np.testing.assert_allclose(dataset.image, deep * 1e-4 - 0.1, rtol=1e-6, atol=1e-6)


# rioxarray 0.19 multiplies transforms as affine did before 3.0.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize("options", STORES, ids=named)
def test_every_store_opens_in_xarray(write, product, options):
    path, pixels = write(options, None, ".zarr"), smooth_pixels(product)
    group = "0" if options.get("layout") == "groups" else None
    with xr.open_zarr(path, group=group, mask_and_scale=False, chunks=None) as dataset:
        np.testing.assert_array_equal(dataset.image, pixels)
        assert dataset.image.dims == ("band", "y", "x")
        assert dataset.image.rio.crs == CRS.from_epsg(32633)
        assert dataset.image.rio.transform() == product.georef.transform(product.extent)
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == options.get("zarr_format", 3)
    assert root.attrs["multiscales"]["resampling_method"] == options.get("resampling", "average")


@pytest.mark.parametrize("layout", ["flat", "groups"])
def test_gdal_of_today_opens_version_2(write, product, layout):
    """What rasterio of Python 3.11 brings, GDAL 3.10, knows no codec of version 3."""
    path = write({"zarr_format": 2, "layout": layout}, None, ".zarr")
    array = "/image" if layout == "flat" else "/0/image"
    with rasterio.open(f'ZARR:"{path}":{array}') as source:
        np.testing.assert_array_equal(source.read(), smooth_pixels(product))
        assert source.crs == CRS.from_epsg(32633)
        assert source.transform == product.georef.transform(product.extent)
        assert source.nodata == 0


def test_groups_are_a_tree(write):
    path = write({"layout": "groups"}, None, ".zarr")
    with xr.open_datatree(path, engine="zarr", chunks=None) as tree:
        assert {"0", "1", "2"} <= set(tree.children)
        assert tree["1/image"].shape[1:] == (125, 117)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("x.tif", {"zarr_format": 2}, "--zarr-format is an option of a .zarr"),
        ("x.tif", {"sharded": False}, "--no-shards is an option of a .zarr"),
        ("x.zarr", {"compression": "lzw"}, "--compress is an option of a .tif"),
        ("x.zarr", {"quality": 80}, "--quality is an option of a .tif"),
        ("x.zarr", {"level": 23}, "levels 1 to 22"),
        ("x.zarr", {"zarr_format": 2, "sharded": True}, "version 2 has no shards"),
        ("x.tif", {"compression": "lzma"}, "'lzma' is not one of deflate"),
        ("x.tif", {"compression": "lzw", "level": 3}, "lzw has none"),
        ("x.tif", {"level": 13}, "deflate does not go so far"),
        ("x.tif", {"quality": 80}, "jpeg and webp have one"),
        ("x.tif", {"compression": "jpeg", "predictor": 2}, "deflate, zstd and lzw have one"),
        ("x.tif", {"resampling": "cubic"}, "'cubic' is not one of average, nearest"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, product, name, options, said):
    with pytest.raises(InputError, match=said):
        open_sink(tmp_path / name, product, options)


@pytest.mark.parametrize("compression", ["jpeg", "webp"])
def test_what_a_picture_cannot_hold_is_refused_before_anything_is_written(tmp_path, product, compression):
    sink = open_sink(tmp_path / "x.tif", replace(product, **FOUR_BANDS), {"compression": compression})
    with pytest.raises(InputError, match=f"{compression} holds .* this product has 4 of uint16"):
        sink.begin(overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "float32"}, "uint8 or uint16, not of float32"),
        ({"scales": (1.0, 2.0)}, "3 bands need as many finite scales and offsets, or none; got 2 and 0"),
        ({"scales": (1.0,) * 3, "offsets": (0.0, 1.0, float("nan"))}, "finite"),
    ],
)
def test_meanings_that_do_not_fit_the_bands_are_refused(product, changes, said):
    with pytest.raises(InputError, match=said):
        replace(product, **changes)
