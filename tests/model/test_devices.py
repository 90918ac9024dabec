"""The contract of the endless image on a GPU, in float32."""

import pytest
import torch
from torch import Tensor

from tilegen.geometry.window import Window
from tilegen.model.arithmetic import fixed_arithmetic
from tilegen.model.checkpoint import load_generator, resolve_checkpoint
from tilegen.model.generator import Generator
from tilegen.model.pixels import as_uint8
from tilegen.testing.strategies import FAR_PX

TOLERANCE = 1e-5
"""Of the image's standard deviation; E1."""

PLACES = [(0, 0), (-77, 1001), (-FAR_PX - 5, FAR_PX)]


@pytest.fixture(scope="module")
def bundled() -> Generator:
    return load_generator(resolve_checkpoint("default"))[0]


def rendered(generator: Generator, window: Window, device: str) -> Tensor:
    """As a world renders: with the arithmetic pinned."""
    with fixed_arithmetic(torch.device(device)):
        return generator.to(device)((7,), window)[0].cpu()


def steps_apart(one: Tensor, other: Tensor) -> int:
    """Largest difference in code values."""
    return int((as_uint8(one).int() - as_uint8(other).int()).abs().max())


@pytest.mark.gpu
@pytest.mark.parametrize("place", PLACES)
def test_a_tile_on_a_gpu_is_a_crop_of_the_whole(bundled: Generator, place: tuple[int, int]) -> None:
    inner = Window.from_size(31, 29, row0=place[0], col0=place[1])
    outer = Window.from_size(75, 70, row0=place[0] - 19, col0=place[1] - 23)
    tile, whole = rendered(bundled, inner, "cuda"), rendered(bundled, outer, "cuda")
    crop = whole[:, *inner.within(outer)]
    assert (tile - crop).abs().max().item() <= TOLERANCE * whole.std().item()
    assert steps_apart(tile, crop) <= 1


@pytest.mark.gpu
def test_a_tile_on_a_gpu_is_the_same_bytes_again(bundled: Generator) -> None:
    window = Window.from_size(96, 96, row0=-40)
    assert torch.equal(rendered(bundled, window, "cuda"), rendered(bundled, window, "cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("place", PLACES)
def test_a_gpu_draws_the_world_of_the_cpu(bundled: Generator, place: tuple[int, int]) -> None:
    """To one code value: their sums round differently (ADR 0005)."""
    window = Window.from_size(96, 64, row0=place[0], col0=place[1])
    assert steps_apart(rendered(bundled, window, "cpu"), rendered(bundled, window, "cuda")) <= 1
