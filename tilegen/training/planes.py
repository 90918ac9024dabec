"""Planes: the random fields behind a batch of training windows, drawn so that any process can take its share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.fields.latent import ContentField, LatentField
from tilegen.fields.noise import NoiseField
from tilegen.fields.prior import Prior
from tilegen.geometry.window import Window
from tilegen.training.config import SamplingConfig

_FARTHEST_PX = 1 << 30
"""Training windows lie within this distance of the origin."""

_OCTAVE_STEPS = 4
"""Kernel widths are drawn in quarters of an octave, so that kernels are computed a few times and kept."""

_NARROWEST_CELLS, _WIDEST_CELLS = 0.5, 4096.0
"""What a `Scale` allows."""


@dataclass(frozen=True, kw_only=True)
class Planes:
    """One window of each of many endless planes, all at the same place.

    Args:
        window: of the image, the same for all.
        latents: fields whose planes follow one another along the batch; they differ in their priors.
        content_seeds: one for each plane.
    """

    window: Window
    latents: tuple[LatentField, ...]
    content_seeds: tuple[int, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each plane."""
        return tuple(seed for field in self.latents for seed in field.seeds)

    def share(self, start: int, stop: int) -> Planes:
        """Planes [start, stop) of the batch."""
        fields, first = [], 0
        for field in self.latents:
            cut = slice(max(start - first, 0), max(stop - first, 0))
            first += len(field.seeds)
            if field.seeds[cut]:
                scale_seeds = {name: seeds[cut] for name, seeds in field.scale_seeds.items()}
                fields.append(replace(field, seeds=field.seeds[cut], scale_seeds=scale_seeds))
        return replace(self, latents=tuple(fields), content_seeds=self.content_seeds[start:stop])

    def read_latents(self, sites: Window, device: torch.device) -> Float32[Tensor, "batch channels rows cols"]:
        """z at `sites` of every plane."""
        return torch.cat([field.read(sites, device) for field in self.latents])

    def read_content(self, cells: Window, device: torch.device) -> Float32[Tensor, "batch channels rows cols"]:
        """Content latents at `cells` of every plane."""
        channels = self.latents[0].prior.content_channels
        return ContentField(channels=channels, seeds=self.content_seeds).read(cells, device)

    @property
    def noise(self) -> NoiseField:
        """The noise of every plane."""
        return NoiseField(seeds=self.seeds)


def sample_planes(
    rng: np.random.Generator, prior: Prior, sampling: SamplingConfig, *, count: int, group_size: int, crop_px: int
) -> Planes:
    """`count` fresh planes in groups, at a random place, so at a random phase within its cells.

    The planes of a group have all seeds of their own but those of the shared scales: they are far apart in one world,
    or in one region of it. Seeds of training have their highest bit set: no world that a user is likely to ask for was
    seen in training.
    """
    groups = count // group_size
    seeds = tuple(int(seed) | 1 << 63 for seed in rng.integers(0, 1 << 63, size=count))
    shared = {
        name: tuple(int(seed) | 1 << 63 for seed in rng.integers(0, 1 << 63, size=groups).repeat(group_size))
        for name in sampling.shared_scales
    }
    steps = int(sampling.width_octaves * _OCTAVE_STEPS)
    varying = _scaled(prior, 2.0 ** (int(rng.integers(-steps, steps + 1)) / _OCTAVE_STEPS))
    num_constant = int(rng.binomial(groups, sampling.constant_share)) * group_size
    fields = [
        LatentField(prior=form, seeds=seeds[cut], scale_seeds={name: values[cut] for name, values in shared.items()})
        for form, cut in ((constant(prior), slice(num_constant)), (varying, slice(num_constant, None)))
        if seeds[cut]
    ]
    row0, col0 = (int(start) for start in rng.integers(-_FARTHEST_PX, _FARTHEST_PX, size=2))
    place = (0, 0) if sampling.fixed_input else (row0, col0)
    return Planes(
        window=Window.from_size(crop_px, crop_px, row0=place[0], col0=place[1]),
        latents=tuple(fields),
        content_seeds=(0,) * count if sampling.fixed_input else seeds,
    )


def constant(prior: Prior) -> Prior:
    """The same channels without variation in space: a vector latent."""
    return prior.with_sigmas(dict.fromkeys(scale.name for scale in prior.scales))


def _scaled(prior: Prior, factor: float) -> Prior:
    sigmas = {scale.name: scale.sigma_cells for scale in prior.scales if scale.sigma_cells is not None}
    return prior.with_sigmas(
        {name: min(max(sigma * factor, _NARROWEST_CELLS), _WIDEST_CELLS) for name, sigma in sigmas.items()}
    )
