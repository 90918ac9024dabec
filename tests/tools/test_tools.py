"""Products opened by the tools that people have: all find what tilegen says, where on the ground it says."""

from pathlib import Path

import pytest
from pyproj import CRS

from tests.tools.readers import TIFF_READERS, ZARR_READERS, gdal_pixels, lonlats, missing
from tests.tools.table import STABLE, cells

PAGE = Path(__file__).parents[2] / "docs" / "gis.md"


# rioxarray and odc-geo multiply transforms as affine did before 3.0.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def assert_same(found, expected):
    """All that the tool has a word for is as tilegen says; CRS, transform, size and pixels are never left out."""
    assert CRS(found.crs) == CRS(expected.crs)
    assert found.transform == pytest.approx(expected.transform, rel=1e-12, abs=1e-12)
    assert found.size == expected.size
    assert found.pixels == expected.pixels
    for name in ("overviews", "nodata", "names", "colours"):
        value = getattr(found, name)
        assert value is None or value == getattr(expected, name), name
    if found.statistics is not None:
        for band, wanted in zip(found.statistics, expected.statistics, strict=True):
            assert band == pytest.approx(wanted, rel=1e-3)


def ask(readers, tool, path, points):
    if (reason := missing(tool)) is not None:
        pytest.skip(reason)
    return readers[tool](path, points)


@pytest.mark.parametrize("tool", TIFF_READERS)
def test_a_tool_finds_in_a_geotiff_what_tilegen_wrote(written, tool):
    assert_same(ask(TIFF_READERS, tool, written.tif, written.points), written.expected)


@pytest.mark.parametrize("tool", ZARR_READERS)
def test_a_tool_finds_in_a_zarr_store_what_tilegen_wrote(written, tool):
    assert_same(ask(ZARR_READERS, tool, written.zarr, written.points), written.expected)


def test_gdal_finds_the_pixels_by_longitude_and_latitude(written):
    """Across axis orders: GDAL takes longitude first here, and EPSG:4326 has latitude first."""
    if (reason := missing("GDAL's command line")) is not None:
        pytest.skip(reason)
    found = gdal_pixels(written.tif, lonlats(written.crs, written.points), "-wgs84", 3)
    assert found == written.expected.pixels


@pytest.mark.parametrize(("kind", "readers"), [("COG", TIFF_READERS), ("Zarr", ZARR_READERS)])
def test_the_table_of_the_page_is_what_the_tools_print(written, kind, readers):
    """But for statistics and pixels, which another processor may round differently; the tests above compare those."""
    rows = [row.strip("|").split("|") for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
    printed = [[cell.strip() for cell in row] for row in rows]
    for tool, reader in readers.items():
        if missing(tool) is None:
            path = written.tif if kind == "COG" else written.zarr
            row = cells(f"{tool}, {kind}", reader(path, written.points))
            assert row[:STABLE] in [one[:STABLE] for one in printed]


def test_a_shifted_record_is_seen(written):
    """The comparison itself: half a pixel, another band's name and one code value each make it fail."""
    from dataclasses import replace

    expected = written.expected
    left = expected.transform[2] + written.world.georef.res / 2
    for planted in (
        replace(expected, transform=(*expected.transform[:2], left, *expected.transform[3:])),
        replace(expected, names=("red", "blue", "green")),
        replace(expected, pixels=[(1, 2, 3), *expected.pixels[1:]]),
        replace(expected, nodata=None, overviews=expected.overviews[:-1]),
    ):
        with pytest.raises(AssertionError):
            assert_same(planted, expected)
