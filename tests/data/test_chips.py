"""One chip: what is read, which pixels are valid, and what is refused."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rasterio.enums import ColorInterp
from scipy import ndimage

from tilegen.data.chips import read_chip
from tilegen.data.wedges import MARGIN_PX, black_wedges, grown, region_labels
from tilegen.errors import DataError
from tilegen.testing.chips import textured_pixels, write_image

RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]


def below_line(rows: int, cols: int, slope: float, height: float) -> np.ndarray:
    """True below a line: a wedge of no-data as strips leave it."""
    row, col = np.mgrid[:rows, :cols]
    return row > height + slope * col


# What is read


@pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    pixels = textured_pixels(70, 90)
    options = {"LOSSLESS": True} if suffix == ".webp" else {}
    chip = read_chip(write_image(tmp_path / f"a{suffix}", pixels, **options), name="a")
    np.testing.assert_array_equal(chip.pixels, pixels)
    assert chip.valid.all()
    assert (chip.name, chip.crs, chip.res) == ("a", None, None)


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90)
    chip = read_chip(write_image(tmp_path / "a.jpg", pixels, QUALITY=95), name="a")
    assert np.abs(chip.pixels.astype(int) - pixels).mean() < 6


def test_bytes_are_read_like_a_file(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(70, 90))
    np.testing.assert_array_equal(read_chip(path.read_bytes(), name="a").pixels, read_chip(path, name="a").pixels)


@pytest.mark.parametrize(
    ("crs", "pixel"), [("EPSG:4326", (2.7e-6, 2.6e-6)), ("EPSG:32631", (0.5, 0.3))], ids=["degrees", "UTM"]
)
def test_crs_and_pixel_size_are_kept(tmp_path: Path, crs: str, pixel: tuple[float, float]) -> None:
    rows, cols = pixel
    transform = Affine(cols, 0, 4.0, 0, -rows, 50.0)
    chip = read_chip(write_image(tmp_path / "a.tif", textured_pixels(70, 90), crs=crs, transform=transform), name="a")
    assert chip.crs == crs
    assert chip.res == pytest.approx((rows, cols))


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90, high=2047, dtype="uint16")
    chip = read_chip(write_image(tmp_path / "a.tif", pixels), name="a")
    assert chip.pixels.dtype == np.uint16
    np.testing.assert_array_equal(chip.pixels, pixels)


def test_whole_numbers_coded_as_floats_become_sixteen_bits(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90, bands=4, high=2047, dtype="uint16")
    chip = read_chip(write_image(tmp_path / "a.tif", pixels.astype(np.float64)), name="a", num_bands=4)
    assert chip.pixels.dtype == np.uint16
    np.testing.assert_array_equal(chip.pixels, pixels)


def test_reflectances_stay_floats(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90).astype(np.float32) / 255
    chip = read_chip(write_image(tmp_path / "a.tif", pixels), name="a")
    np.testing.assert_array_equal(chip.pixels, pixels)


def test_one_band_is_read_when_asked_for(tmp_path: Path) -> None:
    chip = read_chip(write_image(tmp_path / "a.tif", textured_pixels(70, 90, bands=1)), name="a", num_bands=1)
    assert chip.pixels.shape == (1, 70, 90)


# Which pixels are valid


@pytest.mark.parametrize("nodata", [0, 7, 65535])
def test_tagged_nodata_is_invalid_and_zero(tmp_path: Path, nodata: int) -> None:
    pixels = textured_pixels(70, 90, high=2047, dtype="uint16")
    hole = np.s_[20:30, 40:60]
    pixels[:, *hole] = nodata
    chip = read_chip(write_image(tmp_path / "a.tif", pixels, nodata=nodata), name="a")
    expected = np.ones((70, 90), bool)
    expected[hole] = False
    np.testing.assert_array_equal(chip.valid, expected)
    assert not chip.pixels[:, ~chip.valid].any()


def test_a_pixel_with_nodata_in_one_band_only_is_valid(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90)
    pixels[2, 20:30] = 0  # no blue is a colour
    assert read_chip(write_image(tmp_path / "a.tif", pixels, nodata=0), name="a").valid.all()


def test_nan_as_the_nodata_tag_is_no_error(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90).astype(np.float32)
    pixels[:, :10] = np.nan
    chip = read_chip(write_image(tmp_path / "a.tif", pixels, nodata=np.nan), name="a")
    assert chip.valid.sum() == 60 * 90
    assert chip.pixels.dtype == np.uint16


def test_the_internal_mask_is_used(tmp_path: Path) -> None:
    mask = np.ones((70, 90), bool)
    mask[:, 50:] = False
    chip = read_chip(write_image(tmp_path / "a.tif", textured_pixels(70, 90), mask=mask), name="a")
    np.testing.assert_array_equal(chip.valid, mask)


def test_alpha_is_a_mask_and_no_band(tmp_path: Path) -> None:
    pixels = np.concatenate([textured_pixels(70, 90), np.full((1, 70, 90), 255, np.uint8)])
    pixels[3, :, :20] = 0
    pixels[3, :, 20:25] = 128  # half transparent is half no-data
    chip = read_chip(write_image(tmp_path / "a.tif", pixels, colorinterp=RGBA), name="a")
    assert chip.pixels.shape[0] == 3
    assert chip.valid.sum() == 70 * 65


def test_a_fourth_band_that_is_no_alpha_is_a_band(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(70, 90, bands=4), photometric="minisblack")
    assert read_chip(path, name="a", num_bands=4).pixels.shape[0] == 4
    with pytest.raises(DataError, match="has 4 bands"):
        read_chip(path, name="a", num_bands=3)


@given(
    slope=st.floats(-3, 3),
    height=st.floats(5, 60),
    turns=st.integers(0, 3),
    dtype=st.sampled_from(["uint8", "uint16"]),
)
def test_an_untagged_wedge_is_found(slope: float, height: float, turns: int, dtype: str) -> None:
    wedge = np.rot90(below_line(64, 80, slope, height), turns)
    pixels = textured_pixels(*wedge.shape, dtype=dtype)
    pixels[:, wedge] = 0
    found = black_wedges(pixels, np.ones_like(wedge))
    expected = grown(wedge, MARGIN_PX) if wedge.sum() >= 6 else np.zeros_like(wedge)
    np.testing.assert_array_equal(found, expected)


def test_a_wedge_is_taken_out_of_a_chip(tmp_path: Path) -> None:
    wedge = below_line(70, 90, 0.3, 40)
    pixels = textured_pixels(70, 90)
    pixels[:, wedge] = 0
    chip = read_chip(write_image(tmp_path / "a.tif", pixels), name="a")
    assert not chip.valid[wedge].any()
    assert chip.valid[: 40 - MARGIN_PX].all()


def test_a_gap_between_two_strips_is_found() -> None:
    pixels = textured_pixels(100, 100)
    gap = below_line(100, 100, 0.2, 30) & ~below_line(100, 100, 0.2, 50)
    pixels[:, gap] = 0
    np.testing.assert_array_equal(black_wedges(pixels, np.ones_like(gap)), grown(gap, MARGIN_PX))


@pytest.mark.parametrize(
    ("rows", "cols"),
    [(slice(30, 60), slice(30, 60)), (slice(0, 40), slice(30, 70)), (slice(99, 100), slice(0, 3))],
    ids=["inside", "at one side", "a few pixels at a corner"],
)
def test_black_shadows_stay_valid(rows: slice, cols: slice) -> None:
    pixels = textured_pixels(100, 100)
    pixels[:, rows, cols] = 0
    assert not black_wedges(pixels, np.ones((100, 100), bool)).any()


def test_ragged_shadow_at_a_corner_stays_valid() -> None:
    """One region of 7 % of the chip, from the top to the left side around the corner, as crowns of trees leave it."""
    row, col = np.mgrid[:100, :100]
    crowns = (np.hypot(row - 8, col - 25) < 12) | (np.hypot(row - 12, col - 8) < 10) | (np.hypot(row, col) < 6)
    black = crowns & (np.random.default_rng(0).random((100, 100)) > 0.05)
    black[0, 0] = True
    pixels = textured_pixels(100, 100)
    pixels[:, black] = 0
    assert black.mean() > 0.05
    assert not black_wedges(pixels, np.ones((100, 100), bool)).any()


def test_imagery_that_is_black_in_some_bands_only_is_no_wedge() -> None:
    pixels = textured_pixels(100, 100)
    pixels[:2, 50:] = 0
    assert not black_wedges(pixels, np.ones((100, 100), bool)).any()


@given(mask=arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14)), margin_px=st.integers(0, 3))
def test_regions_and_growth_are_those_of_scipy(mask: np.ndarray, margin_px: int) -> None:
    ours, (theirs, num) = region_labels(mask), ndimage.label(mask)
    assert len(set(zip(ours.flat, theirs.flat, strict=True))) == num + (not mask.all())
    square = np.ones((2 * margin_px + 1,) * 2, bool)
    np.testing.assert_array_equal(grown(mask, margin_px), ndimage.binary_dilation(mask, square))


# What is refused


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    """GDAL by itself reads the missing rest of a PNG as black, without an error."""
    path = write_image(tmp_path / f"a{suffix}", textured_pixels(128, 128))
    whole = path.read_bytes()
    for kept in [*(len(whole) * part // 20 for part in range(20)), len(whole) - 16]:
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"^chip 7: cannot be read"):
            read_chip(path, name="chip 7")


def test_a_jpeg_that_ends_early_but_properly_is_refused(tmp_path: Path) -> None:
    """GDAL by itself fills the missing half with grey, without an error."""
    whole = write_image(tmp_path / "a.jpg", textured_pixels(128, 128)).read_bytes()
    with pytest.raises(DataError, match="truncated"):
        read_chip(whole[: len(whole) // 2] + b"\xff\xd9", name="a")


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd", "webp", "jpeg"])
def test_a_truncated_compressed_geotiff_is_refused(tmp_path: Path, compress: str) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(128, 128), compress=compress)
    whole = path.read_bytes()
    for part in range(1, 20):
        path.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(DataError, match="truncated"):
            read_chip(path, name="a")


@given(seed=st.integers(0, 2**32 - 1), suffix=st.sampled_from([".tif", ".jpg", ".png", ".webp"]))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, suffix: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    path = write_image(folder / f"a{suffix}", textured_pixels(32, 32))
    damaged = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(len(damaged), size=3):
        damaged[place] = rng.integers(256)
    with suppress(DataError):
        assert read_chip(bytes(damaged), name="a").pixels.shape[0] == 3


def test_an_error_does_not_tell_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        read_chip(path, name="vegas/a.tif")
    assert str(tmp_path) not in str(caught.value)


def test_nan_in_a_valid_pixel_is_refused(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90).astype(np.float32)
    pixels[1, 5, 5] = np.nan
    with pytest.raises(DataError, match="a: has NaN"):
        read_chip(write_image(tmp_path / "a.tif", pixels, nodata=-9999), name="a")


def test_nan_in_one_band_only_is_refused_even_if_nan_is_the_tag(tmp_path: Path) -> None:
    pixels = textured_pixels(70, 90).astype(np.float32)
    pixels[1, 5, 5] = np.nan
    with pytest.raises(DataError, match="a: has NaN"):
        read_chip(write_image(tmp_path / "a.tif", pixels, nodata=np.nan), name="a")


@pytest.mark.parametrize(("nodata", "reason"), [(None, "no valid pixel"), (0, "no valid pixel")])
def test_a_black_chip_is_refused(tmp_path: Path, nodata: int | None, reason: str) -> None:
    path = write_image(tmp_path / "a.tif", np.zeros((3, 70, 90), np.uint8), nodata=nodata)
    with pytest.raises(DataError, match=reason):
        read_chip(path, name="a")


def test_a_chip_of_another_number_of_bands_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(70, 90, bands=1))
    with pytest.raises(DataError, match=r"a: has 1 band \(alpha not counted\) where 3 were expected\."):
        read_chip(path, name="a")


def test_a_small_chip_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(63, 90))
    with pytest.raises(DataError, match="63 x 90 pixels, smaller than the minimum of 64"):
        read_chip(path, name="a", min_px=64)


def test_a_header_that_promises_a_huge_raster_is_refused_before_reading(tmp_path: Path) -> None:
    """Sparse: some kilobytes on disk, 10 GB of pixels."""
    path = tmp_path / "a.tif"
    rasterio.open(
        path, "w", driver="GTiff", height=60_000, width=60_000, count=3, dtype="uint8", SPARSE_OK=True, tiled=True,
        crs="EPSG:32631", transform=Affine(1, 0, 9, 0, -1, 9),
    ).close()  # fmt: skip
    with pytest.raises(DataError, match="too large for one chip"):
        read_chip(path, name="a")


def test_a_header_that_claims_many_bytes_is_refused_before_they_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    rasterio.open(
        path, "w", driver="GTiff", height=16384, width=16384, count=3, dtype="float64", SPARSE_OK=True, tiled=True,
        crs="EPSG:32631", transform=Affine(1, 0, 9, 0, -1, 9),
    ).close()  # fmt: skip
    with pytest.raises(DataError, match=r"6\.0 GiB of pixels, too many for one chip"):
        read_chip(path, name="a")


def test_a_palette_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(70, 90, bands=1), photometric="palette")
    with pytest.raises(DataError, match="palette"):
        read_chip(path, name="a", num_bands=1)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", textured_pixels(70, 90).astype(np.complex64))
    with pytest.raises(DataError, match="complex64"):
        read_chip(path, name="a")


def test_a_virtual_raster_is_refused_as_it_could_read_other_files(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.tif", textured_pixels(70, 90))
    source = f"<SimpleSource><SourceFilename>{image}</SourceFilename></SimpleSource>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand>'
    (tmp_path / "b.tif").write_text(f'<VRTDataset rasterXSize="90" rasterYSize="70">{band}</VRTDataset>')
    with pytest.raises(DataError, match="no image"):
        read_chip(tmp_path / "b.tif", name="b", num_bands=1)
