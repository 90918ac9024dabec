"""What the server says of itself agrees with what it serves."""

import io

import click
import morecantile
import numpy as np
import pytest
import rasterio

from tests.server.conftest import HALF
from tilegen.geometry.window import Window
from tilegen.server.worlds import WorldImagery
from tilegen.world import open_world


@pytest.mark.parametrize("anchor", [(0.0, 0.0), (0.25, 0.5)])
def test_the_tile_matrix_set_says_where_each_tile_lies(site, model, anchor):
    """Read back by morecantile, beside the georeference of the world."""
    world = open_world(str(model), res=0.76, anchor=anchor, device="cpu")
    found = site(WorldImagery(world, max_zoom_out=3, model="nano"))
    grid = morecantile.TileMatrixSet.model_validate(found.ask("/tileMatrixSets/native").json())
    assert grid.crs.to_epsg() == 3857
    for level in range(4):
        zoom = 32 - level
        row, col = (HALF >> level) - 5, (HALF >> level) + 70000
        size = 256 << level
        window = Window.from_size(size, size, row0=-5 * size, col0=70000 * size)
        found = grid.xy_bounds(morecantile.Tile(col, row, zoom))
        np.testing.assert_allclose(found, world.georef.bounds(window), atol=1e-3)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32611", "EPSG:3857"])
def test_the_zooms_of_tilejson_are_those_that_there_are(site, model, crs):
    world = open_world(str(model), crs=crs, res=1e-5 if crs == "EPSG:4326" else 0.76, device="cpu")
    found = site(WorldImagery(world, max_zoom_out=2, model="nano"))
    said = found.ask("/tilejson.json").json()
    assert said["tilejson"] == "3.0.0"
    assert said["maxzoom"] - said["minzoom"] == 2
    if crs == "EPSG:3857":  # elsewhere the scale changes from place to place
        for zoom in (said["minzoom"], said["maxzoom"]):
            address = said["tiles"][0].format(z=zoom, x=1 << (zoom - 1), y=1 << (zoom - 1))
            assert found.ask(address.replace("http://localhost", "")).status_code == 200
        assert found.ask(f"/tiles/{said['minzoom'] - 1}/1/1.png").status_code == 404


@pytest.mark.parametrize("query", ["?f=json", "?f=json&seed=11"])
def test_every_link_leads_somewhere(shown, query):
    seen, waiting = set(), [f"http://localhost/{query}"]
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        answer = shown.ask(address)
        assert answer.status_code == 200, address
        if answer.headers["content-type"].startswith("application/json"):
            waiting += list(links(answer.json()))
    assert len(seen) >= 9


def test_who_asks_for_a_seed_is_led_to_its_tiles(shown):
    """From the landing page on, as a client of OGC API Tiles follows links; without a seed, links have none."""
    for seed in (None, 11):
        query = "" if seed is None else f"&seed={seed}"
        tile = shown.pixels(f"/map/tiles/native/32/{HALF}/{HALF}?f=png{query}")
        landing = shown.ask(f"/?f=json{query}").json()
        sets = shown.ask(link(landing, "http://www.opengis.net/def/rel/ogc/1.0/tilesets-map")).json()["tilesets"]
        assert [link(one, "self").partition("?")[2] for one in sets] == [query.removeprefix("&")] * 2
        for found in (sets[0], shown.ask(link(sets[0], "self")).json()):
            assert link(found, "self") == link(sets[0], "self")
            items = [one["href"] for one in found["links"] if one["rel"] == "item"]
            assert [href.partition("?")[2] for href in items] == [
                f"f={name}{query}" for name in ("png", "jpeg", "webp")
            ]
            address = items[0].format(tileMatrix=32, tileRow=HALF, tileCol=HALF)
            np.testing.assert_array_equal(shown.pixels(address), tile)


def test_a_set_of_tiles_of_another_than_the_fixed_seed_is_refused(site, world):
    fixed = site(WorldImagery(world, max_zoom_out=0, model="nano"), seed=7, is_seed_fixed=True)
    for path in ("/map/tiles", "/map/tiles/native", "/?f=json"):
        joint = "&" if "?" in path else "?"
        assert fixed.ask(f"{path}{joint}seed=7").status_code == 200
        assert "seed 7 only" in fixed.ask(f"{path}{joint}seed=8").json()["error"]


def link(document, rel):
    return next(one["href"] for one in document["links"] if one["rel"] == rel)


def links(value):
    """Addresses in a document, with the middle of the map for what a template leaves open."""
    if isinstance(value, dict):
        if "href" in value:
            places = {"{tileMatrix}": "32", "{tileRow}": str(HALF), "{tileCol}": str(HALF)}
            address = value["href"]
            for name, place in places.items():
                address = address.replace(name, place)
            if "/WebMercatorQuad/32" not in address:
                yield address
        for part in value.values():
            yield from links(part)
    elif isinstance(value, list):
        for part in value:
            yield from links(part)


def test_limits_of_a_set_of_tiles_are_its_edges(site, shown, tmp_path):
    from tilegen.server.products import open_product
    from tilegen.testing.sinks import address_product, write_product
    from tilegen.tiling.sinks import open_sink

    path = tmp_path / "area.tif"
    write_product(open_sink(path, address_product(300, 1100)))
    found = site(open_product(path, max_zoom_out=0))
    for limits in found.ask("/map/tiles/native").json()["tileMatrixSetLimits"]:
        last = f"/map/tiles/native/{limits['tileMatrix']}/{limits['maxTileRow']}"
        assert found.ask(f"{last}/{limits['maxTileCol']}").status_code == 200
        assert found.ask(f"{last}/{limits['maxTileCol'] + 1}").status_code == 404


def test_the_front_page_is_for_people_unless_json_is_asked_for(shown):
    assert shown.ask("/", headers={"Accept": "text/html,*/*"}).text.startswith("<!doctype html>")
    assert shown.ask("/", headers={"Accept": "application/json"}).json()["links"]
    assert "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core" in shown.ask("/conformance").json()["conformsTo"]


def test_it_says_that_the_imagery_is_synthetic_and_what_made_it(shown, world):
    said = shown.ask("/info.json?seed=18446744073709551615").json()
    assert said["synthetic"] is True
    assert said["seed"] == "18446744073709551615"
    assert said["model_digest"] == world.card.digest == said["provenance"]["model_digest"]
    assert said["licence"] == "none: random weights"
    assert "not an observation" in said["notice"]


# Downloads


def test_a_downloaded_geotiff_is_the_world_in_its_place(shown, world):
    window = Window.from_size(300, 700, row0=-513, col0=10**9)
    answer = shown.ask(f"/download.tif?row={window.row0}&col={window.col0}&rows=300&cols=700&seed=7")
    assert answer.headers["content-disposition"] == 'attachment; filename="tilegen-seed7-row-513-col1000000000.tif"'
    with rasterio.open(io.BytesIO(answer.content)) as tiff:
        np.testing.assert_array_equal(tiff.read(), world.read(window))
        assert tiff.crs.to_epsg() == 3857
        assert tiff.transform.almost_equals(world.georef.transform(window))
        assert (tiff.nodata, tiff.descriptions) == (0, ("red", "green", "blue"))
        tags = tiff.tags()
        assert (tags["synthetic"], tags["seed"], tags["model_digest"]) == ("true", "7", world.card.digest)


def test_a_downloaded_png_is_the_same_and_says_so(shown, world):
    from PIL import Image

    answer = shown.ask("/download.png?row=3&col=-40&rows=20&cols=90&seed=8")
    with Image.open(io.BytesIO(answer.content)) as image:
        other = open_world(world.config.model, seed=8, device="cpu")
        expected = other.read(Window.from_size(20, 90, row0=3, col0=-40))
        np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), expected)
        assert (image.text["synthetic"], image.text["seed"]) == ("true", "8")


@pytest.mark.parametrize(
    "area",
    [
        "row=0&col=0&rows=2049&cols=1",
        "row=0&col=0&rows=0&cols=1",
        "row=0&col=0&rows=1",
        "row=nan&col=0&rows=1&cols=1",
        "row=0&col=9999999999999999&rows=1&cols=1",
        "",
    ],
)
def test_an_area_that_is_none_or_too_large_is_refused(shown, area):
    answer = shown.ask(f"/download.tif?{area}")
    assert answer.status_code == 400
    assert "whole number from" in answer.json()["error"]


def test_the_command_makes_the_same_pixels(shown, world, tmp_path):
    """As the page fills it in, and as the command line understands it."""
    from tilegen.cli.main import main

    said = shown.ask("/info.json").json()
    area = {"row": -130, "col": 77, "rows": 33, "cols": 44, "seed": 7}
    area |= {"x": area["col"] * said["res"], "y": -area["row"] * said["res"]}
    words = [word.format(**area) for word in said["command"]]
    assert words[:3] == ["tilegen", "generate", "area.tif"]
    words = [world.config.model if word == "nano.safetensors" else word for word in words[3:]]
    parsed = (
        main.get_command(click.Context(main), "generate")
        .make_context("generate", [str(tmp_path / "a.tif"), *words])
        .params
    )
    again = open_world(parsed["model"], seed=parsed["seed"], crs=parsed["crs"], res=parsed["res"], device="cpu")
    window = again.window_at(*parsed["origin"], *parsed["size"])
    assert window == Window.from_size(33, 44, row0=-130, col0=77)
    np.testing.assert_array_equal(again.read(window), world.read(window))


def test_a_file_of_a_world_has_a_command_for_its_own_seed_alone(site, world, tmp_path):
    """The file says the seed, and `generate` takes no other beside it."""
    found = site(WorldImagery(world, max_zoom_out=0, model="folder/world.json"), seed=7)
    words = found.ask("/info.json").json()["command"]
    assert " ".join(words) == (
        "tilegen generate area.tif --size {cols}x{rows} --origin={x},{y} --model folder/world.json"
    )
    assert found.ask("/info.json?seed=8").json()["command"] is None
