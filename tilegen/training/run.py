"""A training run from a config: one process, or several that share the batch."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tilegen.config import from_dict, to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.errors import InputError, TrainingError
from tilegen.model.config import GENERATOR_PRESETS, preset_discriminator
from tilegen.training.config import TrainConfig
from tilegen.training.loop import Schedule, open_run, resolution_m, train
from tilegen.training.parallel import join, leave


def configured(data: Path, *, preset: str, crop_px: int, num_processes: int | None, **options: Any) -> TrainConfig:
    """The config of a run on the packed dataset `data`; `options` are other fields of `TrainConfig`.

    Raises:
        InputError: an unknown preset or a value out of range. DataError: the dataset cannot be used.
    """
    if preset not in GENERATOR_PRESETS:
        raise InputError(f"Unknown preset {preset!r}. Choose one of {', '.join(GENERATOR_PRESETS)}.")
    dataset = PackedDataset.open(data, split="train")
    dataset.num_positions(crop_px)
    resolution_m(dataset)
    generator = GENERATOR_PRESETS[preset]
    if dataset.num_bands != len(generator.band_names):
        names = tuple(f"band {i + 1}" for i in range(dataset.num_bands))
        generator = dataclasses.replace(generator, band_names=names)
    return TrainConfig(
        generator=generator,
        discriminator=preset_discriminator(generator, crop_px),
        dataset_digest=dataset.digest,
        num_processes=num_processes or min(2, os.cpu_count() or 1),
        **options,
    )


def run_training(
    config: TrainConfig, data: Path, folder: Path, schedule: Schedule, report: Callable[[str], None] = print
) -> None:
    """Train in `folder` on the packed dataset `data`, resuming what lies there; see `loop.train`.

    Several processes with one thread each are faster on CPU cores than one process with several threads.

    Raises:
        TrainingError: the folder holds another run, a loss is not finite, or a process died.
    """
    dataset = PackedDataset.open(data, split="train")
    state = open_run(folder, config)
    with tempfile.TemporaryDirectory() as shared:
        rendezvous = str(Path(shared) / "rendezvous")
        context = multiprocessing.get_context("spawn")
        followers = [
            context.Process(
                target=_follow, args=(rank, to_dict(config), data, folder, schedule, rendezvous), daemon=True
            )
            for rank in range(1, config.num_processes)
        ]
        for follower in followers:
            follower.start()
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            join(0, config.num_processes, rendezvous)
            train(state, dataset, folder, schedule, report=report)
            for follower in followers:
                follower.join(timeout=60)
        except RuntimeError as error:
            if any(follower.exitcode for follower in followers):
                raise TrainingError("A training process died. Run the same command again to resume.") from error
            raise
        finally:
            leave()
            torch.set_num_threads(threads)
            for follower in followers:
                follower.kill()


def _follow(rank: int, config: dict, data: Path, folder: Path, schedule: Schedule, rendezvous: str) -> None:  # type: ignore[type-arg]
    """A process that takes its share of each batch and leaves decisions to process 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    run = from_dict(TrainConfig, config)
    join(rank, run.num_processes, rendezvous)
    train(open_run(folder, run), PackedDataset.open(data, split="train"), folder, schedule, rank=rank)
    leave()
