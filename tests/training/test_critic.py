"""The critic: what it sees, what it learns, and that a run with one is as exact as a run without."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tilegen.data.dataset import PackedDataset
from tilegen.errors import InputError, TilegenError, TrainingError
from tilegen.model.checkpoint import save_generator
from tilegen.squeezenet import read_squeezenet
from tilegen.testing.squeezenets import random_squeezenet
from tilegen.training.config import TrainConfig
from tilegen.training.critic import Critic, CriticHeads, Eyes
from tilegen.training.folder import begin_from_model
from tilegen.training.loop import Schedule
from tilegen.training.loss import GAMES
from tilegen.training.run import continued, run_training
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

ConfigOf = Callable[..., TrainConfig]
CPU, RGB = torch.device("cpu"), ("red", "green", "blue")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    np.savez(path, **random_squeezenet())
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are small: threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def with_critic(config_of: ConfigOf, weights: Path) -> ConfigOf:
    """The config of a run with a critic."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return lambda **options: config_of(**{"critic_weight": 1.0, "critic_digest": digest} | options)


def eyes_of(weights: Path, bands: tuple[str, ...] = RGB, dtype: torch.dtype = torch.float32) -> Eyes:
    return Eyes(read_squeezenet(weights)[1], bands, CPU, dtype)


def crops(seed: int, num: int = 4, bands: int = 3) -> torch.Tensor:
    return torch.rand(num, bands, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def trained(folder: Path, config: TrainConfig, texture: Path, weights: Path | None, *, kimg: float, **more) -> Path:
    schedule = Schedule(kimg=kimg, render_px=0)
    run_training(config, texture, folder, schedule, critic=weights, report=lambda line: None, **more)
    return folder / "state.safetensors"


def differing(one: Path, other: Path) -> list[str]:
    tensors, others = load_file(one), load_file(other)
    assert set(tensors) == set(others)
    return [name for name, tensor in tensors.items() if not torch.equal(tensor, others[name])]


def test_eyes_see_fire4_and_fire8_of_the_crop_at_twice_its_size(weights: Path) -> None:
    """Against the plain network; of bands in any order it sees red, green and blue."""
    image, network = crops(0, bands=4), read_squeezenet(weights)[1]
    pixels = F.interpolate((image[:, [2, 1, 0]] + 1) / 2, size=(64, 64), mode="bilinear", align_corners=False)
    seen = eyes_of(weights, ("blue", "green", "red", "nir"))(image)
    for features, layer, rms in zip(seen, (5, 10), (200, 44), strict=True):
        torch.testing.assert_close(features, network[: layer + 1](pixels) / rms, rtol=1e-4, atol=1e-5)


def test_a_step_is_the_game_on_the_logits_of_the_heads(weights: Path) -> None:
    """D's loss before its update, G's after it, with a gradient that reaches the fake crops and no weight."""
    heads, game = CriticHeads(), GAMES["relativistic"]
    critic = Critic(eyes_of(weights), heads, torch.optim.SGD(heads.parameters(), lr=1e-3), game)
    real, fake = crops(1), crops(2).requires_grad_(True)
    before = [parameter.detach().clone() for parameter in heads.parameters()]

    def plain() -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(heads(eyes_of(weights)(images)).flatten() for images in (real, fake))

    with torch.no_grad():
        expected = game.discriminator_loss(*plain())
    scalars = critic.step(real, fake)
    torch.testing.assert_close(scalars["critic_loss_d"].detach(), expected)
    torch.testing.assert_close(scalars["critic_loss_g"], game.generator_loss(*plain()))
    assert all(not torch.equal(old, new) for old, new in zip(before, heads.parameters(), strict=True))
    gradients = [parameter.grad.clone() for parameter in heads.parameters()]
    scalars["critic_loss_g"].backward()
    assert bool((fake.grad.abs().amax(dim=(1, 2, 3)) > 0).all())
    assert all(torch.equal(old, new.grad) for old, new in zip(gradients, heads.parameters(), strict=True))


def test_heads_learn_within_a_few_steps(weights: Path) -> None:
    """Noise against smooth crops."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        heads = CriticHeads()
    adam = torch.optim.Adam(heads.parameters(), lr=0.01, betas=(0.0, 0.99))
    critic = Critic(eyes_of(weights), heads, adam, GAMES["logistic"])
    for step in range(14):
        scalars = critic.step(crops(step), F.avg_pool2d(crops(step + 100), 5, 1, 2))
    assert scalars["critic_loss_d"].item() < 0.7 < scalars["critic_loss_g"].item()


def test_g_learns_from_the_critic(texture: Path, with_critic: ConfigOf, weights: Path) -> None:
    """One step with and without its weight moves G differently, and D alike."""
    states = []
    for weight in (1.0, 1e-6):
        state = TrainState.new(with_critic(critic_weight=weight, bfloat16=False))
        Trainer(state, PackedDataset.open(texture), eyes=eyes_of(weights)).step()
        states.append(state)
    one, other = states
    for name, tensor in one.discriminator.state_dict().items():
        assert torch.equal(tensor, other.discriminator.state_dict()[name])
    torch.testing.assert_close(one.critic.state_dict(), other.critic.state_dict())
    moved = [
        not torch.equal(a, b) for a, b in zip(one.generator.parameters(), other.generator.parameters(), strict=True)
    ]
    assert sum(moved) > len(moved) / 2


def test_a_run_with_a_critic_resumes_bit_by_bit(
    texture: Path, with_critic: ConfigOf, weights: Path, tmp_path: Path
) -> None:
    config = with_critic()
    straight = trained(tmp_path / "straight", config, texture, weights, kimg=0.012)
    for kimg in (0.004, 0.012):
        resumed = trained(tmp_path / "resumed", config, texture, weights, kimg=kimg)
    assert differing(straight, resumed) == []
    assert {"critic", "adam_critic"} < {name.partition(".")[0] for name in load_file(straight)}


def test_two_processes_with_a_critic_do_what_one_does(
    texture: Path, with_critic: ConfigOf, weights: Path, tmp_path: Path
) -> None:
    """The gradients of the heads, as first moments at beta1 = 0; those of G tell of theirs."""
    options = {"batch": 8, "bfloat16": False, "lr": 1e-4}
    one, two = (
        load_file(trained(tmp_path / f"{num}", with_critic(num_processes=num, **options), texture, weights, kimg=0.016))
        for num in (1, 2)
    )
    assert set(one) == set(two)
    for name, tensor in one.items():
        if name.endswith("exp_avg"):
            scale = max(tensor.abs().max().item(), 1e-3)
            torch.testing.assert_close(two[name] / scale, tensor / scale, rtol=0, atol=2e-3, msg=name)


def test_a_run_goes_on_with_a_critic_that_it_had_not(
    texture: Path, config_of: ConfigOf, with_critic: ConfigOf, weights: Path, tmp_path: Path
) -> None:
    """Its networks are carried over, and the heads begin."""
    before = load_file(trained(tmp_path / "old", config_of(), texture, None, kimg=0.004))
    config = continued(tmp_path / "old", texture, critic_weight=1.0, critic_digest=with_critic().critic_digest)
    after = trained(tmp_path / "new", config, texture, weights, kimg=0.004, start=tmp_path / "old")
    tensors = load_file(after)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in before.items())
    fresh = TrainState.new(config).critic.state_dict()
    assert all(torch.equal(tensors[f"critic.{name}"], tensor) for name, tensor in fresh.items())


def test_a_run_begins_with_the_generator_of_a_checkpoint(texture: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    config, other = config_of(seed=1), TrainState.new(config_of(seed=2))
    save_generator(tmp_path / "model.safetensors", other.average, num_images=7000, resolution_m=0.5, about={})
    (tmp_path / "run").mkdir()
    begin_from_model(tmp_path / "model.safetensors", tmp_path / "run", config)
    state = TrainState.load(tmp_path / "run" / "state.safetensors")
    for name, tensor in other.average.state_dict().items():
        assert torch.equal(state.generator.state_dict()[name], tensor.half().float())
    fresh = TrainState.new(config).discriminator.state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in state.discriminator.state_dict().items())
    assert (state.num_images, state.history[0]["after_num_images"]) == (0, 7000)
    wider = config_of(preset="mini")
    with pytest.raises(TrainingError, match="another network than this run"):
        trained(tmp_path / "wider", wider, texture, None, kimg=1.0, start=tmp_path / "model.safetensors")


def test_what_a_critic_needs_is_asked_for(
    texture: Path, config_of: ConfigOf, with_critic: ConfigOf, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, **random_squeezenet() | {"more": np.zeros(1)})
    cases = [
        (lambda: config_of(critic_weight=1.0), InputError, "give --features with its weights"),
        (lambda: config_of(critic_weight=-1.0), InputError, "not negative"),
        (lambda: trained(tmp_path / "a", with_critic(), texture, None, kimg=1.0), InputError, "give --features"),
        (
            lambda: trained(tmp_path / "b", with_critic(), texture, other, kimg=1.0),
            TrainingError,
            "is not the weight file that this run began with",
        ),
    ]
    for attempt, kind, sentence in cases:
        with pytest.raises(TilegenError, match=sentence) as refused:
            attempt()
        assert refused.type is kind
