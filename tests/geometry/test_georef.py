"""From pixels to the ground and back."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import CRS

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window

UTM = GeoReference(crs="EPSG:32611", res=0.3)
DEGREES = GeoReference(crs="EPSG:4326", res=1e-5)


@given(row=st.integers(-(2**31), 2**31), col=st.integers(-(2**31), 2**31), res=st.sampled_from([0.3, 0.5, 1.0, 30.0]))
@example(row=2**40, col=-(2**40), res=0.3)
def test_a_corner_comes_back_to_its_pixel(row: int, col: int, res: float) -> None:
    georef = GeoReference(crs="EPSG:3857", res=res)
    window = Window.from_size(3, 5, row0=row, col0=col)
    assert georef.pixel(*(georef.transform(window) @ (0, 0))) == (row, col)
    xmin, ymin, xmax, ymax = georef.bounds(window)
    assert georef.pixel(xmin, ymax) == (row, col)
    assert georef.pixel(xmax, ymin) == (row + 3, col + 5)


def test_rows_run_south_and_columns_east() -> None:
    window = Window(row0=-20, row1=-10, col0=4, col1=10)
    assert GeoReference(crs="EPSG:32611", res=0.5).bounds(window) == (2.0, 5.0, 5.0, 10.0)
    assert tuple(UTM.transform(window))[:6] == (0.3, 0.0, 4 * 0.3, 0.0, -0.3, 20 * 0.3)


def test_windows_share_one_grid() -> None:
    """The same ground coordinate is the same pixel, whatever extent is rendered."""
    outer, inner = Window.from_size(100, 100, row0=-50, col0=7), Window.from_size(3, 3, row0=-20, col0=40)
    rows, cols = inner.within(outer)
    x, y = UTM.transform(outer) @ (cols.start, rows.start)
    assert UTM.transform(inner) @ (0, 0) == pytest.approx((x, y), abs=1e-9)


@pytest.mark.parametrize("crs", ["EPSG:4326", "urn:ogc:def:crs:EPSG::32611", "OGC:CRS84", CRS("EPSG:3857").to_wkt()])
def test_a_crs_may_be_spelled_in_many_ways(crs: str) -> None:
    assert CRS(GeoReference(crs=crs, res=1.0).wkt) == CRS(crs)


@pytest.mark.parametrize("crs", ["EPSG:999999", "", "mars", "EPSG:32611; rm -rf", "PROJCS[", "\0"])
def test_an_unknown_crs_is_refused_in_one_sentence(crs: str) -> None:
    with pytest.raises(InputError, match=r"^Unknown CRS .*\. Give an EPSG code such as EPSG:32611"):
        GeoReference(crs=crs, res=1.0)


@pytest.mark.parametrize("res", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_pixel_needs_a_size(res: float) -> None:
    with pytest.raises(InputError, match="--res must be a positive number"):
        GeoReference(crs="EPSG:32611", res=res)


def test_units_are_those_of_the_crs() -> None:
    feet = GeoReference(crs="EPSG:2263", res=1.0)  # New York Long Island, US survey feet
    assert (UTM.unit, UTM.unit_m, UTM.is_geographic) == ("metre", 1.0, False)
    assert feet.unit == "US survey foot"
    assert feet.unit_m == pytest.approx(0.3048006)
    assert (DEGREES.unit, DEGREES.is_geographic) == ("degree", True)
    assert DEGREES.unit_m == pytest.approx(40_030_230 / 360, rel=1e-5)


@pytest.mark.parametrize(
    "window", [Window.from_size(10, 10), Window.from_size(1, 1, row0=-9_000_000, col0=-18_000_000)]
)
def test_a_window_on_the_globe_is_fine(window: Window) -> None:
    DEGREES.check_on_earth(window)


@pytest.mark.parametrize(("row0", "col0"), [(-9_000_002, 0), (9_000_000, 0), (0, 18_000_000), (0, -18_000_002)])
def test_a_window_off_the_globe_is_refused(row0: int, col0: int) -> None:
    window = Window.from_size(1, 1, row0=row0, col0=col0)
    with pytest.raises(InputError, match="not on the globe"):
        DEGREES.check_on_earth(window)
    UTM.check_on_earth(window)


@pytest.mark.parametrize(("x", "y"), [(math.nan, 0.0), (0.0, math.inf), (1e300, 0.0), (0.0, -1e18)])
def test_a_coordinate_beyond_the_grid_is_refused(x: float, y: float) -> None:
    with pytest.raises(InputError, match="is not a coordinate on a grid"):
        UTM.pixel(x, y)


@pytest.mark.parametrize("crs", ["EPSG:5773", "EPSG:4978", "EPSG:2048"])  # a vertical, a geocentric, a westing one
def test_a_crs_that_is_no_map_is_refused(crs: str) -> None:
    with pytest.raises(InputError, match=r"is no map of two axes"):
        GeoReference(crs=crs, res=1.0)


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031", "EPSG:4326", "EPSG:2263"])
def test_polar_geographic_and_foot_crs_are_maps(crs: str) -> None:
    assert GeoReference(crs=crs, res=1.0).unit


@given(
    row=st.integers(-(2**31), 2**31),
    col=st.integers(-(2**31), 2**31),
    res=st.sampled_from([0.3, 0.5, 0.1, 30.0, 1e-5, 1 / 3]),
)
def test_the_bounds_of_a_window_are_those_of_no_other(row: int, col: int, res: float) -> None:
    """Rounding of decimals adds no pixel."""
    georef, window = GeoReference(crs="EPSG:3857", res=res), Window.from_size(3, 5, row0=row, col0=col)
    assert georef.window(georef.bounds(window)) == window


def test_pixels_that_bounds_cut_are_inside() -> None:
    georef = GeoReference(crs="EPSG:32611", res=0.5)
    assert georef.window((-0.1, -0.6, 0.5, 0.2)) == Window(row0=-1, row1=2, col0=-1, col1=1)
    assert georef.window((0.1, 0.1, 0.2, 0.2)) == Window(row0=-1, row1=0, col0=0, col1=1)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((1, 0, 0, 1), "wrong way round"),
        ((0, 1, 1, 1), "wrong way round"),
        ((0, 0, 1), "are no bounds"),
        ((0, 0, math.nan, 1), "wrong way round"),
        ((0, 0, math.inf, 1), "wrong way round"),
        ((0, 0, 1e30, 1), "not a coordinate on a grid"),
        ((170, 0, 190, 1), "not on the globe"),
    ],
)
def test_bounds_that_are_none_are_refused(bounds: tuple[float | int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        DEGREES.window(bounds)
