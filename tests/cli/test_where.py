"""`tilegen generate`, where: bounds, grids of other files, AOIs, zones; and every way to get it wrong."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import zarr
from affine import Affine
from rasterio.features import geometry_mask
from rasterio.warp import transform_geom
from shapely.geometry import mapping

from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world

PAGE = Path(__file__).parent.parent.parent / "docs" / "where.md"
# 600 m across, south of zero, so that tiles of 512 px begin inside; a notch, a hole, and an island.
AREA = shapely.MultiPolygon(
    [
        shapely.Polygon(
            [(13.0000, 52.0000), (13.0085, 52.0003), (13.0080, 52.0050), (13.0045, 52.0020), (13.0010, 52.0055)],
            [[(13.0030, 52.0007), (13.0050, 52.0007), (13.0050, 52.0014)]],
        ),
        shapely.box(13.0095, 52.0041, 13.0100, 52.0052),
    ]
)
LARGER = AREA.union(shapely.box(12.9990, 52.0030, 13.0020, 52.0070))


def save(name, *shapes, crs="EPSG:4326", driver=None, layer=None, append=False):
    driver = driver or {".gpkg": "GPKG", ".shp": "ESRI Shapefile"}.get(Path(name).suffix, "GeoJSON")
    kind = {"geometry_type": shapes[0].geom_type if shapes and driver == "ESRI Shapefile" else "Unknown"}
    pyogrio.raw.write(
        name,
        geometry=np.array([shapely.to_wkb(one) for one in shapes], object),
        field_data=[np.arange(len(shapes))],
        fields=["id"],
        crs=crs,
        driver=driver,
        layer=layer,
        append=append,
        **kind,
    )


def save_raster(name, transform, crs="EPSG:32633", shape=(90, 120)):
    options = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(name, "w", transform=transform, crs=crs, **options) as raster:
        raster.write(np.ones((1, *shape), np.uint8))


def read(name):
    if name.endswith(".zarr"):
        return np.asarray(zarr.open_group(name, mode="r")["image"][...])
    with rasterio.open(name) as tiff:
        return tiff.read()


@pytest.fixture
def generate(run, model, scheduler, folder):
    """Runs `tilegen generate` on the cluster that all tests share; gives pixels and what was said on stderr."""

    def generated(out, *words, res=4.0):
        result = run(
            "generate", out, "--model", model, "--scheduler", scheduler, "--chunk", 64, "--shard", 128,
            "--device", "cpu", *(["--res", res] if res else []), *words,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        # A slow machine tells of its progress, too.
        return read(out), [line for line in result.stderr.splitlines() if " shards  " not in line]

    return generated


@pytest.fixture
def world(model):
    return open_world(str(model), crs="EPSG:32633", res=4.0, device="cpu")


# AOIs


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_an_aoi_is_the_world_inside_and_nodata_outside_on_all_levels(generate, world, name):
    """Beside GDAL's own reprojection and rasterisation of the same file."""
    save("area.gpkg", AREA)
    pixels, said = generate(name, "--aoi", "area.gpkg", "--crs", "utm", "--preview", "a.png")
    assert said == []
    aoi = world.aoi("area.gpkg")
    extent = aoi.covering()
    assert pixels.shape[1:] == extent.shape
    there = transform_geom("EPSG:4326", "EPSG:32633", mapping(AREA))
    inside = geometry_mask([there], extent.shape, world.georef.transform(extent), invert=True)
    assert 0.2 < inside.mean() < 0.7
    assert (inside != aoi.mask(extent)).sum() <= 2  # long edges bend by a millimetre
    np.testing.assert_array_equal((pixels != 0).all(axis=0), aoi.mask(extent))
    np.testing.assert_array_equal((pixels == 0).all(axis=0), ~aoi.mask(extent))
    np.testing.assert_array_equal(pixels, np.where(aoi.mask(extent), world.read(extent), 0))
    if name.endswith(".zarr"):
        stored = {(int(path.parent.name), int(path.name)) for path in Path("a.zarr/image/c/0").glob("*/*")}
        drawn = world.product(extent, chunk_px=64, shard_px=128, aoi=aoi).shard_indices
        assert stored == set(drawn)


@pytest.mark.cluster
def test_an_aoi_in_any_format_gives_the_same_bytes(generate, folder):
    save("area.gpkg", AREA)
    save("area.shp", AREA)
    save("area.geojson", *AREA.geoms)
    digests = set()
    for number, name in enumerate(("area.gpkg", "area.shp", "area.geojson")):
        generate(f"{number}.tif", "--aoi", name, "--crs", "EPSG:32633")
        digests.add((folder / f"{number}.tif").read_bytes())
    assert len(digests) == 1


@pytest.mark.cluster
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_larger_aoi_shows_the_old_pixels_again(generate, world, suffix):
    save("area.geojson", AREA)
    save("larger.geojson", LARGER)
    old, _ = generate(f"old{suffix}", "--aoi", "area.geojson", "--crs", "EPSG:32633")
    new, _ = generate(f"new{suffix}", "--aoi", "larger.geojson", "--crs", "EPSG:32633", "--shard", 256)
    small, large = world.aoi("area.geojson").covering(), world.aoi("larger.geojson").covering()
    assert large.contains(small)
    assert large != small
    again = new[:, *small.within(large)]
    np.testing.assert_array_equal(again[old != 0], old[old != 0])
    assert (again[old == 0] != 0).any()


@pytest.mark.cluster
def test_an_aoi_masks_within_an_extent(generate, world):
    save("area.geojson", AREA)
    aoi = world.aoi("area.geojson")
    xmin, ymin, xmax, ymax = world.georef.bounds(aoi.covering())
    bounds = f"{xmin - 20},{ymin + 100},{xmax - 100},{ymax}"
    pixels, said = generate("a.tif", "--aoi", "area.geojson", "--crs", "EPSG:32633", "--bounds", bounds)
    assert said == []
    extent = world.georef.window((xmin - 20, ymin + 100, xmax - 100, ymax))
    np.testing.assert_array_equal(pixels, np.where(aoi.mask(extent), world.read(extent), 0))


@pytest.mark.cluster
def test_a_product_with_an_aoi_is_verified_pixel_by_pixel(run, model, generate):
    """A pixel that is missing inside is found, and so is one that is there outside."""
    save("area.geojson", AREA)
    pixels, _ = generate("a.zarr", "--aoi", "area.geojson", "--crs", "EPSG:32633")
    words = ["verify", "a.zarr", "--model", model, "--quiet"]
    result = run(*words, "--all")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "tiles are identical" in result.stdout
    assert run(*words, "--tiles", 1).exit_code == 0
    image = zarr.open_array("a.zarr", path="image", mode="r+")
    for inside, value in ((True, 0), (False, 9)):
        row, col = np.argwhere((pixels != 0).all(axis=0) == inside)[100]
        old, image[0, row, col] = image[0, row, col], value
        result = run(*words, "--all")
        assert result.exit_code == 1
        assert "1 pixels differ" in result.stdout
        image[0, row, col] = old


@pytest.mark.cluster
def test_a_sample_is_taken_of_tiles_that_the_aoi_meets(run, model, generate):
    """However many are asked for; only --all looks at the others, which must be empty."""
    save("small.geojson", shapely.box(13.0000, 52.0000, 13.0005, 52.0003))
    size = ["--size", "1600x1100", "--crs", "EPSG:32633", "--origin", "362600,5763600"]
    generate("a.zarr", "--aoi", "small.geojson", *size)
    words = ["verify", "a.zarr", "--model", model, "--quiet"]
    everywhere = run(*words, "--all").stdout
    total = int(re.fullmatch(r"a\.zarr: (\d+) tiles are identical \(\1 in all\)\.\n", everywhere)[1])
    said = run(*words, "--tiles", total).stdout
    drawn = int(re.fullmatch(rf"a\.zarr: (\d+) tiles are identical \({total} in all\)\.\n", said)[1])
    assert drawn < total
    assert run(*words).stdout == said  # by chance, but there are no others
    image = zarr.open_array("a.zarr", path="image", mode="r+")
    image[0, -1, -1] = 9
    assert run(*words).exit_code == 0
    assert run(*words, "--all").exit_code == 1


@pytest.mark.cluster
def test_a_large_polygon_is_asked_for_when_its_product_is_verified(run, model, generate):
    save("round.geojson", shapely.Point(13.0, 52.0).buffer(0.001, quad_segs=1000))
    save("other.geojson", shapely.Point(13.0, 52.0).buffer(0.0011, quad_segs=1000))
    generate("a.tif", "--aoi", "round.geojson", "--crs", "EPSG:32633")
    words = ["verify", "a.tif", "--model", model, "--quiet"]
    result = run(*words)
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: a.tif does not repeat its AOI, which is large. Give the file with --aoi.\n",
    )
    assert "was made with another AOI" in run(*words, "--aoi", "other.geojson").stderr
    assert run(*words, "--aoi", "round.geojson").exit_code == 0


def test_an_unfinished_product_of_another_aoi_is_not_gone_on_with(run, model, world, folder):
    save("area.geojson", AREA)
    save("larger.geojson", LARGER)
    aoi = world.aoi("area.geojson")
    larger = world.aoi("larger.geojson")
    sink = open_sink("a.tif", world.product(larger.covering(), aoi=aoi, chunk_px=64, shard_px=128))
    sink.begin(overwrite=False)
    sink = open_sink("a.tif", world.product(larger.covering(), aoi=larger, chunk_px=64, shard_px=128))
    with pytest.raises(OSError, match=r"unfinished product of another run.*different: provenance\.aoi"):
        sink.begin(overwrite=False)


def test_a_dry_run_counts_the_tiles_that_are_drawn(run, model, folder):
    """And says which zone it is."""
    save("two.geojson", shapely.box(12.99, 52.0, 12.991, 52.001), shapely.box(13.09, 52.05, 13.091, 52.051))
    words = ["--aoi", "two.geojson", "--crs", "utm", "--res", 0.5, "--model", model, "--device", "cpu", "--dry-run"]
    result = run("generate", "a.tif", *words)
    assert result.exit_code == 0
    tiles, shards = re.search(
        r"lattice +(\d+) tiles in (\d+) shards of 2048 px, where the AOI is", result.stdout
    ).groups()
    assert int(shards) in {2, 3, 4}
    assert int(tiles) <= 8
    assert "ground     EPSG:32633, 0.5 metre per pixel" in result.stdout
    with_all = run("generate", "a.tif", "--size", "13700x11300", *words[4:])
    assert " tiles in 42 shards of 2048 px\n" in with_all.stdout


def test_a_lazy_array_is_masked_too(world, folder):
    save("area.geojson", AREA)
    aoi = world.aoi("area.geojson")
    extent = aoi.covering()
    lazy = world.to_xarray(extent, chunk_px=100, aoi=aoi)
    np.testing.assert_array_equal(lazy.values, np.where(aoi.mask(extent), world.read(extent), 0))


# Extents


@pytest.mark.cluster
def test_bounds_are_snapped_outward_and_say_so(generate, world):
    pixels, said = generate("a.tif", "--crs", "EPSG:32633", "--bounds", "-31,-21,33.5,40")
    assert said == ["--bounds are snapped outward to the grid: -32,-24,36,40."]
    np.testing.assert_array_equal(pixels, world.read(world.georef.window((-32.0, -24.0, 36.0, 40.0))))
    assert generate("b.tif", "--crs", "EPSG:32633", "--bounds", "-31,-21,33.5,40", "--quiet")[1] == []
    assert generate("c.tif", "--crs", "EPSG:32633", "--bounds", "-32,-24,36,40")[1] == []


@pytest.mark.cluster
def test_bounds_and_origins_in_degrees_find_their_zone(generate):
    generate("a.tif", "--crs", "utm", "--bounds", "13,52,13.004,52.002", "--quiet")
    generate("b.tif", "--crs", "UTM", "--origin", "-115.2,36.1", "--size", "40x30")
    with rasterio.open("a.tif") as tiff:
        assert tiff.crs.to_epsg() == 32633
        corner = shapely.Point(*rasterio.warp.transform("EPSG:4326", tiff.crs, [13.0], [52.0]))
        assert shapely.box(*tiff.bounds).distance(corner) < 8
    with rasterio.open("b.tif") as tiff:
        assert tiff.crs.to_epsg() == 32611
        (x,), (y,) = rasterio.warp.transform("EPSG:4326", tiff.crs, [-115.2], [36.1])
        assert abs(tiff.bounds.left - x) <= 2.0
        assert abs(tiff.bounds.top - y) <= 2.0


@pytest.mark.cluster
@pytest.mark.parametrize("out", ["a.tif", "a.zarr"])
@pytest.mark.parametrize("left", [1000.0, 1000.75], ids=["on the grid", "off the grid"])
def test_like_gives_the_same_grid_pixel_for_pixel(run, model, generate, out, left):
    """Off the grid, the world is moved by less than a pixel, and its products still fit together and are verified."""
    transform = Affine(2.0, 0, left, 0, -2.0, 500.0)
    save_raster("other.tif", transform)
    pixels, said = generate(out, "--like", "other.tif", res=None)
    assert said == []
    assert pixels.shape[1:] == (90, 120)
    generate("c.tif", "--like", out, res=None)
    with rasterio.open("c.tif") as tiff, rasterio.open("other.tif") as other:
        assert (tiff.transform, tiff.crs, tiff.shape) == (other.transform, other.crs, other.shape)
    save_raster("part.tif", transform @ Affine.translation(-10, 20), shape=(30, 50))
    part, _ = generate("d.tif", "--like", "part.tif", res=None)
    np.testing.assert_array_equal(part[:, :, 10:], pixels[:, 20:50, :40])
    assert run("verify", out, "--model", model, "--all", "--quiet").exit_code == 0


@pytest.mark.cluster
def test_like_and_an_aoi_off_the_grid_are_verified(run, model, generate):
    save_raster("other.tif", Affine(2.0, 0, 362_620.75, 0, -2.0, 5_763_500.3), shape=(100, 400))
    save("area.geojson", AREA)
    pixels, _ = generate("a.tif", "--like", "other.tif", "--aoi", "area.geojson", res=None)
    assert 0.05 < (pixels != 0).mean() < 0.95
    assert run("verify", "a.tif", "--model", model, "--all", "--quiet").exit_code == 0


# Readers that are not ours


@pytest.mark.cluster
@pytest.mark.skipif(shutil.which("gdal_rasterize") is None, reason="no gdal_rasterize on this machine")
def test_gdal_rasterize_draws_the_same_line(generate):
    save("area.geojson", AREA)
    pixels, _ = generate("a.tif", "--aoi", "area.geojson", "--crs", "EPSG:32633")
    with rasterio.open("a.tif") as tiff:
        bounds = [repr(value) for value in tiff.bounds]
    subprocess.run(["ogr2ogr", "-t_srs", "EPSG:32633", "utm.gpkg", "area.geojson"], check=True, capture_output=True)
    command = ["gdal_rasterize", "-burn", "1", "-ot", "Byte", "-tr", "4", "4", "-te", *bounds, "utm.gpkg", "mask.tif"]
    subprocess.run(command, check=True, capture_output=True)
    assert ((read("mask.tif")[0] != 0) != (pixels[0] != 0)).sum() <= 2


# Bad input: the table of docs/where.md, whose sentences must be said word by word

ROWS = re.findall(r"^\| `(--[^`]*)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def files(folder):
    """The files that the page speaks of."""
    save("area.geojson", AREA)
    save("line.geojson", shapely.LineString([(13, 52), (13.1, 52)]), AREA)
    save("empty.geojson")
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        save("nocrs.shp", shapely.box(0, 0, 1, 1), crs=None)
    save("layers.gpkg", AREA, layer="town")
    save("layers.gpkg", LARGER, layer="lake", append=True)
    save("fiji.geojson", shapely.multipolygons([shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179, -16)]))
    save("beyond.geojson", shapely.box(179.9999, -17, 180.0001, -16.9999))
    save("unsplit.geojson", shapely.Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)]))
    save("pole.geojson", shapely.box(-10, 85, 10, 90))
    save("feet.geojson", shapely.box(500_000, 200_000, 500_100, 200_100))
    Path("notes.txt").write_text("no polygon\n")
    save_raster("rotated.tif", Affine(2.0, 0.1, 0, 0.1, -2.0, 0))
    save_raster("oblong.tif", Affine(2.0, 0, 0, 0, -3.0, 0))
    save_raster("upside.tif", Affine(2.0, 0, 0, 0, 2.0, 0))
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        save_raster("plain.tif", Affine.identity(), crs=None)


@pytest.mark.parametrize(("options", "said"), ROWS, ids=[options for options, _ in ROWS])
def test_every_sentence_of_the_page_is_said(refused, files, model, options, said):
    words = ["generate", "out.tif", "--model", model, "--device", "cpu", *shlex.split(options)]
    how_large = "each other" in said or said.startswith(("How large", "--like gives", "--origin is", "--crs utm needs"))
    usage = how_large or "are no bounds" in said
    found = refused(*words, exit_code=2 if usage else 1)
    assert found.endswith(said)


def test_the_page_has_a_table():
    assert len(ROWS) > 20
