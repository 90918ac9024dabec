"""What others find in the files of CogSink: rasterio, rio-cogeo, tifffile, GDAL's command line and its validator."""

import json
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate

from tilegen.geometry.georef import GeoReference
from tilegen.testing.sinks import address_pixels, address_product, reference_levels, write_product
from tilegen.tiling.sinks.cog import CogSink
from tilegen.tiling.sinks.encoding import CogEncoding

SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's python3-gdal is installed for this one only

needs_gdal = pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="needs gdal-bin on the PATH")


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def has_validator():
    if shutil.which(SYSTEM_PYTHON) is None:
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", "import osgeo_utils"], capture_output=True, check=False).returncode == 0


def validate(path):
    run(SYSTEM_PYTHON, "-m", "osgeo_utils.samples.validate_cloud_optimized_geotiff", "--full-check=yes", path)


def with_hole(pixels):
    """Nodata in whole tiles, and a rim of it elsewhere."""
    holed = pixels.copy()
    holed[:, :70, :70] = 0
    holed[:, 80:97, 20:51] = 0
    return holed


@pytest.fixture
def product():
    provenance = {"seed": 7, "note": 'a < b & "c" é', "model": {"digest": "00ff"}, "synthetic": True}
    return address_product(150, 133, provenance=provenance)


@pytest.fixture(params=["deflate", "zstd"])
def path(tmp_path, product, request):
    sink = CogSink(path=tmp_path / "x.tif", product=product, encoding=CogEncoding(compression=request.param))
    write_product(sink, with_hole(address_pixels(product.extent)))
    return sink.path


def test_rasterio_finds_pixels_georeference_and_meaning(path, product):
    pixels = with_hole(address_pixels(product.extent))
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert source.crs == CRS.from_epsg(32633)
        assert source.transform == product.georef.transform(product.extent)
        assert tuple(source.bounds) == product.georef.bounds(product.extent)
        assert source.nodata == 0
        assert source.descriptions == ("red", "green", "blue")
        assert source.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        assert source.overviews(1) == [2, 4, 8, 15]  # as GDAL rounds them
        assert source.block_shapes == [(16, 16)] * 3
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert source.dataset_mask().tolist() == np.where(pixels.any(axis=0), 255, 0).tolist()


def test_rasterio_finds_the_provenance(path, product):
    with rasterio.open(path) as source:
        tags = source.tags()
    assert tags["AREA_OR_POINT"] == "Area"
    assert tags["synthetic"] == "true"
    assert tags["seed"] == "7"
    assert tags["note"] == product.provenance["note"]
    assert json.loads(tags["model"]) == {"digest": "00ff"}
    assert "not an observation" in tags["TIFFTAG_IMAGEDESCRIPTION"]
    assert tags["TIFFTAG_SOFTWARE"] == "tilegen"


def test_synthetic_is_said_even_if_the_provenance_does_not(tmp_path):
    sink = CogSink(path=tmp_path / "x.tif", product=address_product(20, 20, provenance={}))
    write_product(sink)
    with rasterio.open(sink.path) as source:
        assert source.tags()["synthetic"] == "true"


def test_statistics_are_those_of_the_valid_pixels(path, product):
    pixels = with_hole(address_pixels(product.extent))
    with rasterio.open(path) as source:
        for band, values in enumerate(pixels, start=1):
            valid, tags = values[values > 0], source.tags(band)
            found = [float(tags[f"STATISTICS_{name}"]) for name in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")]
            np.testing.assert_allclose(found, [valid.min(), valid.max(), valid.mean(), valid.std()], rtol=1e-12)
            share = 100 * valid.size / values.size
            assert float(tags["STATISTICS_VALID_PERCENT"]) == pytest.approx(share, rel=1e-12)


def test_rio_cogeo_finds_nothing_wrong(path):
    is_valid, errors, warnings = cog_validate(path, strict=False, quiet=True)
    assert (is_valid, errors) == (True, [])
    assert [text for text in warnings if "compression" not in text] == []


def test_a_tile_of_nothing_takes_no_space(path):
    with tifffile.TiffFile(path) as source:
        assert source.is_bigtiff
        page = source.pages[0]
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        sizes = np.array(page.databytecounts).reshape(10, 9)
        offsets = np.array(page.dataoffsets).reshape(10, 9)
    assert not sizes[:4, :4].any()
    assert not offsets[:4, :4].any()
    assert sizes[6:].all()


def test_the_smallest_level_comes_first_and_each_level_row_by_row(path):
    with tifffile.TiffFile(path) as source:
        pages = list(source.pages)
        spans = []
        for page in pages:
            offsets = [offset for offset in page.dataoffsets if offset]
            assert offsets == sorted(offsets)
            spans.append((offsets[0], offsets[-1]))
    assert all(smaller[1] < larger[0] for larger, smaller in pairwise(spans))


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (("pan",), [ColorInterp.gray]),
        (("nir", "red"), [ColorInterp.gray, ColorInterp.undefined]),
        (
            ("red", "green", "blue", "nir"),
            [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined],
        ),
        (("nir", "red", "green", "blue"), [ColorInterp.gray, *[ColorInterp.undefined] * 3]),
        (("Red", "Green", "Blue"), [ColorInterp.red, ColorInterp.green, ColorInterp.blue]),
        (("nir", "red", "green"), [ColorInterp.gray, *[ColorInterp.undefined] * 2]),
    ],
)
def test_bands_are_named_and_none_becomes_alpha(tmp_path, bands, expected):
    product = replace(address_product(70, 40), band_names=bands)
    pixels = np.resize(address_pixels(product.extent), product.shape)
    sink = CogSink(path=tmp_path / "x.tif", product=product)
    write_product(sink, pixels)
    with rasterio.open(sink.path) as source:
        np.testing.assert_array_equal(source.read(), pixels)
        assert source.descriptions == bands
        assert list(source.colorinterp) == expected


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:2056", "OGC:CRS84", "+proj=laea +lat_0=10 +lon_0=-81"])
def test_any_crs_that_geotiff_knows_comes_back(tmp_path, crs):
    product = replace(address_product(20, 20), georef=GeoReference(crs=crs, res=1e-4))
    sink = CogSink(path=tmp_path / "x.tif", product=product)
    write_product(sink)
    with rasterio.open(sink.path) as source:
        assert source.crs.to_dict() == CRS.from_user_input(crs).to_dict()
        assert source.transform.almost_equals(product.georef.transform(product.extent), 1e-12)


@needs_gdal
def test_gdalinfo_sees_a_cog(path):
    info = json.loads(run("gdalinfo", "-json", path))
    assert info["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert info["geoTransform"] == [150.0, 0.5, 0.0, 35.0, 0.0, -0.5]
    assert [overview["size"] for overview in info["bands"][0]["overviews"]] == [[67, 75], [34, 38], [17, 19], [9, 10]]
    assert [band["noDataValue"] for band in info["bands"]] == [0, 0, 0]
    assert [band["colorInterpretation"] for band in info["bands"]] == ["Red", "Green", "Blue"]


@needs_gdal
def test_gdal_translate_reads_every_pixel(path, product, tmp_path):
    run("gdal_translate", "-q", "-of", "ENVI", "-co", "INTERLEAVE=BSQ", path, tmp_path / "raw")
    raw = np.fromfile(tmp_path / "raw", np.uint8).reshape(product.shape)
    np.testing.assert_array_equal(raw, with_hole(address_pixels(product.extent)))


@pytest.mark.skipif(not has_validator(), reason="needs python3-gdal for the system's Python")
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 200), (129, 64), (150, 133)])
@pytest.mark.parametrize("compression", ["deflate", "zstd"])
def test_the_validator_reads_every_tile(tmp_path, size, compression):
    sink = CogSink(
        path=tmp_path / "x.tif", product=address_product(*size), encoding=CogEncoding(compression=compression)
    )
    write_product(sink, with_hole(address_pixels(sink.product.extent)) if min(size) > 100 else None)
    validate(sink.path)


COG_DRIVER = "-of COG -co BLOCKSIZE=128 -co OVERVIEW_RESAMPLING=AVERAGE -co OVERVIEWS=IGNORE_EXISTING"


@needs_gdal
def test_overviews_are_those_of_the_cog_driver(tmp_path):
    """Levels and tiles are the same, means within one code value per level. It makes no tiles under 128 px."""
    product = replace(address_product(640, 1024), chunk_px=128, shard_px=256)
    noise = np.random.default_rng(5).integers(1, 256, product.shape, dtype=np.uint8)
    noise[:, 40:390, 30:381] = 0
    sink = CogSink(path=tmp_path / "ours.tif", product=product)
    write_product(sink, noise)
    run("gdal_translate", "-q", *COG_DRIVER.split(), sink.path, tmp_path / "gdal.tif")
    for number, level in enumerate(reference_levels(noise, product.num_levels)[1:]):
        with (
            rasterio.open(sink.path, overview_level=number) as ours,
            rasterio.open(tmp_path / "gdal.tif", overview_level=number) as theirs,
        ):
            assert (ours.block_shapes, ours.shape) == (theirs.block_shapes, theirs.shape)
            np.testing.assert_array_equal(ours.read(), level)
            assert np.abs(ours.read().astype(int) - theirs.read()).max() <= 1 + number
            np.testing.assert_array_equal(ours.read() == 0, theirs.read() == 0)
