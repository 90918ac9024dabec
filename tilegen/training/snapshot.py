"""A snapshot: the averaged generator as a checkpoint, pictures and scores of it, and last the state to resume from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tilegen.config import to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.errors import DataError
from tilegen.model.checkpoint import RUN_CHECKPOINT, save_generator
from tilegen.model.generator import Generator
from tilegen.model.pixels import as_uint8
from tilegen.training.config import SamplingConfig, TrainConfig
from tilegen.training.folder import STATE
from tilegen.training.monitor import Monitor
from tilegen.training.painter import painted
from tilegen.training.planes import sample_planes
from tilegen.training.sheets import save_render, save_sheet
from tilegen.training.state import TrainState

Paint = Callable[[int], UInt8[Tensor, "count bands crop_px crop_px"]]
"""Paints so many crops of worlds that training never saw; the same ones at every call."""

Score = Callable[[Paint], dict[str, float]]
"""Judges a generator by its crops. The training knows no metrics: the command line hands it one."""

_PAINT_BATCH = 16

_SCORING_SEED = 1 << 32
"""Far from the seeds of steps, which are config.seed and the number of images."""


def save_snapshot(
    state: TrainState,
    dataset: PackedDataset,
    folder: Path,
    monitor: Monitor,
    *,
    render_px: int,
    score: Score | None = None,
) -> dict[str, float]:
    """Write everything that a run leaves; returns the scores."""
    config, kimg = state.config, f"{state.num_images // 1000:06d}"
    dtype = torch.bfloat16 if config.bfloat16 else torch.float32
    save_generator(
        folder / RUN_CHECKPOINT,
        state.average,
        num_images=state.num_images,
        resolution_m=resolution_m(dataset),
        about=_about(state, dataset),
    )
    monitor.image(state.num_images, "sheet", save_sheet(folder / "sheets" / f"{kimg}.png", state.average, dtype))
    if render_px:
        save_render(folder / "renders" / f"{kimg}.png", state.average, side_px=render_px, dtype=dtype)
    scores = {} if score is None else score(lambda count: paint(state.average, config, count))
    if scores:
        monitor.scalars(state.num_images, state.seconds, {f"score/{name}": value for name, value in scores.items()})
    state.save(folder / STATE)
    return scores


@torch.no_grad()
def paint(
    generator: Generator, config: TrainConfig, count: int, *, seed: int = 0
) -> UInt8[Tensor, "count bands crop_px crop_px"]:
    """`count` crops by `generator` as a user would get them, without the variations that only training draws."""
    sampling = SamplingConfig(
        shared_scales=(), constant_share=0.0, width_octaves=0.0, fixed_input=config.sampling.fixed_input
    )
    rng = np.random.default_rng([seed, _SCORING_SEED])
    crop_px, prior = config.discriminator.crop_px, config.generator.prior
    dtype = torch.bfloat16 if config.bfloat16 else torch.float32
    crops = []
    for start in range(0, count, _PAINT_BATCH):
        num = min(_PAINT_BATCH, count - start)
        planes = sample_planes(rng, prior, sampling, count=num, group_size=1, crop_px=crop_px)
        crops.append(as_uint8(painted(generator, planes, dtype)).cpu())
    return torch.cat(crops)


def resolution_m(dataset: PackedDataset) -> float:
    """Ground size of a pixel of the dataset, metres.

    Raises:
        DataError: the dataset does not know it, so neither would the model.
    """
    if dataset.card.resolution_m is None:
        raise DataError("The dataset does not know its ground size. Pack it again with --resolution-m.")
    return dataset.card.resolution_m


def _about(state: TrainState, dataset: PackedDataset) -> dict[str, object]:
    """What the card of the checkpoint says beside the architecture."""
    card = dataset.card
    return {
        "data": list(card.sources),
        "licence": card.licence,
        "attribution": card.attribution,
        "stretches": [to_dict(stretch) for stretch in card.stretches],
        "train": to_dict(state.config),
        "train_before": list(state.history),
        "train_seconds": round(state.seconds),
    }
