"""The noise planes: any window is a crop, each layer has its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.fields.noise import NoiseField
from tilegen.geometry.window import Window
from tilegen.testing.strategies import nested_windows, seeds

CPU = torch.device("cpu")


@given(pair=nested_windows(), seed=seeds(), layer=st.integers(0, 20))
def test_a_window_of_the_noise_is_a_crop_of_any_larger_one(pair: tuple[Window, Window], seed: int, layer: int) -> None:
    """Bit by bit, wherever the window cuts the blocks of eight columns that share a call."""
    inner, outer = pair
    field = NoiseField(seeds=(seed, 5))
    assert torch.equal(field.read(layer, inner, CPU), field.read(layer, outer, CPU)[..., *inner.within(outer)])


def test_noise_is_white_within_a_plane_and_between_layers_and_seeds() -> None:
    """Also between the columns of one block, which come from one call."""
    window = Window.from_size(128, 128, row0=-64, col0=-64)
    planes = [NoiseField(seeds=(seed,)).read(layer, window, CPU)[0, 0] for seed in (0, 1) for layer in (0, 1, 12)]
    planes += [planes[0].roll((rows, cols), (0, 1)) for rows, cols in [(0, 1), (0, 2), (0, 7), (0, 8), (1, 0), (1, 1)]]
    values = torch.stack(planes).flatten(1)
    assert torch.corrcoef(values).fill_diagonal_(0).abs().max().item() < 5 / 128
    assert values.mean().item() == pytest.approx(0, abs=5 / 128)
    assert values.var().item() == pytest.approx(1, abs=5 * 2**0.5 / 128)


def test_noise_does_not_repeat() -> None:
    """No period at the sizes that a narrow counter would wrap at."""
    field, window = NoiseField(seeds=(0,)), Window.from_size(8, 8)
    here = field.read(3, window, CPU)
    for step in (8, 256, 1 << 16, 1 << 31, 1 << 32, 1 << 35, 1 << 40):
        for shift in ((step, 0), (0, step), (-step, 0), (0, -step)):
            assert not torch.equal(field.read(3, window.shifted(*shift), CPU), here)


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=r"from 0 to 2\*\*64 - 1"):
        NoiseField(seeds=(seed,)).read(0, Window.from_size(1, 1), CPU)
