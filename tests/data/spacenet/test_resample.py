"""One ground resolution: where pixels land, what they become, and that no-data stays where it is."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from scipy import ndimage

from tilegen.data.chips import Chip, read_chip
from tilegen.data.spacenet.resample import resampled, utm_zone
from tilegen.errors import DataError
from tilegen.testing.chips import textured_pixels, write_image

VEGAS = Affine(2.7e-6, 0, -115.1706, 0, -2.7e-6, 36.2406)
ROTTERDAM = Affine(0.5, 0, 593270.0, 0, -0.5, 5747657.5)


def chip(pixels: np.ndarray, crs: str | None, transform: Affine | None, valid: np.ndarray | None = None) -> Chip:
    valid = np.ones(pixels.shape[1:], bool) if valid is None else valid
    return Chip(name="a", pixels=pixels, valid=valid, crs=crs, transform=transform)


def centres(shape: tuple[int, ...], transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels' centres in the CRS of `transform`."""
    row, col = np.mgrid[: shape[-2], : shape[-1]] + 0.5
    return transform.a * col + transform.b * row + transform.c, transform.d * col + transform.e * row + transform.f


def ramps(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two planes, 20 counts for each metre east and 30 for each metre south of a place of Vegas."""
    return np.stack([1000 + 20 * (x - 664450.0), 1000 - 30 * (y - 4012140.0)])


@pytest.mark.parametrize("res_m", [0.2, 0.3, 0.5, 1.3])
def test_ground_lands_where_it_is(res_m: float) -> None:
    """Ramps in metres, drawn in degrees: after resampling a pixel has the value of its centre."""
    to_metres = Transformer.from_crs("EPSG:4326", "EPSG:32611", always_xy=True)
    x, y = to_metres.transform(*centres((150, 180), VEGAS))
    found = resampled(chip(ramps(x, y).astype(np.float32), "EPSG:4326", VEGAS), res_m)
    assert found.crs == "EPSG:32611"
    assert found.res == (res_m, res_m)
    inner = ndimage.binary_erosion(found.valid, iterations=5)  # at the rim, kernels are cut off
    away = np.abs(found.pixels - ramps(*centres(found.valid.shape, found.transform)))[:, inner]
    assert inner.sum() > 0.4 * inner.size
    assert away.max() < 30 * 0.3 / 8  # GDAL approximates the projection to an eighth of a source pixel, 0.3 m


@pytest.mark.parametrize("res_m", [0.3, 0.5, 0.7])
def test_all_chips_lie_on_one_grid(res_m: float) -> None:
    for shift in range(3):
        there = Affine(2.7e-6, 0, -115.1706 + shift * 1.234e-4, 0, -2.7e-6, 36.2406 - shift * 2.1e-4)
        t = resampled(chip(textured_pixels(80, 70), "EPSG:4326", there), res_m).transform
        assert (t.a, t.b, t.d, t.e) == (res_m, 0, 0, -res_m)
        assert np.array([t.c, t.f]) / res_m == pytest.approx(np.rint([t.c / res_m, t.f / res_m]), abs=1e-6)


def test_a_chip_on_the_grid_is_kept_bit_for_bit() -> None:
    pixels = textured_pixels(60, 50, dtype="uint16", high=2000)
    found = resampled(chip(pixels, "EPSG:32631", ROTTERDAM), 0.5)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.transform == ROTTERDAM


def test_a_chip_beside_the_grid_moves_to_it() -> None:
    """SpaceNet 6 has pixels of 0.49999 m whose corners are anywhere."""
    pixels = textured_pixels(60, 50, dtype="uint16", high=2000)
    found = resampled(chip(pixels, "EPSG:32631", Affine(0.49999, 0, 593270.29, 0, -0.49999, 5747657.42)), 0.5)
    assert found.transform == Affine(0.5, 0, 593270.0, 0, -0.5, 5747657.5)
    x, y = (593270.29, 5747657.42)
    cubic = found.pixels[:, 20, 20].astype(float)
    col, row = (593280.25 - x) / 0.49999 - 0.5, (y - 5747647.25) / 0.49999 - 0.5
    near = pixels[:, int(row) : int(row) + 2, int(col) : int(col) + 2].astype(float)
    assert (near.min(axis=(1, 2)) - 40 <= cubic).all()
    assert (cubic <= near.max(axis=(1, 2)) + 40).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_shrinking_averages_what_is_under_a_pixel(dtype: str) -> None:
    pixels = textured_pixels(120, 90, dtype=dtype)
    found = resampled(chip(pixels, "EPSG:32631", ROTTERDAM), 1.5)
    rows, cols = found.valid.shape
    row0, col0 = round((found.transform.f - ROTTERDAM.f) / 0.5), round((ROTTERDAM.c - found.transform.c) / 0.5)
    padded = np.full((3, rows * 3, cols * 3), np.nan)
    padded[:, row0 : row0 + 120, col0 : col0 + 90] = pixels
    blocks = padded.reshape(3, rows, 3, cols, 3).mean(axis=(2, 4))
    whole = ~np.isnan(blocks[0])
    assert whole.sum() >= 39 * 29
    assert found.valid[whole].all()
    assert found.pixels.dtype == pixels.dtype
    assert np.abs(found.pixels - blocks)[:, whole].max() <= (1e-3 if dtype == "float32" else 0.51)


@given(
    seed=st.integers(0, 2**32 - 1),
    res_m=st.sampled_from([0.2, 0.31, 0.5, 0.9]),
    in_degrees=st.booleans(),
)
def test_nodata_never_bleeds_into_imagery(seed: int, res_m: float, in_degrees: bool) -> None:
    """Imagery is 1000 all over, no-data 0: a single other value among the valid pixels would be a mixture."""
    rng = np.random.default_rng(seed)
    valid = np.ones((60, 70), bool)
    for _ in range(3):
        row, col, size = rng.integers(60), rng.integers(70), rng.integers(1, 25)
        valid[row : row + size, col : col + size] = False
    row, col = np.mgrid[:60, :70]
    valid &= row < 40 + rng.uniform(-2, 2) * (col - 35)
    if valid.sum() < 400:
        return
    crs, transform = ("EPSG:4326", VEGAS) if in_degrees else ("EPSG:32631", Affine(0.33, 0, 593270.1, 0, -0.33, 57e5))
    pixels = np.where(valid, np.uint16(1000), np.uint16(0))[None]
    try:
        found = resampled(chip(pixels, crs, transform, valid), res_m)
    except DataError:
        return  # so torn that nothing is left
    assert set(np.unique(found.pixels[:, found.valid])) == {1000}
    assert not found.pixels[:, ~found.valid].any()


def test_little_is_lost_around_nodata(tmp_path: Path) -> None:
    """An untagged black wedge is found before the warp; of the rest, a rim of a few pixels goes."""
    pixels = textured_pixels(200, 200, dtype="uint16", low=200, high=2000)
    row, col = np.mgrid[:200, :200]
    pixels[:, row + col < 150] = 0
    path = write_image(tmp_path / "a.tif", pixels, crs="EPSG:4326", transform=VEGAS)
    read = read_chip(path, name="a")
    found = resampled(read, 0.3)
    metres = found.valid.sum() * 0.3**2
    ground = read.valid.sum() * 0.2427 * 0.2996  # of 2.7e-6 degrees at 36.24 degrees north
    assert 0.94 * ground < metres < ground


def test_rows_that_go_north_show_the_same_ground() -> None:
    """In degrees, where GDAL refuses bounds whose first latitude is the larger one."""
    pixels = textured_pixels(80, 90)
    north_up = resampled(chip(pixels, "EPSG:4326", VEGAS), 0.5)
    flipped = VEGAS @ Affine(1, 0, 0, 0, -1, 80)
    south_up = resampled(chip(np.ascontiguousarray(pixels[:, ::-1]), "EPSG:4326", flipped), 0.5)
    assert south_up.transform == north_up.transform
    inner = ndimage.binary_erosion(north_up.valid & south_up.valid, iterations=2)
    assert inner.mean() > 0.5
    np.testing.assert_allclose(south_up.pixels[:, inner], north_up.pixels[:, inner].astype(int), atol=2)


def test_a_chip_of_web_mercator_goes_to_its_utm_zone() -> None:
    """SpaceNet 7: 4.777 m of the map are 3.9 m on the ground at 35.6 degrees north."""
    mosaic = Affine(4.777, 0, -13_560_000.0, 0, -4.777, 4_250_000.0)
    found = resampled(chip(textured_pixels(64, 64), "EPSG:3857", mosaic), 4.0)
    assert found.crs == "EPSG:32610"
    assert found.valid.sum() * 16 == pytest.approx((64 * 4.777 * np.cos(np.radians(35.63))) ** 2, rel=0.03)


@pytest.mark.parametrize(
    ("crs", "place", "zone"),
    [
        ("EPSG:4326", (-115.17, 36.24), "EPSG:32611"),
        ("EPSG:4326", (-43.68, -22.95), "EPSG:32723"),
        ("EPSG:4326", (180.0, 0.0), "EPSG:32660"),
        ("EPSG:25832", (500000.0, 5500000.0), "EPSG:25832"),
        ("EPSG:32616", (733601.0, 3725139.0), "EPSG:32616"),
    ],
)
def test_the_zone_holds_the_place(crs: str, place: tuple[float, float], zone: str) -> None:
    assert utm_zone(crs, *place) == zone


@pytest.mark.parametrize(
    ("crs", "transform", "why"),
    [
        (None, VEGAS, "has no georeference"),
        ("EPSG:4326", None, "has no georeference"),
        ("EPSG:4326", Affine(2.7e-6, 0, 0, 0, -2.7e-6, 89.0), "no UTM zone"),
        ("nonsense", VEGAS, "its georeference cannot be used"),
        ('LOCAL_CS["plan",UNIT["metre",1]]', ROTTERDAM, "its georeference cannot be used"),
        ("EPSG:32631", Affine(0.5, 0, 1e9, 0, -0.5, 1e9), "its georeference cannot be used"),
        ("EPSG:32631", Affine(1e200, 0, 5e5, 0, -0.5, 5e6), "its georeference cannot be used"),
        ("EPSG:4326", Affine(1e307, 0, 5e5, 0, -1e307, 5e6), "its georeference cannot be used"),
        ("EPSG:4326", Affine(1.0, 0, 0, 0, -1.0, 40.0), "would be enlarged"),
        ("EPSG:32631", Affine(0.01, 0, 5e5, 0, -0.01, 5e6), "smaller than the minimum of 16"),
    ],
)
def test_what_has_no_place_or_size_is_refused(crs: str | None, transform: Affine | None, why: str) -> None:
    with pytest.raises(DataError, match=rf"^a: .*{why}.*\.$"):
        resampled(chip(textured_pixels(70, 70), crs, transform), 0.5, min_px=16)
