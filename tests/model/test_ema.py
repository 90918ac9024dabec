"""The moving average of weights in closed form."""

import pytest
import torch
from torch import nn

from tilegen.model.ema import ema_beta, ema_update


@pytest.mark.parametrize("batch", [4, 16, 50])
def test_half_of_the_old_weights_is_left_after_the_half_life(batch: int) -> None:
    beta = ema_beta(batch, num_images=10**9, halflife_kimg=2.0, rampup=0.05)
    assert beta ** (2000 / batch) == pytest.approx(0.5)


def test_the_half_life_is_a_share_of_the_images_at_first() -> None:
    assert ema_beta(16, 3200, halflife_kimg=20.0, rampup=0.05) == pytest.approx(0.5 ** (16 / 160))
    assert ema_beta(16, 0, halflife_kimg=20.0, rampup=0.05) == 0


def test_parameters_move_and_buffers_are_copied() -> None:
    average, network = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(average.weight, 1.0)
    nn.init.constant_(network.weight, 3.0)
    network.running_mean += 5
    ema_update(average, network, 0.75)
    torch.testing.assert_close(average.weight.data, torch.full((2,), 1.5))
    assert torch.equal(average.running_mean, network.running_mean)
    assert network.weight.tolist() == [3.0, 3.0]


def test_many_updates_are_a_geometric_mean_of_the_past() -> None:
    average, network = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(average.weight, 0.0)
    for step in range(10):
        nn.init.constant_(network.weight, float(step))
        ema_update(average, network, 0.9)
    expected = sum(0.1 * 0.9 ** (9 - step) * step for step in range(10))
    assert average.weight.item() == pytest.approx(expected, rel=1e-6)
