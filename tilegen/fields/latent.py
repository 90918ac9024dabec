"""The correlated latent field: Gaussian, of unit variance at every site, stationary within the kernels' truncation."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.errors import InputError
from tilegen.fields import kernels
from tilegen.fields.counter import Stream, check_seed, normal_grid, normal_vectors, plain_normal_grid
from tilegen.fields.prior import SITES_PER_CELL, Prior, Scale
from tilegen.geometry.window import Window

_REACH_SIGMAS = 3.0
"""Kernels end at three standard deviations. RNG_VERSION freezes this and the spacing of nodes: they decide values."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One-dimensional moving average that turns white nodes into correlated sites.

    Nodes lie `spacing` sites apart, at the centre of each block of `spacing` sites. The weights of every phase of a
    site against the nodes have unit L2 norm, so the variance is exactly 1 between nodes too (no interpolation dip).
    tilegen's own; the Gaussian moving average is science of the field (e.g. Matern 1986, process convolution).
    """

    spacing: int
    reach: int
    weights: tuple[tuple[float, ...], ...]  # [spacing phases][2 * reach + 1 taps], float32 values

    @classmethod
    def gaussian(cls, sigma_sites: float) -> Kernel:
        """Kernel of standard deviation `sigma_sites`; nodes at most sigma / 2 apart, or at every site."""
        spacing = max(1, 1 << math.floor(math.log2(max(sigma_sites / 2, 1))))
        reach = math.ceil(_REACH_SIGMAS * sigma_sites / spacing)
        rows = []
        for phase in range(spacing):
            offset = phase - (spacing - 1) / 2
            taps = [math.exp(-0.5 * ((k * spacing - offset) / sigma_sites) ** 2) for k in range(-reach, reach + 1)]
            norm = math.sqrt(math.fsum(tap * tap for tap in taps))
            rows.append(tuple(tap / norm for tap in taps))
        return cls(spacing=spacing, reach=reach, weights=tuple(rows))

    def nodes(self, sites: Window) -> Window:
        """The nodes that `sites` read."""
        return Window(
            row0=sites.row0 // self.spacing - self.reach,
            col0=sites.col0 // self.spacing - self.reach,
            row1=(sites.row1 - 1) // self.spacing + self.reach + 1,
            col1=(sites.col1 - 1) // self.spacing + self.reach + 1,
        )


@functools.lru_cache(maxsize=64)
def scale_kernel(sigma_cells: float) -> Kernel:
    """The kernel of a scale on the site grid."""
    return Kernel.gaussian(sigma_cells * SITES_PER_CELL)


def _filtered(
    nodes: Float32[Tensor, "batch channels _ _"], kernel: Kernel, start: int, stop: int, dim: int
) -> Float32[Tensor, "batch channels _ _"]:
    """Sites [start, stop) from nodes along `dim`, rows (2) or columns (3).

    Taps are added one by one in a fixed order: elementwise products and sums round the same way in every window and
    on every device, which a matrix product does not promise.
    """
    sites = torch.arange(start, stop, dtype=torch.int64, device=nodes.device)
    first = sites // kernel.spacing - start // kernel.spacing
    weights = torch.tensor(kernel.weights, dtype=torch.float32, device=nodes.device)[sites % kernel.spacing]
    weights = weights if dim == 3 else weights[:, None]  # [sites, taps] or [sites, 1, taps]
    # With a node at each site, what a tap reads is a view and no copy.
    reads = (
        nodes.narrow(dim, tap, len(sites)) if kernel.spacing == 1 else nodes.index_select(dim, first + tap)
        for tap in range(2 * kernel.reach + 1)
    )
    total = next(reads) * weights[..., 0]
    for tap, read in enumerate(reads, start=1):
        total = total + read * weights[..., tap]
    return total


def plain_correlated(
    seeds: Sequence[int], part: int, channels: int, kernel: Kernel, sites: Window, device: torch.device
) -> Float32[Tensor, "batch channels rows cols"]:
    """One scale of the latent at `sites` in torch: the twin of the kernels, and what other devices use."""
    nodes = plain_normal_grid(seeds, Stream.LATENT, part, channels, kernel.nodes(sites), device)
    along_cols = _filtered(nodes, kernel, sites.col0, sites.col1, dim=3)
    return _filtered(along_cols, kernel, sites.row0, sites.row1, dim=2)


def compiled_correlated(
    seeds: Sequence[int], part: int, channels: int, kernel: Kernel, sites: Window, _: torch.device
) -> Float32[Tensor, "batch channels rows cols"]:
    """`plain_correlated` on the CPU, the same bits."""
    weights, nodes = _weights(kernel), kernel.nodes(sites)
    white = (normal_vectors(seed, Stream.LATENT, part, channels, nodes) for seed in seeds)
    fields = [kernels.filtered(vectors, weights, sites) for vectors in white]
    return torch.stack(fields).movedim(-1, 1)[:, :channels]


@functools.lru_cache(maxsize=64)
def _weights(kernel: Kernel) -> Float32[Tensor, "phases taps"]:
    with torch.inference_mode(False):
        return torch.tensor(kernel.weights, dtype=torch.float32)


@dataclass(frozen=True, kw_only=True)
class LatentField:
    """Endless grid of latent vectors z: value = f(seed, scale, channel, absolute site), nothing else.

    Args:
        prior: the scales.
        seeds: one seed per batch element; a world has one, a training batch many.
        scale_seeds: seeds of single scales that do not follow `seeds`, by the name of the scale.

    Raises:
        InputError: a seed is out of range, there is no such scale, or it has not as many seeds as the others.
    """

    prior: Prior
    seeds: tuple[int, ...]
    scale_seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prior.check_scales(self.scale_seeds)
        for name, seeds in self.scale_seeds.items():
            if len(seeds) != len(self.seeds):
                raise InputError(f"Scale {name!r} has {len(seeds)} seeds for {len(self.seeds)} fields.")
        for seed in (*self.seeds, *(seed for seeds in self.scale_seeds.values() for seed in seeds)):
            check_seed(seed)

    def read(self, sites: Window, device: torch.device) -> Float32[Tensor, "batch channels rows cols"]:
        """Latents at `sites` (absolute indices of the site grid, two per cell); every value is N(0, 1)."""
        parts = [self._read_scale(part, scale, sites, device) for part, scale in enumerate(self.prior.scales)]
        return torch.cat(parts, dim=1)

    def _read_scale(self, part: int, scale: Scale, sites: Window, device: torch.device) -> Tensor:
        seeds = self.scale_seeds.get(scale.name, self.seeds)
        if scale.sigma_cells is None:
            vector = normal_grid(seeds, Stream.LATENT, part, scale.channels, Window.from_size(1, 1), device)
            return vector.expand(-1, -1, *sites.shape)
        correlated = compiled_correlated if kernels.available(device) else plain_correlated
        return correlated(seeds, part, scale.channels, scale_kernel(scale.sigma_cells), sites, device)


@dataclass(frozen=True, kw_only=True)
class ContentField:
    """White N(0, 1) vectors, one per cell: the seed of structure that level 0 starts from."""

    channels: int
    seeds: Sequence[int]

    def read(self, cells: Window, device: torch.device) -> Float32[Tensor, "batch channels rows cols"]:
        """Content latents at absolute `cells`."""
        return normal_grid(self.seeds, Stream.CONTENT, 0, self.channels, cells, device)
