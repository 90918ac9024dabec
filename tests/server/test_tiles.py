"""Tiles of a world: the same bytes as the world's, at any place, level and seed, in any grid."""

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds
from scipy.ndimage import map_coordinates

from tests.server.conftest import HALF
from tilegen.geometry.window import Window
from tilegen.server.grid import WORLD_ZOOM, MapGrid
from tilegen.server.mercator import WEB_MERCATOR
from tilegen.server.worlds import WorldImagery
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.testing.imagery import AddressImagery
from tilegen.testing.sinks import address_pixels, reference_levels
from tilegen.world import open_world

FAR = (1 << 30) + 12345
MERCATOR_18_M = WEB_MERCATOR.matrix(18).cellSize


def native(zoom, row, col, ending="png"):
    """The address of a tile, whose row and column are counted from pixel (0, 0)."""
    half = 1 << (zoom - 1)
    return f"/map/tiles/native/{zoom}/{half + row}/{half + col}?f={ending}"


def joined(tiles):
    """Tiles, as rows of columns, side by side."""
    return np.concatenate([np.concatenate(row, axis=2) for row in tiles], axis=1)


# The imagery's own grid


@pytest.mark.parametrize("corner", [(0, 0), (-2, -1), (3, -FAR), (FAR, FAR)])
def test_tiles_side_by_side_are_a_window_of_the_world(shown, world, corner):
    """Byte by byte, across the borders of the world's own tiles and of the quarters that are served."""
    row, col = corner
    tiles = [[shown.pixels(native(32, row + i, col + j)) for j in range(2)] for i in range(3)]
    window = Window.from_size(3 * 256, 2 * 256, row0=256 * row, col0=256 * col)
    np.testing.assert_array_equal(joined(tiles), world.read(window))


def test_farther_out_a_pixel_is_the_mean_of_those_it_covers(site):
    imagery = AddressImagery()
    imagery.gate.set()
    window = Window.from_size(2048, 2048, row0=-2048, col0=4096)
    expected = reference_levels(address_pixels(window), 4)
    for level in range(4):
        last = (256 >> level) // 32 - 1  # the last tile of the window at this level
        row, col = -8 >> level, 16 >> level
        found = site(imagery).pixels(native(32 - level, row + last, col + last))
        np.testing.assert_array_equal(found, expected[level][:, -256:, -256:])


@pytest.mark.parametrize(("levels_out", "num_blocks"), [(3, 16), (4, 64)])
def test_a_tile_far_out_costs_what_it_covers_and_no_more(site, levels_out, num_blocks):
    imagery = AddressImagery(grid=address_grid(num_levels=levels_out + 1))
    imagery.gate.set()
    site(imagery).pixels(native(32 - levels_out, 5, -6))
    assert len(imagery.painted) == len(set(imagery.painted)) == num_blocks


@pytest.mark.parametrize(("levels_out", "num_blocks"), [(3, 144), (4, 576)])
def test_an_xyz_tile_costs_nine_tiles_at_most(site, levels_out, num_blocks):
    """As many where it covers one, and its margin reaches beyond the borders at both sides."""
    shift = 0.5 * MERCATOR_18_M
    grid = address_grid(res=MERCATOR_18_M, x0=shift, y0=shift, num_levels=levels_out + 1)
    imagery = AddressImagery(grid=grid)
    imagery.gate.set()
    answer = site(imagery, most_waiting=1024).ask(f"/tiles/{18 - levels_out}/1000/2000.png")
    assert answer.status_code == 200
    assert len(imagery.painted) == num_blocks


def address_grid(**options):
    return MapGrid(**{"crs": "EPSG:3857", "res": 1.0, "native_zoom": WORLD_ZOOM, "centred": True} | options)


def test_every_seed_is_a_world_of_its_own(shown, model):
    for seed in (0, 2**64 - 1):
        other = open_world(str(model), seed=seed, device="cpu")
        found = shown.pixels(native(32, 0, 0) + f"&seed={seed}")
        np.testing.assert_array_equal(found, other.read(Window.from_size(256, 256)))


def test_a_model_of_16_bits_is_shown_in_8(site, tmp_path):
    """The same image, rounded to fewer steps, as docs/serve.md says."""
    save_random_checkpoint(tmp_path / "deep.safetensors", about={"pixels": {"dtype": "uint16"}})
    world = open_world(str(tmp_path / "deep.safetensors"), seed=7, device="cpu")
    found = site(WorldImagery(world, max_zoom_out=0, model="deep"), seed=7).pixels(native(32, 0, 0))
    expected = world.read(Window.from_size(256, 256)) / 65535 * 255
    np.testing.assert_allclose(found, expected.clip(1), atol=0.51)


def test_many_seeds_keep_few_renderers_and_their_pixels(world):
    imagery = WorldImagery(world, max_zoom_out=0, model="nano")
    first = imagery.block(0, 0, 1, 2)
    for seed in range(1, 9):
        assert (imagery.block(seed, 0, 1, 2) != first).any()
    assert len(imagery._renderers) <= 4
    np.testing.assert_array_equal(imagery.block(0, 0, 1, 2), first)


@pytest.mark.parametrize(("ending", "kind"), [("jpg", "image/jpeg"), ("webp", "image/webp")])
def test_lossy_tiles_look_alike(shown, ending, kind):
    exact = shown.pixels(native(32, 0, 0)).astype(int)
    answer = shown.ask(native(32, 0, 0, ending))
    assert answer.headers["content-type"] == kind
    found = shown.pixels(native(32, 0, 0, ending)).astype(int)
    assert np.abs(found.mean(axis=(1, 2)) - exact.mean(axis=(1, 2))).max() < 3


def test_who_has_a_tile_is_not_sent_it_again_nor_is_it_painted(site):
    imagery = AddressImagery()
    imagery.gate.set()
    painting = site(imagery)
    tag = painting.ask(native(32, 0, 0)).headers["etag"]
    assert tag != painting.ask(native(32, 0, 0) + "&seed=1").headers["etag"]
    imagery.painted.clear()
    again = site(imagery).ask(native(32, 0, 0), headers={"If-None-Match": tag})
    assert (again.status_code, again.content, imagery.painted) == (304, b"", [])


def test_browsers_keep_a_tile_unasked_only_if_its_address_names_all_that_decides_it(site, model):
    """One address of this machine may be another world tomorrow."""

    def shown(**options):
        world = open_world(str(model), device="cpu", **options)
        return site(WorldImagery(world, max_zoom_out=0, model="nano"))

    mine, other = shown(res=1.0), shown(res=1.0, truncation_psi=0.5)
    named = f"{native(32, 0, 0)}&v={mine.ask('/info.json').json()['version']}"
    assert "immutable" in mine.ask(named).headers["cache-control"]
    assert mine.ask(native(32, 0, 0)).headers["cache-control"] == "no-cache"
    assert other.ask(named).headers["cache-control"] == "no-cache"
    tags = {site.ask("/tiles/18/5/5.png").headers["etag"] for site in (mine, other, shown(res=1.1))}
    assert len(tags) == 3


# Web Mercator


def test_where_the_grids_coincide_xyz_tiles_are_plain_pixels(site, model):
    world = open_world(str(model), seed=7, res=MERCATOR_18_M, device="cpu")
    found = site(WorldImagery(world, max_zoom_out=1, model="nano"), seed=7)
    x, y = 2**17 - 3, 2**17 + 5
    window = Window.from_size(256, 256, row0=5 * 256, col0=-3 * 256)
    np.testing.assert_array_equal(found.pixels(f"/tiles/18/{x}/{y}.png"), world.read(window))
    covered = Window.from_size(512, 512, row0=5 * 512, col0=-3 * 512)
    expected = reference_levels(world.read(covered), 2)[1]
    np.testing.assert_array_equal(found.pixels(f"/tiles/17/{2**16 - 3}/{2**16 + 5}.png"), expected)


FOUR_TILES = [
    pytest.param("EPSG:3857", 0.76, 18, 2**17 + 100, 2**17 - 90, id="web mercator"),
    pytest.param("EPSG:32611", 0.5, 19, 91000, 204000, id="utm"),
    pytest.param("EPSG:4326", 8e-6, 18, 140000, 90000, id="degrees"),
    pytest.param("EPSG:3857", 0.76, 17, 2**16 - 50, 2**16 + 40, id="shrunk"),
]


@pytest.mark.parametrize(("crs", "res", "zoom", "x", "y"), FOUR_TILES)
def test_xyz_tiles_side_by_side_are_one_warp(site, model, crs, res, zoom, x, y):
    """Of four tiles at once, from a larger window: no border shows."""
    assert_one_warp(site, open_world(str(model), seed=7, crs=crs, res=res, device="cpu"), zoom, x, y)


@pytest.mark.parametrize("anchor", [(0.3, 0.2), (0.5, 0.75)])
def test_xyz_tiles_of_an_anchored_world_lie_where_its_products_do(site, model, anchor):
    """Also where the pixels are as large as those of a zoom: they are not its pixels."""
    res = MERCATOR_18_M
    world = open_world(str(model), seed=7, res=res, anchor=tuple(part * res for part in anchor), device="cpu")
    assert_one_warp(site, world, 18, 2**17 + 100, 2**17 - 90)


def assert_one_warp(site, world, zoom, x, y):
    found, bounds = four_tiles(site, world, zoom, x, y)
    window, transform = around(world, bounds), affine(bounds, 512)
    expected = np.zeros((3, 512, 512), np.uint8)
    reproject(
        world.read(window),
        expected,
        src_transform=world.georef.transform(window),
        src_crs=world.georef.crs,
        dst_transform=transform,
        dst_crs="EPSG:3857",
        resampling=Resampling.bilinear,
        tolerance=0.0,
    )
    np.testing.assert_allclose(found.astype(int), expected, atol=1)


@pytest.mark.parametrize(("crs", "res", "zoom", "x", "y"), FOUR_TILES[:3])
def test_xyz_tiles_show_each_place_where_it_is(site, model, crs, res, zoom, x, y):
    """Beside PROJ for the place and SciPy for the interpolation, where tiles are magnified."""
    world = open_world(str(model), seed=7, crs=crs, res=res, device="cpu")
    found, bounds = four_tiles(site, world, zoom, x, y)
    window, transform = around(world, bounds), affine(bounds, 512)
    centres = np.arange(512) + 0.5
    xs, ys = np.meshgrid(transform.c + transform.a * centres, transform.f + transform.e * centres)
    east, north = Transformer.from_crs("EPSG:3857", crs, always_xy=True).transform(xs, ys)
    places = np.stack([-north / res - window.row0 - 0.5, east / res - window.col0 - 0.5])
    expected = [map_coordinates(band.astype(float), places, order=1) for band in world.read(window)]
    difference = np.abs(found - np.stack(expected))
    assert difference.max() < 1.6  # GDAL's weights are rounded
    assert difference.mean() < 0.5


def four_tiles(site, world, zoom, x, y):
    shown = site(WorldImagery(world, max_zoom_out=3, model="nano"), seed=7)
    tiles = joined([[shown.pixels(f"/tiles/{zoom}/{x + j}/{y + i}.png") for j in range(2)] for i in range(2)])
    upper_left, lower_right = (WEB_MERCATOR.xy_bounds(x + i, y + i, zoom) for i in range(2))
    return tiles, (upper_left.left, lower_right.bottom, lower_right.right, upper_left.top)


def around(world, bounds):
    """The window of a world that holds some bounds of Web Mercator, and a margin."""
    left, bottom, right, top = transform_bounds("EPSG:3857", world.georef.crs, *bounds)
    (row0, col0), (row1, col1) = world.georef.pixel(left, top), world.georef.pixel(right, bottom)
    return Window(row0=row0 - 16, col0=col0 - 16, row1=row1 + 16, col1=col1 + 16)


def affine(bounds, side_px):
    res = (bounds[2] - bounds[0]) / side_px
    return Affine(res, 0, bounds[0], 0, -res, bounds[3])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/tiles/5/1/1.png", "too far out"),
        ("/tiles/22/1/1.png", "finer than the imagery"),
        ("/tiles/18/262144/1.png", "There is no tile"),
        ("/tiles/60/1/1.png", "There is no tile"),
        (f"/map/tiles/native/28/{HALF >> 4}/0", "zoom 29 to 32"),
        (f"/map/tiles/native/32/{1 << 32}/0", "from 0 to"),
    ],
)
def test_there_are_no_tiles_that_would_be_too_much_work_or_nothing(shown, path, reason):
    answer = shown.ask(path)
    assert answer.status_code == 404
    assert reason in answer.json()["error"]


def test_a_world_in_degrees_ends_where_the_globe_does(site, model):
    world = open_world(str(model), seed=7, crs="EPSG:4326", res=1e-4, device="cpu")
    found = site(WorldImagery(world, max_zoom_out=0, model="nano"), seed=7)
    last = 900_000 // 256
    assert found.ask(native(32, last, 0)).status_code == 200
    assert "beyond its edge" in found.ask(native(32, last + 2, 0)).json()["error"]


def test_an_anchored_world_in_degrees_ends_where_the_globe_does(model):
    world = open_world(str(model), crs="EPSG:4326", res=0.5, anchor=(0.2, 0.4), device="cpu")
    edge = WorldImagery(world, max_zoom_out=0, model="nano").grid.edge
    world.georef.check_on_earth(edge)
    xmin, ymin, xmax, ymax = world.georef.bounds(edge)
    np.testing.assert_allclose((xmin, ymin, xmax, ymax), (-180, -90, 180, 90), atol=world.georef.res / 2)
