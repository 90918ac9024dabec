"""Worlds: the front door of the library."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings

import tilegen
from tilegen.errors import CheckpointError, InputError
from tilegen.geometry.window import Window
from tilegen.renderer import TILE_PX
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.testing.sinks import reference_levels
from tilegen.testing.strategies import FAR_PX, nested_windows
from tilegen.tiling.render import RendererSource, TileRenderer
from tilegen.world import World, open_world


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights: small, and any weights will do here."""
    path = tmp_path_factory.mktemp("world") / "nano.safetensors"
    save_random_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def world(model: Path) -> World:
    return open_world(str(model), seed=7, crs="EPSG:32611", device="cpu")


# Pixels


@given(pair=nested_windows(max_side=40))
@example(pair=(Window.from_size(3, 4, row0=-2, col0=510), Window.from_size(8, 9, row0=-4, col0=507)))
@settings(max_examples=2)
def test_any_window_is_a_crop_of_any_larger_one(world: World, pair: tuple[Window, Window]) -> None:
    """Byte by byte, across the corners of tiles too."""
    inner, outer = pair
    np.testing.assert_array_equal(world.read(inner), world.read(outer)[:, *inner.within(outer)])


def test_pixels_are_bytes_that_leave_nodata_free(world: World) -> None:
    pixels = world.read(Window.from_size(64, 48, row0=-32, col0=FAR_PX))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 64, 48))
    assert pixels.min() >= 1
    assert pixels.std() > 20


def test_a_tile_is_near_what_one_pass_over_any_window_gives(world: World) -> None:
    """At most one code value, from rounding; and then rarely."""
    window = Window.from_size(61, 83, row0=201, col0=-300)
    difference = np.abs(world.read(window).astype(int) - world.renderer.render_alone(window))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_the_number_of_threads_changes_no_byte(world: World) -> None:
    """E2. Up to five pixels of this tile change by one where torch is left to use two threads."""
    tile, before = Window.from_size(TILE_PX, TILE_PX, row0=-TILE_PX), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(world.renderer.render_tile(tile))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_fresh_process_paints_the_same_bytes(world: World) -> None:
    """Nothing but the config decides: not what was rendered before, nor anybody's random state."""
    torch.manual_seed(1)
    again = pickle.loads(pickle.dumps(world.config)).open()
    tile = Window.from_size(TILE_PX, TILE_PX)
    np.testing.assert_array_equal(again.render_tile(tile), world.renderer.render_tile(tile))


def test_seeds_and_truncation_make_other_worlds(model: Path) -> None:
    window = Window.from_size(32, 32)
    worlds = [
        open_world(str(model), seed=seed, truncation_psi=psi, device="cpu").read(window).astype(int)
        for seed, psi in ((0, 1.0), (1, 1.0), (2**64 - 1, 1.0), (0, 0.5))
    ]
    for number, one in enumerate(worlds):
        for other in worlds[number + 1 :]:
            assert np.abs(one - other).mean() > 3


def test_a_world_fills_the_seams(world: World) -> None:
    assert isinstance(world.config, RendererSource)
    assert isinstance(world.renderer, TileRenderer)
    assert world.renderer.lattice.tile(0, 0) == Window.from_size(TILE_PX, TILE_PX)
    assert world.renderer.halo_plan()["rgb3"] == Window.from_size(TILE_PX, TILE_PX)
    assert world.renderer.tile_bytes() > 16 * 4 * TILE_PX**2


# On the ground


def test_an_xarray_holds_the_same_pixels_and_knows_where_it_lies(world: World) -> None:
    window = world.window_at(-12.0, 30.0, 40, 50)
    assert world.georef.bounds(window) == (-12.0, 10.0, 13.0, 30.0)  # 0.5 m, as the card says
    lazy = world.to_xarray(window, chunk_px=30)
    assert lazy.rio.crs.to_epsg() == 32611
    assert lazy.rio.bounds() == (-12.0, 10.0, 13.0, 30.0)
    assert lazy.rio.nodata == 0
    corner = lazy[:, :5, :5].compute(scheduler="synchronous")
    np.testing.assert_array_equal(corner, world.read(Window.from_size(5, 5, row0=window.row0, col0=window.col0)))


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray 0.19 with affine 3
def test_an_xarray_from_afar_is_what_an_overview_of_the_same_ground_holds(world: World) -> None:
    """Bounds grow to whole coarse pixels, on a grid that is the world's."""
    lazy = world.to_xarray(bounds=(-12.2, 10, 13, 30.1), res=2.0)
    assert lazy.rio.bounds() == (-14.0, 10.0, 14.0, 32.0)
    whole = Window(row0=-64, row1=-20, col0=-28, col1=28)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), reference_levels(world.read(whole), 3)[2])
    assert lazy.attrs["model_digest"] == world.card.digest
    assert (lazy.attrs["synthetic"], lazy.attrs["seed"]) == ("true", "7")


def test_building_an_xarray_loads_no_weights(model: Path, tmp_path: Path) -> None:
    """The checkpoint may be gone by then."""
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(model.read_bytes())
    fresh = open_world(str(copy), device="cpu")
    copy.unlink()
    lazy = fresh.to_xarray(Window.from_size(3000, 3000, row0=-1500))
    assert lazy.shape == (3, 3000, 3000)
    with pytest.raises(CheckpointError, match="copy"):
        lazy[:, :1, :1].compute(scheduler="synchronous")


def test_the_resolution_is_that_of_the_training_imagery(model: Path) -> None:
    metres, degrees = (open_world(str(model), crs=crs).georef for crs in ("EPSG:32611", "EPSG:4326"))
    assert metres.res == 0.5
    assert degrees.res == pytest.approx(0.5 / 111_195, rel=1e-4)
    assert open_world(str(model), res=2.0).georef.res == 2.0


def test_a_window_off_the_globe_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="not on the globe"):
        open_world(str(model), crs="EPSG:4326", res=0.1).window_at(175.0, 0.0, 10, 100)


# What is refused


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seed": -1}, "whole number from 0"),
        ({"seed": 2**64}, "whole number from 0"),
        ({"scale_seeds": {"world": -1}}, "whole number from 0"),
        ({"scale_seeds": {"climate": 1}}, "no scale 'climate'. This prior has world, region, district, local"),
        ({"truncation_psi": -0.1}, "truncation_psi goes from 0 to 2"),
        ({"truncation_psi": float("nan")}, "truncation_psi goes from 0 to 2"),
        ({"dtype": "float16"}, "Choose float32 or bfloat16"),
        ({"device": "tpu"}, "Choose auto, cpu, cuda"),
        ({"device": "meta"}, "Choose auto, cpu, cuda"),
        ({"device": ""}, "Choose auto, cpu, cuda"),
        ({"crs": "mars"}, "Unknown CRS"),
        ({"res": 0.0}, "--res must be"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(model: Path, options: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        open_world(str(model), **options)


def test_a_model_that_is_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match="No model 'nonesuch'"):
        open_world("nonesuch")


def test_a_model_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """A worker must not paint with other weights than its world was made with."""
    path = tmp_path / "model.safetensors"
    save_random_checkpoint(path, seed=0)
    world = open_world(str(path), device="cpu")
    save_random_checkpoint(path, seed=1)
    with pytest.raises(CheckpointError, match="other weights than this world"):
        world.read(Window.from_size(1, 1))


def test_a_machine_without_the_file_takes_the_default_weights_or_says_which_are_missing(tmp_path: Path) -> None:
    """A worker of a cluster may have tilegen elsewhere; other weights than its own it must be given."""
    config = open_world(device="cpu").config
    elsewhere = dataclasses.replace(config, model=str(tmp_path / "elsewhere.safetensors"))
    tile = Window.from_size(TILE_PX, TILE_PX)
    np.testing.assert_array_equal(elsewhere.open().render_tile(tile), config.open().render_tile(tile))
    save_random_checkpoint(path := tmp_path / "own.safetensors")
    own = open_world(str(path), device="cpu").config
    path.unlink()
    with pytest.raises(CheckpointError, match=rf" has no {path} \(digest {own.digest[:12]}\.\.\.\)\. Put the check"):
        own.open()


def test_a_world_that_a_cluster_draws_may_want_what_is_not_here(model: Path) -> None:
    assert open_world(str(model), device="cuda", drawn_here=False).config.device == "cuda"
    with pytest.raises(InputError, match="Unknown device 'tpu'"):
        open_world(str(model), device="tpu", drawn_here=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    assert open_world(str(model)).config.device == "cpu"
    with pytest.raises(InputError, match="There is no CUDA device"):
        open_world(str(model), device="cuda")


# What it says of itself


def test_a_product_says_what_made_it(world: World) -> None:
    product = world.product(Window.from_size(100, 200), chunk_px=16, shard_px=64)
    assert product.band_names == ("red", "green", "blue")
    made = product.provenance
    assert made["synthetic"] is True
    assert (made["seed"], made["model_digest"], made["tile_px"]) == (7, world.card.digest, TILE_PX)
    assert (made["device"], made["dtype"], made["truncation_psi"]) == ("cpu", "float32", 1.0)
    assert made["rng_version"] == "philox4x32-10/normal16/1"
    assert [scale["name"] for scale in made["prior"]["scales"]] == ["world", "region", "district", "local"]


def test_a_world_can_take_one_scale_from_another(model: Path) -> None:
    """Another region is another image; all scales with the seed of the world itself are the world itself."""
    window = Window.from_size(32, 32)
    names = ("world", "region", "district", "local")
    own, mixed, far = (
        open_world(str(model), seed=4, scale_seeds=scale_seeds, device="cpu")
        for scale_seeds in ({}, {"region": 5}, dict.fromkeys(names, 4))
    )
    assert (own.read(window) != mixed.read(window)).mean() > 0.1
    np.testing.assert_array_equal(own.read(window), far.read(window))
    assert mixed.provenance()["scale_seeds"] == {"region": 5}
    assert "scale_seeds" not in own.provenance()


def test_other_pixels_have_another_fingerprint(model: Path, world: World) -> None:
    extent = Window.from_size(64, 64)
    others = [
        {"seed": 8},
        {"scale_seeds": {"region": 8}},
        {"truncation_psi": 0.9},
        {"dtype": "bfloat16"},
        {"res": 0.25},
        {"crs": "EPSG:32612"},
    ]
    options = {"seed": 7, "crs": "EPSG:32611", "device": "cpu"}
    prints = {open_world(str(model), **options | other).product(extent).fingerprint for other in ({}, *others)}
    assert len(prints) == len(others) + 1
    assert world.product(extent).fingerprint in prints


def test_a_world_introduces_itself(world: World) -> None:
    assert repr(world) == f"World(seed=7, model=nano {world.card.digest[:12]}, 0.5 metre per pixel in EPSG:32611)"


# The front door


def test_the_front_door_names_what_there_is() -> None:
    assert set(dir(tilegen)) == {"Window", "World", "__version__", "open_world"} == set(tilegen.__all__)
    assert (tilegen.Window, tilegen.World, tilegen.open_world) == (Window, World, open_world)
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = tilegen.nonesuch


def test_the_example_of_the_front_door_works() -> None:
    """As a user would type it, in a fresh process, with the bundled model."""
    code = (
        "import tilegen\n"
        "world = tilegen.open_world(seed=7, device='cpu')\n"
        "pixels = world.read(tilegen.Window.from_size(8, 8, row0=-4))\n"
        "print(pixels.shape, pixels.dtype, pixels.min() > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(3, 8, 8) uint8 True\n"
