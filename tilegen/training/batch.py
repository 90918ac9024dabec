"""Batch: everything that chance decides in one step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.data.dataset import PackedDataset
from tilegen.model.pixels import as_image
from tilegen.training.augment import Augmentations, sample_augmentations
from tilegen.training.config import TrainConfig
from tilegen.training.mixing import Mixing, sample_mixing
from tilegen.training.planes import Planes, sample_planes


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One process's share of a step.

    Args:
        real: crops, in [-1, 1]; consecutive groups are of one chip.
        planes: what the fake crops are windows of; consecutive groups are of one world.
        others: planes whose w are mixed in.
        mixing: where and in which layers.
        on_real: augmentations of the real crops.
        on_fake: of the fake crops, when D learns.
        on_fake_again: of the same, when G learns.
        path_noise: N(0, 1) images that path lengths are projected on; None without that penalty.
    """

    real: Float32[Tensor, "share bands crop_px crop_px"]
    planes: Planes
    others: Planes
    mixing: Mixing
    on_real: Augmentations
    on_fake: Augmentations
    on_fake_again: Augmentations
    path_noise: Float32[Tensor, "share bands crop_px crop_px"] | None


def sample_batch(
    config: TrainConfig, dataset: PackedDataset, *, num_images: int, augment_p: float, rank: int, device: torch.device
) -> Batch:
    """The share of process `rank` in the step after `num_images` images: a function of its arguments alone.

    Every process draws the whole batch and keeps its share, so that how many there are changes nothing.
    """
    rng = np.random.default_rng([config.seed, num_images])
    count, crop_px, group_size = config.batch, config.discriminator.crop_px, config.discriminator.group_size
    start, stop = rank * config.share, (rank + 1) * config.share
    prior, num_bands = config.generator.prior, len(config.generator.band_names)
    crops = dataset.crops(rng, crop_px=crop_px, batch=count, per_chip=group_size, dihedral=config.dihedral == "data")
    planes, others = (
        sample_planes(rng, prior, config.sampling, count=count, group_size=group_size, crop_px=crop_px)
        for _ in range(2)
    )
    augmentations = (
        sample_augmentations(
            rng, count, augment_p, num_bands=num_bands, crop_px=crop_px, dihedral=config.dihedral == "ada"
        ).share(rank, config.num_processes)
        for _ in range(3)
    )
    on_real, on_fake, on_fake_again = augmentations
    mixing = sample_mixing(rng, config.sampling, count=count, num_ws=config.generator.num_ws)
    noise = rng.standard_normal((count, num_bands, crop_px, crop_px), np.float32) if config.path_length_weight else None
    return Batch(
        real=as_image(crops[start:stop].to(device)),
        planes=planes.share(start, stop),
        others=others.share(start, stop),
        mixing=mixing.share(start, stop),
        on_real=on_real,
        on_fake=on_fake,
        on_fake_again=on_fake_again,
        path_noise=None if noise is None else torch.from_numpy(noise[start:stop]).to(device),
    )
