"""Maps of written products: their levels as they are stored, and nothing beyond their edge."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from tests.server.conftest import picture
from tilegen.errors import InputError
from tilegen.server.mercator import WEB_MERCATOR
from tilegen.server.products import open_product
from tilegen.testing.sinks import address_pixels, address_product, reference_levels, write_product
from tilegen.tiling.sinks import open_sink

HEIGHT, WIDTH = 700, 1101


@pytest.fixture(scope="module", params=["area.tif", "area.zarr"])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("product") / request.param
    write_product(open_sink(path, address_product(HEIGHT, WIDTH)))
    return path


@pytest.fixture(scope="module")
def pixels():
    return address_pixels(address_product(HEIGHT, WIDTH).extent)


def test_tiles_are_the_stored_pixels_of_every_level_and_clear_beyond_them(site, path, pixels):
    product = open_product(path, max_zoom_out=3)
    shown = site(product)
    levels = reference_levels(pixels, product.grid.num_levels)
    for level, expected in enumerate(levels):
        _, height, width = expected.shape
        zoom = product.grid.native_zoom - level
        for row, col in {(0, 0), ((height - 1) // 256, (width - 1) // 256)}:
            content = shown.ask(f"/map/tiles/native/{zoom}/{row}/{col}").content
            part = expected[:, 256 * row : 256 * (row + 1), 256 * col : 256 * (col + 1)]
            _, rows, cols = part.shape
            tile = picture(content)
            np.testing.assert_array_equal(tile[:3, :rows, :cols], part)
            if (rows, cols) != (256, 256):
                assert (tile[3, :rows, :cols] == 255).all()
                assert tile[3].sum() == 255 * rows * cols


def test_there_are_no_tiles_beyond_a_product(site, path):
    product = open_product(path, max_zoom_out=0)
    shown, zoom = site(product), product.grid.native_zoom
    assert shown.ask(f"/map/tiles/native/{zoom}/2/4").status_code == 200
    for row, col in ((3, 0), (0, 5), (7, 7)):
        assert "beyond its edge" in shown.ask(f"/map/tiles/native/{zoom}/{row}/{col}").json()["error"]


def test_a_place_on_the_ground_is_the_same_pixel_as_in_the_file(site, path, tmp_path, pixels):
    """Through Web Mercator: where an XYZ tile shows the product, its colours are those of GDAL's nearest pixels."""
    from rasterio.warp import transform as transformed

    product = open_product(path, max_zoom_out=0)
    grid = product.grid
    middle = [grid.x0 + WIDTH / 2 * grid.res], [grid.y0 - HEIGHT / 2 * grid.res]
    [lon], [lat] = transformed(grid.crs, "EPSG:4326", *middle)
    tile = WEB_MERCATOR.tile(lon, lat, 19)
    found = picture(site(product).ask(f"/tiles/19/{tile.x}/{tile.y}.png").content)
    bounds, res = WEB_MERCATOR.xy_bounds(tile), WEB_MERCATOR.matrix(19).cellSize
    for row, col in ((10, 20), (128, 128), (200, 250)):
        centre = [bounds.left + (col + 0.5) * res], [bounds.top - (row + 0.5) * res]
        [x], [y] = transformed("EPSG:3857", grid.crs, *centre)
        at = int((grid.y0 - y) / grid.res), int((x - grid.x0) / grid.res)
        around = pixels[:, at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2].astype(int)
        if around.size == 27 and np.ptp(around[:2]) < 250:
            value = found[:3, row, col].astype(int)
            assert (around.min(axis=(1, 2)) <= value).all()
            assert (value <= around.max(axis=(1, 2))).all()


def test_a_geotiff_without_overviews_is_reduced_here(site, tmp_path):
    path = tmp_path / "plain.tif"
    image = np.random.default_rng(0).integers(1, 256, (3, 500, 900), np.uint8)
    write_plain(path, image)
    product = open_product(path, max_zoom_out=3)
    shown = site(product)
    np.testing.assert_array_equal(
        picture(shown.ask("/map/tiles/native/0/0/0").content)[:3, :125, :225], reference_levels(image, 3)[2]
    )


def write_plain(path, image, **changes):
    profile = {
        "driver": "GTiff",
        "dtype": str(image.dtype),
        "crs": "EPSG:32633",
        "transform": Affine(2, 0, 5, 0, -2, 9),
    }
    bands, height, width = image.shape
    with rasterio.open(path, "w", count=bands, height=height, width=width, **profile | changes) as tiff:
        tiff.write(image)


@pytest.mark.parametrize(
    ("dtype", "changes", "reason"),
    [
        ("uint16", {}, "A map shows uint8"),
        ("uint8", {"crs": None}, "has no CRS"),
        ("uint8", {"transform": Affine(2, 1, 5, 1, -2, 9)}, "rotated"),
        ("uint8", {"transform": Affine(2, 0, 5, 0, -3, 9)}, "not square"),
    ],
)
def test_what_has_no_place_on_a_map_is_refused(tmp_path, dtype, changes, reason):
    path = tmp_path / "other.tif"
    write_plain(path, np.ones((1, 4, 4), dtype), **changes)
    with pytest.raises(InputError, match=reason):
        open_product(path, max_zoom_out=3)


def test_what_is_no_product_is_refused(tmp_path):
    (tmp_path / "words.tif").write_text("no picture")
    for path in (tmp_path / "words.tif", tmp_path):
        with pytest.raises(InputError, match="Zarr store"):
            open_product(path, max_zoom_out=3)


def test_a_product_that_is_damaged_is_one_sentence_and_the_rest_is_shown(site, tmp_path):
    path = tmp_path / "cut.tif"
    write_product(open_sink(path, address_product(600, 600)))
    product = open_product(path, max_zoom_out=0)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 2000)
    answer = site(product).ask(f"/map/tiles/native/{product.grid.native_zoom}/2/2")
    assert answer.status_code == 500  # no fault of who asks
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].startswith("The product cannot be read here: ")
    assert "\n" not in answer.json()["error"]
    assert site(product).ask(f"/map/tiles/native/{product.grid.native_zoom}/0/0").status_code == 200
