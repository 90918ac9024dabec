"""Style mixing: some images take the w of their upper layers from another plane, everywhere or within an area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from tilegen.fields.latent import LatentField
from tilegen.fields.prior import Prior, Scale
from tilegen.geometry.window import Window
from tilegen.training.config import SamplingConfig

_AREA = Prior(scales=(Scale(name="area", channels=1, sigma_cells=2.0),), content_channels=1)
"""Areas are some cells wide: smaller than a crop, larger than what a single w reaches."""

_SHARPNESS = 4.0
"""Slope of the mask where it passes one half; an area's rim is then about one cell wide."""


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How the w of two planes are mixed, for each image of a batch.

    Args:
        crossovers: first layer that takes the other plane's w; the number of layers for none.
        area_seeds: of the smooth random mask that it is taken within; None for everywhere.
    """

    crossovers: tuple[int, ...]
    area_seeds: tuple[int | None, ...]

    def share(self, start: int, stop: int) -> Mixing:
        """Images [start, stop) of the batch."""
        return Mixing(crossovers=self.crossovers[start:stop], area_seeds=self.area_seeds[start:stop])

    def mixed(
        self,
        w: Float32[Tensor, "batch site_rows site_cols w_dim"],
        other: Float32[Tensor, "batch site_rows site_cols w_dim"],
        sites: Window,
        num_ws: int,
    ) -> Float32[Tensor, "num_ws batch site_rows site_cols w_dim"]:
        """w of every layer: `other` from the crossover on, within the area (StyleGAN, section 3.1, with an area)."""
        masks = self._masks(sites, w.device)
        first = torch.tensor(self.crossovers, device=w.device)
        takes: Int64[Tensor, "num_ws batch"] = torch.arange(num_ws, device=w.device)[:, None] >= first
        return torch.lerp(w, other, takes[..., None, None, None] * masks)

    def _masks(self, sites: Window, device: torch.device) -> Float32[Tensor, "batch site_rows site_cols 1"]:
        seeds = tuple(0 if seed is None else seed for seed in self.area_seeds)
        field = LatentField(prior=_AREA, seeds=seeds).read(sites, device)
        everywhere = torch.tensor([seed is None for seed in self.area_seeds], device=device)
        masks = torch.sigmoid(_SHARPNESS * field).permute(0, 2, 3, 1)
        return torch.where(everywhere[:, None, None, None], 1.0, masks)


def sample_mixing(rng: np.random.Generator, sampling: SamplingConfig, *, count: int, num_ws: int) -> Mixing:
    """Which of `count` images are mixed, and how."""
    in_layers, in_area = rng.random((2, count)) < [[sampling.layer_mixing], [sampling.area_mixing]]
    crossovers = np.where(in_layers, rng.integers(1, num_ws, size=count), np.where(in_area, 0, num_ws))
    seeds = (int(seed) | 1 << 63 for seed in rng.integers(0, 1 << 63, size=count))
    area_seeds = tuple(seed if inside else None for seed, inside in zip(seeds, in_area, strict=True))
    return Mixing(crossovers=tuple(crossovers.tolist()), area_seeds=area_seeds)
