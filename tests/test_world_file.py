"""Files that say which world: the same world again, and nothing else gets in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegen
from tilegen.errors import CheckpointError, InputError, OutputError
from tilegen.geometry.window import Window
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.world import World, open_world
from tilegen.world_file import is_world_file, read_world_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a model, and a place for files beside it."""
    (tmp_path / "models").mkdir()
    save_random_checkpoint(tmp_path / "models" / "nano.safetensors")
    return tmp_path


@pytest.fixture
def world(folder: Path) -> World:
    return open_world(
        str(folder / "models" / "nano.safetensors"),
        seed=2**64 - 1,
        scale_seeds={"region": 5, "local": 0},
        crs="EPSG:32611",
        res=0.25,
        truncation_psi=0.7,
        dtype="bfloat16",
        device="cpu",
    )


def change(path: Path, **changes: Any) -> None:
    """Alter what a file says; None takes the key away."""
    said = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))


def test_a_world_comes_back_from_its_file(world: World, folder: Path) -> None:
    world.save(folder / "world.json", window=Window.from_size(30, 40, row0=-(2**40)))
    again = tilegen.open_world(str(folder / "world.json"), device="cpu")
    assert (again.config, again.georef) == (world.config, world.georef)
    window = Window.from_size(9, 9, row0=-4)
    np.testing.assert_array_equal(again.read(window), world.read(window))
    assert read_world_file(folder / "world.json").window == Window.from_size(30, 40, row0=-(2**40))


def test_file_and_model_move_together(world: World, folder: Path) -> None:
    """As long as they keep their distance; the file names no place of this machine."""
    world.save(folder / "world.json")
    assert str(folder) not in (folder / "world.json").read_text()
    folder.rename(moved := folder.with_name("moved"))
    again = open_world(str(moved / "world.json"), device="cpu")
    assert again.config.model == str(moved / "models" / "nano.safetensors")
    assert again.config.digest == world.config.digest


def test_the_default_model_is_called_by_its_name(tmp_path: Path) -> None:
    open_world(seed=3, device="cpu").save(tmp_path / "world.json")
    assert json.loads((tmp_path / "world.json").read_text())["model"] == "default"
    assert open_world(str(tmp_path / "world.json"), device="cpu").config == open_world(seed=3, device="cpu").config


def test_device_and_engine_are_for_the_opener_to_choose(world: World, folder: Path) -> None:
    world.save(folder / "world.json")
    opened = open_world(str(folder / "world.json"), device="cuda", engine="eager", drawn_here=False).config
    assert (opened.device, opened.engine) == ("cuda", "eager")


@pytest.mark.parametrize(
    ("options", "named"), [({"seed": 8}, "seed"), ({"crs": "EPSG:4326", "res": 1.0}, "crs and res")], ids=str
)
def test_what_the_file_says_is_not_said_again(world: World, folder: Path, options: dict, named: str) -> None:
    world.save(folder / "world.json")
    with pytest.raises(InputError, match=rf"says which world it is\. Leave out {named}, or open its model instead\."):
        open_world(str(folder / "world.json"), **options)


def test_a_file_is_kept_unless_asked(world: World, folder: Path) -> None:
    path = folder / "world.json"
    world.save(path)
    with pytest.raises(OutputError, match=r"exists\. Give another name or overwrite=True\."):
        world.save(path)
    world.save(path, window=Window.from_size(1, 1), overwrite=True)
    assert read_world_file(path).window is not None
    path.write_text('{"type": "FeatureCollection"}')
    with pytest.raises(OutputError, match=r"does not describe a world\. It will not be overwritten"):
        world.save(path, overwrite=True)
    with pytest.raises(InputError, match=r"ends in \.json"):
        world.save(folder / "world.yaml")
    with pytest.raises(OutputError, match="Cannot write"):
        world.save(folder / "nowhere" / "world.json")
    assert sorted(entry.name for entry in folder.iterdir()) == ["models", "world.json"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "something else"}, "does not describe a world of tilegen"),
        ({"version": 2}, "has version 2; this tilegen reads 1"),
        ({"version": None}, "has version None"),
        ({"command": "rm -rf"}, "Not a valid WorldFile: .*command"),
        ({"seed": None}, 'Not a valid WorldFile: .*"seed"'),
        ({"seed": "7"}, 'Not a valid WorldFile: .*"seed"'),
        ({"seed": 7.5}, 'Not a valid WorldFile: .*"seed"'),
        ({"seed": -1}, "whole number from 0"),
        ({"scale_seeds": {"climate": 1}}, "no scale 'climate'"),
        ({"truncation_psi": 3.0}, "truncation_psi goes from 0 to 2"),
        ({"res": float("nan")}, "must be finite numbers"),
        ({"anchor": [0.0, float("inf")]}, "must be finite numbers"),
        ({"crs": "mars"}, "Unknown CRS"),
        ({"window": {"row0": 5, "col0": 0, "row1": 5, "col1": 9}}, "at least one row"),
        ({"window": {"row0": 0, "col0": 0, "row1": 5, "col1": 9, "z": 1}}, "Not a valid WorldFile"),
        ({"rng_version": "mt19937"}, "wants random numbers mt19937, and this tilegen has philox"),
    ],
    ids=str,
)
def test_nonsense_is_refused_in_one_sentence(world: World, folder: Path, changes: dict, said: str) -> None:
    world.save(path := folder / "world.json")
    change(path, **changes)
    with pytest.raises(InputError, match=said) as refusal:
        open_world(str(path), device="cpu")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\x89PNG", b"[" * 100_000, b" " * (2 << 20), b'{"kind": 1}'], ids=lambda c: c[:9]
)
def test_what_is_no_such_file_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "world.json"
    path.write_bytes(content)
    assert not is_world_file(path)
    with pytest.raises(InputError, match=r"describes? a world"):
        open_world(str(path))


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert not is_world_file(tmp_path / "world.json")
    assert not is_world_file(tmp_path)
    with pytest.raises(InputError, match=r"Cannot read .*world\.json: No such file"):
        open_world(str(tmp_path / "world.json"))


def test_whole_numbers_are_numbers(world: World, folder: Path) -> None:
    """As people write them by hand, and as other tools write JSON."""
    world.save(path := folder / "world.json")
    change(path, res=1, truncation_psi=1)
    assert open_world(str(path), device="cpu").georef.res == 1.0


def test_another_model_in_the_place_of_the_first_is_refused(world: World, folder: Path) -> None:
    world.save(path := folder / "world.json")
    save_random_checkpoint(folder / "models" / "nano.safetensors", seed=1)
    with pytest.raises(CheckpointError, match=r"describes a world of the model \w{12}, and .* is \w{12}\."):
        open_world(str(path), device="cpu")
    (folder / "models" / "nano.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"needs the model .*nano\.safetensors \(digest \w{12}\), which is not"):
        open_world(str(path), device="cpu")
    (folder / "models" / "nano.safetensors").write_bytes(b"import os")
    with pytest.raises(CheckpointError, match="not a tilegen checkpoint"):
        open_world(str(path), device="cpu")
