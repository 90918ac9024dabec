"""`tilegen serve`, in processes of its own: it starts, stops, refuses, and holds under a flood."""

import asyncio
import socket
from contextlib import closing, suppress

import httpx
import numpy as np
import psutil
import pytest
import rasterio
from rasterio.windows import from_bounds

from tests.server.conftest import HALF, picture, served
from tilegen.geometry.window import Window
from tilegen.testing.processes import wait_until
from tilegen.testing.sinks import address_product, write_product
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world

NUM_CLIENTS = 200
MERCATOR_18 = 0.5971642834779395


@pytest.fixture(scope="module")
def address(model):
    """A server of the small world, with a small queue and a small cache."""
    with served("--model", model, "--seed", 3, "--max-waiting", 64, "--cache", 8, "--workers", 1) as (address, process):
        yield address, psutil.Process(process.pid)


def test_it_shows_the_world_it_was_asked_for(address, model):
    answer = httpx.get(f"{address[0]}/map/tiles/native/32/{HALF}/{HALF}")
    expected = open_world(str(model), seed=3, device="cpu").read(Window.from_size(256, 256))
    assert (picture(answer.content) == expected).all()
    assert "server" not in answer.headers


def test_the_file_of_a_world_shows_that_world_in_its_place_with_a_command_that_draws_it(run, model, folder):
    world = open_world(str(model), seed=7, crs="EPSG:32611", res=0.76, anchor=(0.3, 0.45), device="cpu")
    world.save(folder / "world.json")
    window = Window.from_size(40, 50, row0=-60, col0=70)
    with served("--model", "world.json", "--device", "cpu") as (url, _):
        tile = picture(httpx.get(f"{url}/map/tiles/native/32/{HALF - 1}/{HALF}").content)
        (folder / "shown.tif").write_bytes(httpx.get(f"{url}/download.tif?row=-60&col=70&rows=40&cols=50").content)
        said = httpx.get(f"{url}/info.json").json()
    np.testing.assert_array_equal(tile, world.read(Window.from_size(256, 256, row0=-256, col0=0)))
    x, y = said["origin"][0] + 70 * said["res"], said["origin"][1] + 60 * said["res"]
    words = [word.format(rows=40, cols=50, x=x, y=y) for word in said["command"]]
    assert run(*words[1:], "--device", "cpu").exit_code == 0
    for name in ("shown.tif", "area.tif"):
        with rasterio.open(folder / name) as tiff:
            np.testing.assert_array_equal(tiff.read(), world.read(window))
            assert tiff.transform.almost_equals(world.georef.transform(window), 1e-9)
            tags = tiff.tags()
            assert (tags["seed"], tags["grid_anchor"]) == ("7", "[0.3, 0.45]")


XYZ_FOR_GDAL = """<GDAL_WMS>
<Service name="TMS"><ServerUrl>{url}/tiles/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
<DataWindow>
<UpperLeftX>-{half}</UpperLeftX><UpperLeftY>{half}</UpperLeftY>
<LowerRightX>{half}</LowerRightX><LowerRightY>-{half}</LowerRightY>
<TileLevel>18</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin>
</DataWindow>
<Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount>
</GDAL_WMS>"""


def test_gdal_finds_the_pixels_of_the_world_in_their_place(model, tmp_path):
    """Through XYZ tiles, as QGIS asks for them."""
    world = open_world(str(model), seed=3, res=MERCATOR_18, device="cpu")
    window = world.window_at(-100.0, 300.0, 300, 400)
    path = tmp_path / "xyz.xml"
    with served("--model", model, "--seed", 3, "--res", MERCATOR_18) as (url, _):
        path.write_text(XYZ_FOR_GDAL.format(url=url, half=20037508.342789244))
        with rasterio.open(path) as tiles:
            place = from_bounds(*world.georef.bounds(window), tiles.transform).round_offsets().round_lengths()
            np.testing.assert_array_equal(tiles.read(window=place), world.read(window))


def test_two_hundred_clients_at_once_are_refused_or_served_and_memory_is_bounded(address):
    """From four addresses of this machine; each client asks for tiles that nobody has asked for."""
    url, process = address
    before = process.memory_info().rss

    async def client(http, number):
        codes = []
        for turn in range(2):
            answer = await http.get(f"/map/tiles/native/32/{HALF + 2 * number}/{HALF + 10 + 2 * turn}?f=webp")
            codes.append(answer.status_code)
        return codes

    async def flood():
        limits = httpx.Limits(max_connections=None)
        clients = [
            httpx.AsyncClient(
                base_url=url,
                timeout=120,
                transport=httpx.AsyncHTTPTransport(local_address=f"127.0.0.{n}", limits=limits),
            )
            for n in (2, 3, 4, 5)
        ]
        results = await asyncio.gather(*(client(clients[n % 4], n) for n in range(NUM_CLIENTS)))
        for http in clients:
            await http.aclose()
        return [code for codes in results for code in codes]

    codes = asyncio.run(flood())
    assert set(codes) <= {200, 429, 503}
    assert codes.count(200) >= 32
    assert codes.count(503) + codes.count(429) > 0
    assert process.memory_info().rss < before + (256 << 20)
    assert httpx.get(f"{url}/info.json").status_code == 200


def test_who_hangs_up_frees_the_place(address):
    """A queue full of requests of clients that have gone is no queue."""
    url, _ = address
    host, port = url.removeprefix("http://").split(":")
    for number in range(64):
        with closing(socket.create_connection((host, int(port)))) as client:
            path = f"/map/tiles/native/29/{(HALF >> 3) + number}/{HALF >> 3}"
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    wait_until(lambda: httpx.get(f"{url}/map/tiles/native/29/5/5?f=webp", timeout=60).status_code == 200)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /page/..\\..\\app.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/info.json HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /info.json HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300000,
        b"GET /info.json HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_no_browser_sends_is_refused(address, raw):
    host, port = address[0].removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=30)) as client:
        head = b""
        with suppress(ConnectionError):  # it may hang up before it was told everything
            client.sendall(raw)
            head = client.recv(1 << 16).split(b"\r\n")[0]
    assert head[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 414", b"HTTP/1.1 421"}
    assert httpx.get(f"{address[0]}/info.json").status_code == 200


def test_a_product_is_served_and_a_signal_ends_it(tmp_path):
    path = tmp_path / "area.zarr"
    write_product(open_sink(path, address_product(300, 300)))
    with served(path) as (url, process):
        assert httpx.get(f"{url}/info.json").json()["kind"] == "product"
        process.terminate()
        assert process.stdout.read() == "Stopped.\n"
        assert process.wait(timeout=30) == 0


def test_it_says_when_others_can_reach_it(model):
    with served("--model", model, "--host", "0.0.0.0") as (_, process):
        assert process.stdout.readline().startswith("Everybody who can reach this machine")


# Refusals before anything is served


def test_a_port_that_is_taken_is_refused(refused, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("serve", "--model", model, "--port", port)
        assert said == f"Cannot listen at 127.0.0.1 port {port}: Address already in use. Give another --port or --host."


def test_a_host_that_is_not_of_this_machine_is_refused(refused, model):
    for host in ("192.0.2.1", "no.such.name.invalid"):
        assert refused("serve", "--model", model, "--host", host).startswith(f"Cannot listen at {host} port 8000: ")


@pytest.mark.parametrize(
    "option", [("--seed", 4), ("--crs", "EPSG:4326"), ("--scale-seed", "region=5"), ("--fixed-seed",)]
)
def test_options_of_a_world_are_refused_beside_a_product(refused, folder, tmp_path, option):
    path = tmp_path / "area.tif"
    write_product(open_sink(path, address_product(20, 20)))
    assert refused("serve", path, *option).startswith(f"{option[0]} is of a world; ")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--seed", -1], "2**64"),
        (["--res", 0], "--res"),
        (["--crs", "EPSG:1"], "Unknown CRS"),
        (["--model", "nothing.safetensors"], "nothing.safetensors"),
    ],
)
def test_a_world_that_there_is_not_is_refused(refused, words, reason):
    assert reason in refused("serve", *words)


def test_what_is_no_product_is_refused(refused, folder):
    (folder / "words.tif").write_text("no picture")
    assert "neither a GeoTIFF nor a Zarr store" in refused("serve", "words.tif")
