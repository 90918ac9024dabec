"""A polygon with a hole, in two CRS, as a GeoTIFF and as Zarr 2: QGIS shows what is inside, in its place."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.tools.readers import gdal_pixels, lonlats, missing, qgis, rasterio, run
from tilegen.cli.generate import generate
from tilegen.cli.main import main

OUTER = [[-115.1748, 36.1000], [-115.1733, 36.0996], [-115.1728, 36.0984], [-115.1742, 36.0980], [-115.1752, 36.0990]]
HOLE = [[-115.1743, 36.0993], [-115.1736, 36.0992], [-115.1737, 36.0987], [-115.1744, 36.0988]]
INSIDE, IN_THE_HOLE, BESIDE = (-115.1748, 36.0991), (-115.1740, 36.0990), (-115.17515, 36.0999)
RES = {"EPSG:32611": 0.5, "EPSG:4326": 5e-6}
KINDS = {"COG": ("area.tif", "--aoi"), "Zarr 2": ("area.zarr", "--zarr-format")}
OPTIONS = {option for parameter in generate.params for option in parameter.opts}

pytestmark = [
    pytest.mark.skipif("--aoi" not in OPTIONS, reason="this version has no --aoi"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]


def write_aoi(path):
    rings = [[*ring, ring[0]] for ring in (OUTER, HOLE)]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": rings}))


@pytest.fixture(scope="module", params=[(crs, kind) for crs in RES for kind in KINDS], ids=" ".join)
def area(request, model, tmp_path_factory):
    """(CRS, what QGIS is to open) of a product of the AOI."""
    crs, kind = request.param
    name, needed = KINDS[kind]
    if needed not in OPTIONS:
        pytest.skip(f"this version has no {needed}")
    folder = tmp_path_factory.mktemp("aoi")
    write_aoi(folder / "aoi.geojson")
    words = [
        "generate", folder / name, "--aoi", folder / "aoi.geojson", "--crs", crs, "--res", RES[crs], "--model", model,
        "--chunk", 64, "--workers", 1, "--device", "cpu", "--quiet",
        *(["--zarr-format", 2, "--no-shards"] if kind == "Zarr 2" else []),
    ]  # fmt: skip
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return crs, folder / name if kind == "COG" else as_bands(folder / name)


def as_bands(store):
    """The bands of a Zarr 2 store side by side: GDAL 3.6 opens each by itself."""
    if (reason := missing("GDAL's command line")) is not None:
        pytest.skip(reason)
    vrt = store.with_suffix(".vrt")
    run("gdalbuildvrt", "-q", "-separate", vrt, *(f'ZARR:"{store}":/image:{band}' for band in range(3)))
    return vrt


def ground(crs, *places):
    """Longitudes and latitudes as coordinates of `crs`."""
    from pyproj import Transformer

    return [Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(*place) for place in places]


def test_qgis_sees_the_polygon_and_its_hole(area, tmp_path):
    if (reason := missing("QGIS")) is not None:
        pytest.skip(reason)
    crs, path = area
    found = qgis(path, ground(crs, INSIDE, IN_THE_HOLE, BESIDE), tmp_path / "map.png")
    inside, hole, beside = found.pixels
    assert min(inside) > 0
    assert hole == beside == (0, 0, 0)
    assert (found.crs, found.nodata) == (crs, 0)
    assert min(low for low, *_ in found.statistics) >= 1
    picture = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"))
    transparent = (picture == (255, 0, 255)).all(axis=2)  # the map's background
    rows, cols = transparent.shape
    left, top = found.transform[2], found.transform[5]
    width, height = found.size[0] * found.transform[0], -found.size[1] * found.transform[4]
    for place, expected in ((INSIDE, False), (IN_THE_HOLE, True), (BESIDE, True)):
        [(x, y)] = ground(crs, place)
        assert transparent[int((top - y) / height * rows), int((x - left) / width * cols)] == expected


def test_other_tools_see_the_same_pixels(area):
    crs, path = area
    points = ground(crs, INSIDE, IN_THE_HOLE, BESIDE)
    if (reason := missing("GDAL's command line")) is not None:
        pytest.skip(reason)
    found = gdal_pixels(path, lonlats(crs, points), "-wgs84", 3)
    assert min(found[0]) > 0
    assert found[1:] == [(0, 0, 0)] * 2
    if path.suffix == ".tif":
        assert rasterio(path, points).pixels == found
