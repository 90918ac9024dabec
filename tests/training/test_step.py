"""One step: what is drawn, what moves, and what stops it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tilegen.data.dataset import PackedDataset
from tilegen.errors import TrainingError
from tilegen.training.config import TrainConfig
from tilegen.training.state import TrainState
from tilegen.training.step import as_image, sample_worlds, train_step

ConfigOf = Callable[..., TrainConfig]


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def moved(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def test_bytes_become_images_from_minus_one_to_one() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    image = as_image(levels)
    assert (image.min().item(), image.max().item()) == (-1, 1)
    assert torch.equal(((image + 1) * 127.5).round().to(torch.uint8), levels)


def test_worlds_of_training_are_none_that_a_user_asks_for() -> None:
    """Their seeds have the highest bit; their windows lie at any phase, on all sides of the origin."""
    rng = np.random.default_rng(0)
    drawn = [sample_worlds(rng, 4, 32) for _ in range(200)]
    seeds = {seed for some, _ in drawn for seed in some}
    assert len(seeds) == 800
    assert all(1 << 63 <= seed < 1 << 64 for seed in seeds)
    windows = [window for _, window in drawn]
    assert {window.shape for window in windows} == {(32, 32)}
    assert {(w.row0 % 4, w.col0 % 4) for w in windows} == {(row, col) for row in range(4) for col in range(4)}
    assert min(w.row0 for w in windows) < 0 < max(w.row0 for w in windows)


def test_a_step_moves_every_weight_of_both_networks(texture: Path, config_of: ConfigOf) -> None:
    """And the mean of w, and the average, which still follows closely."""
    state = TrainState.new(config_of(bfloat16=False))
    before = {name: weights(getattr(state, name)) for name in ("generator", "discriminator", "average")}
    scalars = train_step(state, PackedDataset.open(texture), rank=0)
    assert moved(state.generator, before["generator"]) == set(before["generator"])
    assert moved(state.discriminator, before["discriminator"]) == set(before["discriminator"])
    assert moved(state.average, before["average"]) == set(before["average"])
    for kept, new in zip(state.average.parameters(), state.generator.parameters(), strict=True):
        torch.testing.assert_close(kept, new.detach(), rtol=0, atol=1e-5)
    assert state.num_images == 4
    assert set(scalars) == {"loss_d", "loss_g", "logit_real", "logit_fake", "sign_real", "r1"}


def test_the_penalty_comes_at_its_interval(texture: Path, config_of: ConfigOf) -> None:
    state, dataset = TrainState.new(config_of(r1_interval=3)), PackedDataset.open(texture)
    assert ["r1" in train_step(state, dataset, rank=0) for _ in range(5)] == [True, False, False, True, False]


def test_the_same_state_makes_the_same_step(texture: Path, config_of: ConfigOf) -> None:
    """Chance is a function of seed, image count and rank, and of nothing else."""
    dataset = PackedDataset.open(texture)
    one, other = TrainState.new(config_of()), TrainState.new(config_of())
    first = train_step(one, dataset, rank=0)
    torch.manual_seed(99)
    np.random.seed(99)
    assert train_step(other, dataset, rank=0) == first
    assert moved(one.generator, weights(other.generator)) == set()
    others = [(config_of(seed=1), 0, 0), (config_of(), 4, 0), (config_of(), 0, 1)]
    for config, num_images, rank in others:
        state = TrainState.new(config)
        state.num_images = num_images
        assert train_step(state, dataset, rank=rank)["loss_d"] != first["loss_d"]


def test_a_discriminator_learns_within_a_few_steps(texture: Path, config_of: ConfigOf) -> None:
    state, dataset = TrainState.new(config_of(r1_interval=4, batch=8)), PackedDataset.open(texture)
    scalars = [train_step(state, dataset, rank=0) for _ in range(12)]
    assert all(np.isfinite(list(step.values())).all() for step in scalars)
    losses = [step["loss_d"] for step in scalars]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_loss_that_is_not_finite_stops_the_run(texture: Path, config_of: ConfigOf, network: str) -> None:
    """The count stands, so that nobody takes the state for a good one."""
    state = TrainState.new(config_of())
    next(getattr(state, network).parameters()).data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite after 0 images.*--lr.*the last snapshot is intact"):
        train_step(state, PackedDataset.open(texture), rank=0)
    assert state.num_images == 0
    assert all(parameter.isfinite().all() for parameter in state.average.parameters())
