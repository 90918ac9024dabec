"""The compiled engine is the reference with other rounding, and as exact a tiler as that."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tilegen
from tilegen.errors import InputError
from tilegen.fields.noise import NoiseField
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import load_generator, resolve_checkpoint
from tilegen.model.config import GENERATOR_PRESETS, GeneratorConfig
from tilegen.model.engine import chosen_engine, open_engine
from tilegen.model.fused import can_fuse
from tilegen.model.generator import Generator
from tilegen.testing.checkpoints import NANO, random_generator, save_random_checkpoint
from tilegen.testing.strategies import FAR_PX, nested_windows, seeds

pytestmark = pytest.mark.skipif(not can_fuse(NANO), reason="tilegen was installed without a C++ compiler")

FLOAT32_TOLERANCE = 1e-5
"""Of the image's standard deviation. Measured: at most 7e-6 of the presets with random weights."""

TRAINED_TOLERANCE = 2e-5
"""The same of the bundled model, whose layers amplify rounding more. Measured: 1.3e-5."""

BROAD = replace(NANO, channels=(48, 32, 32, 16, 16), band_names=("coastal", "blue", "green", "red", "nir"))


def painted(generator: Generator, engine: str, seed: int, window: Window, dtype: torch.dtype = torch.float32) -> Tensor:
    with torch.no_grad():
        return open_engine(engine, generator, dtype)(generator.inputs((seed,), window))[0]


def codes(image: Tensor) -> Tensor:
    return ((image + 1) * 127.5).round().clamp(1, 255)


def assert_same_but_for_rounding(one: Tensor, other: Tensor, std: float, tolerance: float = FLOAT32_TOLERANCE) -> None:
    assert (one - other).abs().max().item() <= tolerance * std
    assert (codes(one) - codes(other)).abs().max().item() <= 1


@pytest.mark.parametrize("config", [NANO, BROAD, GENERATOR_PRESETS["tiny"]], ids=["nano", "five bands", "tiny"])
@given(data=st.data())
@settings(max_examples=12)
def test_compiled_is_eager_but_for_rounding(config: GeneratorConfig, data: st.DataObject) -> None:
    generator, seed = random_generator(config), data.draw(seeds())
    _, window = data.draw(nested_windows(max_side=70))
    std = painted(generator, "eager", seed, Window.from_size(96, 96)).std().item()
    eager, compiled = (painted(generator, engine, seed, window) for engine in ("eager", "compiled"))
    assert_same_but_for_rounding(eager, compiled, std)


def test_compiled_is_eager_on_the_bundled_model() -> None:
    generator, _ = load_generator(resolve_checkpoint("default"))
    window = Window.from_size(180, 220, row0=FAR_PX + 5, col0=-77)
    eager, compiled = (painted(generator, engine, 3, window) for engine in ("eager", "compiled"))
    assert_same_but_for_rounding(eager, compiled, eager.std().item(), TRAINED_TOLERANCE)


@given(pair=nested_windows(max_side=80), seed=seeds())
@settings(max_examples=15)
def test_a_compiled_tile_is_a_crop_of_the_whole(pair: tuple[Window, Window], seed: int) -> None:
    inner, outer = pair
    generator = random_generator()
    std = painted(generator, "compiled", seed, Window.from_size(96, 96)).std().item()
    crop = painted(generator, "compiled", seed, outer)[:, *inner.within(outer)]
    assert_same_but_for_rounding(painted(generator, "compiled", seed, inner), crop, std)


def test_in_bfloat16_compiled_rounds_less_than_eager() -> None:
    """It keeps float32 between convolutions: its mean error is at most that of bfloat16 throughout."""
    generator, _ = load_generator(resolve_checkpoint("default"))
    window = Window.from_size(256, 256)
    exact = painted(generator, "eager", 0, window)
    eager, compiled = (
        (painted(generator, engine, 0, window, torch.bfloat16) - exact).square().mean().sqrt().item()
        for engine in ("eager", "compiled")
    )
    assert compiled < eager
    assert compiled * 127.5 < 1.5  # of a code value


def test_the_same_window_gives_the_same_bits() -> None:
    generator, window = random_generator(), Window.from_size(64, 64)
    first, second = (painted(generator, "compiled", 1, window) for _ in range(2))
    assert torch.equal(first, second)


def test_the_comparison_notices_other_noise() -> None:
    generator, window = random_generator(), Window.from_size(40, 40)
    inputs = generator.inputs((0,), window)
    with torch.no_grad():
        faulty = open_engine("compiled", generator, torch.float32)(replace(inputs, noise=NoiseField(seeds=(1,))))[0]
    eager = painted(generator, "eager", 0, window)
    with pytest.raises(AssertionError):
        assert_same_but_for_rounding(eager, faulty, eager.std().item())


# Choice


def test_auto_is_compiled_on_a_cpu() -> None:
    assert chosen_engine("auto", "cpu", NANO) == "compiled"
    assert chosen_engine("auto", "cuda", NANO) == "eager"


def test_widths_that_do_not_fit_are_painted_by_torch() -> None:
    narrow = replace(NANO, channels=(32, 24, 16, 16))
    assert chosen_engine("auto", "cpu", narrow) == "eager"
    with pytest.raises(InputError, match="channels in sixteens"):
        chosen_engine("compiled", "cpu", narrow)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InputError, match="Choose auto, compiled or eager"):
        chosen_engine("turbo", "cpu", NANO)


def test_without_compiled_kernels_everything_works_all_the_same(tmp_path: Path) -> None:
    """As after an installation without a compiler; the bytes are those of the eager engine."""
    package = Path(tilegen.__file__).parent
    shutil.copytree(package, tmp_path / "tilegen", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    save_random_checkpoint(tmp_path / "nano.safetensors")
    script = (
        "from tilegen import open_world\n"
        "from tilegen.geometry.window import Window\n"
        "world = open_world('nano.safetensors', device='cpu', engine={!r})\n"
        "print(world.config.engine, hash(world.read(Window.from_size(40, 50)).tobytes()))\n"
    )

    def run(engine: str, path: Path) -> str:
        environment = os.environ | {"PYTHONPATH": str(path), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", script.format(engine)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout.decode()

    assert run("auto", tmp_path) == run("eager", package.parent)
