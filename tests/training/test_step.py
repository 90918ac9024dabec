"""One step: what moves, what is logged, and what stops it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tilegen.data.dataset import PackedDataset
from tilegen.errors import TrainingError
from tilegen.training.batch import sample_batch
from tilegen.training.config import TrainConfig
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

ConfigOf = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def moved(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def trainer_of(config: TrainConfig, texture: Path) -> Trainer:
    return Trainer(TrainState.new(config), PackedDataset.open(texture))


ALWAYS = {"loss_d", "loss_g", "logit_real", "logit_fake", "sign_real", "lattice", "r1"}


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, set()),
        ({"loss": "relativistic"}, {"r2"}),
        ({"path_length_weight": 2.0}, {"path_length", "path_length_penalty"}),
    ],
    ids=["plain", "relativistic", "path length"],
)
def test_a_step_moves_every_weight_of_both_networks(
    texture: Path, config_of: ConfigOf, options: dict, more: set[str]
) -> None:
    """And the mean of w, and the average, which still follows closely."""
    trainer = trainer_of(config_of(bfloat16=False, **options), texture)
    state = trainer.state
    before = {name: weights(getattr(state, name)) for name in ("generator", "discriminator", "average")}
    scalars = trainer.step()
    assert moved(state.generator, before["generator"]) == set(before["generator"])
    assert moved(state.discriminator, before["discriminator"]) == set(before["discriminator"])
    assert moved(state.average, before["average"]) == set(before["average"])
    for kept, new in zip(state.average.parameters(), state.generator.parameters(), strict=True):
        torch.testing.assert_close(kept, new.detach(), rtol=0, atol=1e-5)
    assert state.num_images == 4
    assert set(scalars) == ALWAYS | more


def test_penalties_come_at_their_intervals(texture: Path, config_of: ConfigOf) -> None:
    trainer = trainer_of(config_of(r1_interval=3, path_length_weight=1.0, path_length_interval=2), texture)
    logged = [trainer.step() for _ in range(5)]
    assert ["r1" in scalars for scalars in logged] == [True, False, False, True, False]
    assert ["path_length" in scalars for scalars in logged] == [True, False, True, False, True]


def test_the_mean_path_length_follows_the_lengths(texture: Path, config_of: ConfigOf) -> None:
    """a <- a + 0.01 (length - a), from 0."""
    trainer = trainer_of(config_of(path_length_weight=1.0, path_length_interval=1), texture)
    expected = 0.0
    for _ in range(3):
        length = trainer.step()["path_length"]
        expected += 0.01 * (length - expected)
        assert trainer.state.path_length_mean == pytest.approx(expected, rel=1e-5)


def test_the_same_state_makes_the_same_step(texture: Path, config_of: ConfigOf) -> None:
    """Chance is a function of seed and image count, and of nothing else."""
    one, other = trainer_of(config_of(), texture), trainer_of(config_of(), texture)
    first = one.step()
    torch.manual_seed(99)
    np.random.seed(99)
    assert other.step() == first
    assert moved(one.state.generator, weights(other.state.generator)) == set()
    for config, num_images in ((config_of(seed=1), 0), (config_of(), 4)):
        trainer = trainer_of(config, texture)
        trainer.state.num_images = num_images
        assert trainer.step()["loss_d"] != first["loss_d"]


def test_the_shares_of_all_processes_are_the_batch(texture: Path, config_of: ConfigOf) -> None:
    dataset = PackedDataset.open(texture)
    options = {"batch": 8, "path_length_weight": 1.0}

    def batch(config: TrainConfig, rank: int):
        return sample_batch(config, dataset, num_images=24, augment_p=0.5, rank=rank, device=CPU)

    whole, halves = config_of(**options), config_of(num_processes=2, **options)
    one, parts = batch(whole, 0), [batch(halves, rank) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.real for part in parts]), one.real)
    assert torch.equal(torch.cat([part.path_noise for part in parts]), one.path_noise)
    assert parts[0].planes.seeds + parts[1].planes.seeds == one.planes.seeds
    assert parts[0].others.seeds + parts[1].others.seeds == one.others.seeds
    assert parts[0].mixing.crossovers + parts[1].mixing.crossovers == one.mixing.crossovers
    assert torch.equal(torch.cat([part.on_fake.gain for part in parts]), one.on_fake.gain)
    assert not torch.equal(one.on_fake.gain, one.on_fake_again.gain)


def test_augmentation_becomes_likelier_while_the_discriminator_is_sure(texture: Path, config_of: ConfigOf) -> None:
    """A step of 4 x 4 images of 1 kimg every fourth step, in the direction of the mean sign since the last."""
    trainer = trainer_of(config_of(ada_target=0.5, ada_kimg=1.0), texture)
    expected, signs = 0.0, []
    for step in range(12):
        signs.append(trainer.step()["sign_real"])
        if step % 4 == 3:
            mean = np.mean(signs[-4:])
            expected = min(max(expected + np.sign(mean - 0.5) * 0.016, 0.0), 1.0)
        assert trainer.state.augment_p == pytest.approx(expected)
    off = trainer_of(config_of(ada_target=0.0, ada_kimg=0.001), texture)
    for _ in range(4):
        off.step()
    assert off.state.augment_p == 0


def test_a_discriminator_learns_within_a_few_steps(texture: Path, config_of: ConfigOf) -> None:
    trainer = trainer_of(config_of(r1_interval=4, batch=8), texture)
    scalars = [trainer.step() for _ in range(12)]
    assert all(np.isfinite(list(step.values())).all() for step in scalars)
    losses = [step["loss_d"] for step in scalars]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_loss_that_is_not_finite_stops_the_run(texture: Path, config_of: ConfigOf, network: str) -> None:
    """The count stands, so that nobody takes the state for a good one."""
    trainer = trainer_of(config_of(), texture)
    next(getattr(trainer.state, network).parameters()).data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite after 0 images.*--lr.*the last snapshot is intact"):
        trainer.step()
    assert trainer.state.num_images == 0
    assert all(parameter.isfinite().all() for parameter in trainer.state.average.parameters())
