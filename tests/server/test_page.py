"""The page in a real browser, Debian's Chromium: one pans far away, changes the seed, and sees the world's pixels."""

import io
import json
import re
import shutil

import httpx
import numpy as np
import pytest
from PIL import Image

from tilegen.geometry.window import Window
from tilegen.testing.sinks import address_pixels, address_product, reference_levels, write_product
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world

CHROMIUM = shutil.which("chromium")
WIDTH, HEIGHT = 900, 600

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: tests run as root in containers, where Chromium has none. It sees this machine's pages alone.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that must not complain, and must not ask anybody but the server."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if is_elsewhere(request.url) else None)
    yield page
    context.close()
    assert complaints == []


def is_elsewhere(url):
    return not re.match(r"http://127\.0\.0\.1:|blob:http://127\.0\.0\.1:|data:", url)


@pytest.fixture(scope="module")
def address(served, model):
    with served("--model", model, "--seed", 3, "--max-zoom-out", 1) as (address, _):
        yield address


def look(page, address, *, seed, row, col, level=0):
    """Go there, and wait until all is drawn."""
    page.goto(f"{address}/#seed={seed}&level={level}&row={row}&col={col}")
    drawn(page, seed, row, col, level)


def drawn(page, seed, row, col, level=0):
    page.wait_for_selector(f'body[data-drawn="{seed}@{col},{-row}@{2**level}"]', timeout=60_000)


def seen(page):
    """Pixels of the map without what lies over it: right of the panel and above the footer."""
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).transpose(2, 0, 1)
    return image[:, 60:540, 360:840]


def expected(world, row, col):
    """The same pixels of the world, if (`row`, `col`) is in the middle of the map."""
    window = Window.from_size(480, 480, row0=row - HEIGHT // 2 + 60, col0=col - WIDTH // 2 + 360)
    return world.read(window)


@pytest.mark.parametrize(("row", "col"), [(0, 0), (-(10**9) - 77, 10**11 + 13)])
def test_one_sees_the_worlds_own_pixels_across_the_borders_of_tiles(page, address, model, row, col):
    world = open_world(str(model), seed=3, device="cpu")
    look(page, address, seed=3, row=row, col=col)
    np.testing.assert_array_equal(seen(page), expected(world, row, col))


@pytest.mark.parametrize(("row0", "col0"), [(0, 0), (10**9 + 5, -(10**11) - 7)])
def test_one_pans_without_end_by_keyboard(page, address, model, row0, col0):
    look(page, address, seed=3, row=row0, col=col0)
    page.focus("#map")
    for key, row, col in (("ArrowRight", 0, 128), ("ArrowDown", 128, 128), ("ArrowDown", 256, 128)):
        page.keyboard.press(key)
        drawn(page, 3, row0 + row, col0 + col)
    world = open_world(str(model), seed=3, device="cpu")
    np.testing.assert_array_equal(seen(page), expected(world, row0 + 256, col0 + 128))


def test_one_pans_by_mouse(page, address):
    look(page, address, seed=3, row=0, col=0)
    page.mouse.move(600, 300)
    page.mouse.down()
    # OpenLayers begins to count where it first sees the pointer move, and a busy browser tells of few moves.
    page.mouse.move(596, 298)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    page.mouse.move(500, 260, steps=4)
    page.mouse.up()
    page.wait_for_url(lambda url: place(url)["col"] >= 96 and place(url)["row"] >= 38)  # it may glide on for a while


def place(url):
    """Where the address of the page says that one is."""
    return {name: float(value) for name, value in re.findall(r"(row|col)=([-\d.]+)", url)}


def test_one_changes_the_seed(page, address, model):
    look(page, address, seed=3, row=500, col=500)
    page.fill("#seed", "18446744073709551615")
    page.keyboard.press("Enter")
    drawn(page, 18446744073709551615, 500, 500)
    world = open_world(str(model), seed=2**64 - 1, device="cpu")
    np.testing.assert_array_equal(seen(page), expected(world, 500, 500))
    page.click("#random")
    page.wait_for_selector("body:not([data-drawn^='18446744073709551615'])", timeout=60_000)
    assert page.input_value("#seed") != "18446744073709551615"
    page.fill("#seed", "18446744073709551616")
    page.keyboard.press("Enter")
    assert "whole number" in page.inner_text("#status")


def test_one_goes_to_a_place_and_zooms_out_as_far_as_there_is_imagery(page, address, model):
    look(page, address, seed=3, row=0, col=0)
    page.fill("#place", "-4096, 8192")
    page.keyboard.press("Enter")
    drawn(page, 3, -4096, 8192)
    for _ in range(2):  # one more than there is
        page.click(".ol-zoom-out")
        drawn(page, 3, -4096, 8192, level=1)
    assert f"{2 * WIDTH} × {2 * HEIGHT}" in page.inner_text("#size")
    window = Window.from_size(960, 960, row0=-4096 - HEIGHT + 120, col0=8192 - WIDTH + 720)
    whole = open_world(str(model), seed=3, device="cpu").read(window)
    np.testing.assert_array_equal(seen(page), reference_levels(whole, 2)[1])


def test_one_reads_where_the_pointer_is(page, address, model):
    look(page, address, seed=3, row=1000, col=-2000)
    page.mouse.move(WIDTH // 2 + 100, HEIGHT // 2 + 40)
    info = httpx.get(f"{address}/info.json").json()
    said = page.inner_text("#readout")
    assert "pixel 1040, -1900" in said
    assert f"cell {1040 // info['cell_px']}, {-1900 // info['cell_px']}" in said
    assert info["res"] == 0.5  # of the small model
    assert "-950.000, -520.000 metre (EPSG:3857)" in said


def test_one_copies_a_command_and_downloads_the_visible_area(page, address, model):
    look(page, address, seed=3, row=100, col=200)
    page.click("#copy")
    command = page.evaluate("() => navigator.clipboard.readText()")
    assert command.startswith(f"tilegen generate area.tif --size {WIDTH}x{HEIGHT} --seed 3 --origin=")
    assert command == page.input_value("#command")
    with page.expect_download() as download:
        page.click("#png")
    found = np.asarray(Image.open(download.value.path())).transpose(2, 0, 1)
    world = open_world(str(model), seed=3, device="cpu")
    window = Window.from_size(HEIGHT, WIDTH, row0=100 - HEIGHT // 2, col0=200 - WIDTH // 2)
    np.testing.assert_array_equal(found, world.read(window))


def test_the_command_of_a_worlds_file_is_shown_with_its_own_seed_alone(page, served, model, tmp_path):
    path = tmp_path / "world.json"
    open_world(str(model), seed=7, device="cpu").save(path)
    with served("--model", path) as (address, _):
        page.goto(address)
        drawn(page, 7, 0, 0)
        assert page.input_value("#command").endswith(f" --model {path}")
        page.fill("#seed", "8")
        page.press("#seed", "Enter")
        drawn(page, 8, 0, 0)
        assert page.input_value("#command") == ""
        assert page.is_disabled("#copy")


def test_it_says_that_the_imagery_is_synthetic_and_names_every_control(page, address):
    look(page, address, seed=3, row=0, col=0)
    assert "not an observation of the Earth" in page.inner_text("#notice")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, button, textarea, main")].filter((one) =>
           !(one.labels?.length || one.textContent.trim() || one.getAttribute("aria-label"))).map((one) => one.id)"""
    )
    assert unnamed == []
    assert json.loads(httpx.get(f"{address}/info.json").text)["synthetic"] is True


def test_a_product_is_shown_whole_and_in_place(page, served, tmp_path):
    path = tmp_path / "area.tif"
    product = address_product(700, 1101)
    write_product(open_sink(path, product))
    with served(path) as (address, _):
        page.goto(address)
        page.wait_for_selector("body[data-drawn]", timeout=60_000)
        assert page.is_hidden("#seed-form")
        window = Window.from_size(480, 480, row0=350 - HEIGHT // 2 + 60, col0=551 - WIDTH // 2 + 360)
        absolute = window.shifted(product.extent.row0, product.extent.col0)
        np.testing.assert_array_equal(seen(page), address_pixels(absolute))
