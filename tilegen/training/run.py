"""A training run from a config: one process, or several that share the batch."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import torch

from tilegen.atomic import explained, locked
from tilegen.config import from_dict, to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.errors import InputError, TrainingError
from tilegen.model.config import GENERATOR_PRESETS, preset_discriminator
from tilegen.training.config import SamplingConfig, TrainConfig
from tilegen.training.critic import Eyes
from tilegen.training.folder import begin_from_model, continue_run, load_config, open_run
from tilegen.training.loop import Schedule, follow, train
from tilegen.training.parallel import join, leave
from tilegen.training.snapshot import Score, resolution_m
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

_GROUP_SIZE = 4
"""Crops that share a minibatch statistic, where the share of a process is a multiple of it (StyleGAN2)."""

_DIED = "A training process died. Run the same command again to resume."

_SAMPLING = {field.name for field in dataclasses.fields(SamplingConfig)}


def configured(
    data: Path,
    *,
    preset: str,
    crop_px: int,
    num_processes: int | None = None,
    device: str = "cpu",
    batch: int = TrainConfig.batch,
    sigma_cells: Mapping[str, float | None] | None = None,
    **options: Any,
) -> TrainConfig:
    """The config of a new run on the packed dataset `data`; `options` are fields of `TrainConfig` or its sampling.

    `sigma_cells` are kernel widths of single scales of the prior, where they are not those of the preset.

    Raises:
        InputError: an unknown preset or a value out of range. DataError: the dataset cannot be used.
    """
    if preset not in GENERATOR_PRESETS:
        raise InputError(f"Unknown preset {preset!r}. Choose one of {', '.join(GENERATOR_PRESETS)}.")
    dataset = _usable(data, crop_px)
    generator = GENERATOR_PRESETS[preset]
    prior = generator.prior.with_sigmas(sigma_cells or {})
    generator = dataclasses.replace(generator, band_names=dataset.band_names, prior=prior)
    places = _places(device)
    num_processes = num_processes or (places if batch % places == 0 else 1)
    config = TrainConfig(
        generator=generator,
        discriminator=preset_discriminator(generator, crop_px, math.gcd(_GROUP_SIZE, max(batch // num_processes, 1))),
        dataset_digest=dataset.digest,
        num_processes=num_processes,
        batch=batch,
    )
    return _with(config, options)


def continued(start: Path, data: Path, **options: Any) -> TrainConfig:
    """The config of the run in `start` going on on the packed dataset `data`, with `options` changed.

    `crop_px` may grow: D then keeps what it knows; see `Discriminator.grow`.

    Raises:
        TrainingError: there is no run. InputError: a value out of range. DataError: the dataset cannot be used.
    """
    if given := {"preset", "sigma_cells"} & set(options):
        raise InputError(f"A run that goes on keeps its generator: give no --{min(given).replace('_', '-')}.")
    config = load_config(start)
    discriminator = config.discriminator.grown(options.pop("crop_px", config.discriminator.crop_px))
    dataset = _usable(data, discriminator.crop_px)
    if dataset.band_names != config.generator.band_names:
        raise InputError(
            f"The run in {start} paints {', '.join(config.generator.band_names)}, the data have "
            f"{', '.join(dataset.band_names)}. Start a new run."
        )
    return _with(config, {"dataset_digest": dataset.digest, "discriminator": discriminator} | options)


def run_training(  # noqa: PLR0913  the parts of one run
    config: TrainConfig,
    data: Path,
    folder: Path,
    schedule: Schedule,
    *,
    start: Path | None = None,
    device: str = "cpu",
    critic: Path | None = None,
    score: Score | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Train in `folder` on the packed dataset `data`, resuming what lies there; see `loop.train`.

    A new run goes on from `start`, if there is one: a run, or a checkpoint, whose generator meets discriminators that
    know nothing yet. Nobody else can train in `folder` meanwhile. `critic` are the weights a critic sees through.

    Several processes with one thread each are faster on CPU cores than one process with several threads. On "cuda",
    process number i takes GPU number i.

    Raises:
        TrainingError: the folder holds another run, a loss is not finite, or a process died.
        OutputError: another process is training there. InputError: fewer GPUs than processes, or no weights for the
            critic; nothing is written then.
    """
    _check_devices(device, config.num_processes)
    _check_critic(config, critic)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if start is not None:
            begin = begin_from_model if start.is_file() else continue_run
            begin(start, folder, config)
        # Before the others start: only this process writes the config of a new run.
        state = _opened(0, config, folder, device)
        dataset = PackedDataset.open(data, split="train")
        eyes = _eyes(config, critic, state.device)
        with _group(config, data, folder, device, critic):
            train(Trainer(state, dataset, eyes=eyes), dataset, folder, schedule, score=score, report=report)


@contextmanager
def _group(config: TrainConfig, data: Path, folder: Path, device: str, critic: Path | None) -> Iterator[None]:
    """The other processes, which take part in every step of this one; each has one thread.

    Raises:
        TrainingError: one of them died.
    """
    threads = torch.get_num_threads()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as shared:
        rendezvous, ready = str(Path(shared) / "rendezvous"), context.Semaphore(0)
        followers = [
            context.Process(
                target=_follow,
                args=(rank, to_dict(config), data, folder, rendezvous, device, critic, ready),
                daemon=True,
            )
            for rank in range(1, config.num_processes)
        ]
        for follower in followers:
            follower.start()
        try:
            torch.set_num_threads(1)
            _await(followers, ready)
            join(0, config.num_processes, rendezvous, torch.device(device))
            yield
            for follower in followers:
                follower.join(timeout=60)
        except TrainingError:
            raise
        except RuntimeError as error:
            if any(follower.exitcode for follower in followers):
                raise TrainingError(_DIED) from error
            raise
        finally:
            leave()
            torch.set_num_threads(threads)
            for follower in followers:
                follower.kill()


def _await(followers: Sequence[BaseProcess], ready: Semaphore) -> None:
    """Wait until each of them is about to join: who joins a process that died waits for minutes, deaf to Ctrl-C.

    Raises:
        TrainingError: one of them died.
    """
    for _ in followers:
        while not ready.acquire(timeout=0.2):
            if any(follower.exitcode is not None for follower in followers):
                raise TrainingError(_DIED)


def _opened(rank: int, config: TrainConfig, folder: Path, device: str) -> TrainState:
    """The state of the run on the device of this process."""
    place = torch.device(device, rank) if device == "cuda" else torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    return open_run(folder, config, place)


def _follow(  # noqa: PLR0913, PLR0917  the parts of one run
    rank: int,
    config: dict[str, Any],
    data: Path,
    folder: Path,
    rendezvous: str,
    device: str,
    critic: Path | None,
    ready: Semaphore,
) -> None:
    """A process that takes its share of each batch and leaves decisions, and sentences, to process 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    run = from_dict(TrainConfig, config)
    state = _opened(rank, run, folder, device)
    dataset = PackedDataset.open(data, split="train")
    eyes = _eyes(run, critic, state.device)
    ready.release()
    join(rank, run.num_processes, rendezvous, state.device)
    with suppress(TrainingError):  # all processes see it in the same step
        follow(Trainer(state, dataset, rank, eyes))
    leave()


def _eyes(config: TrainConfig, path: Path | None, device: torch.device) -> Eyes | None:
    """The network that the critic sees through; None without a critic."""
    if not config.critic_weight:
        return None
    assert path is not None
    dtype = torch.bfloat16 if config.bfloat16 else torch.float32
    return Eyes.open(path, config.critic_digest, config.generator.band_names, device, dtype)


def _check_critic(config: TrainConfig, path: Path | None) -> None:
    if config.critic_weight and path is None:
        raise InputError("This run has a critic: give --features with the weights that it sees through.")


def _check_devices(device: str, num_processes: int) -> None:
    """Pass if each process has a GPU of its own, where they need one.

    Raises:
        InputError: there are fewer.
    """
    if device.startswith("cuda:") and num_processes > 1:
        raise InputError(f"{num_processes} processes do not share one GPU. Give --device cuda, or --processes 1.")
    if device == "cuda" and num_processes > torch.cuda.device_count():
        raise InputError(
            f"{num_processes} processes need as many GPUs, and there are {torch.cuda.device_count()}. "
            f"Give --processes {max(torch.cuda.device_count(), 1)}."
        )


def _places(device: str) -> int:
    """How many processes the device has room for: one per GPU, two on a CPU that has two cores."""
    if device == "cuda":
        return torch.cuda.device_count()
    return min(2, os.cpu_count() or 1) if device == "cpu" else 1


def _usable(data: Path, crop_px: int) -> PackedDataset:
    """The training chips of `data`, if crops of them make a model."""
    dataset = PackedDataset.open(data, split="train")
    dataset.num_positions(crop_px)
    resolution_m(dataset)
    return dataset


def _with(config: TrainConfig, options: dict[str, Any]) -> TrainConfig:
    sampling = dataclasses.replace(
        config.sampling, **{name: value for name, value in options.items() if name in _SAMPLING}
    )
    own = {name: value for name, value in options.items() if name not in _SAMPLING}
    return dataclasses.replace(config, sampling=sampling, **own)
