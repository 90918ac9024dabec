"""The latent prior: which groups of latent channels vary over which distance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tilegen.errors import InputError

SITES_PER_CELL = 2
"""Latents and styles live on a grid twice as dense as the cells, so that no lattice of cells prints through."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A group of latent channels with one correlation length.

    Args:
        name: world, region, district, local.
        channels: number of latent channels of this scale.
        sigma_cells: standard deviation of its Gaussian kernel, in cells; None for one vector per world.
            The autocorrelation at distance d is exp(-d**2 / (4 sigma**2)), so it falls to 1/e at 2 sigma.
    """

    name: str
    channels: int
    sigma_cells: float | None

    def __post_init__(self) -> None:
        if self.channels < 1 or (self.sigma_cells is not None and not 0.5 <= self.sigma_cells <= 4096):
            raise InputError(f"Scale {self.name!r} needs channels >= 1 and sigma_cells from 0.5 to 4096, got {self}.")


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Distribution of the latent field: independent scales, every site exactly N(0, I).

    Args:
        scales: slowest first; their channels are concatenated in this order.
        content_channels: channels of the white content latent, one vector per cell, that feeds level 0.
    """

    scales: tuple[Scale, ...]
    content_channels: int

    @property
    def channels(self) -> int:
        """Latent channels of all scales together, the z of the mapping network."""
        return sum(scale.channels for scale in self.scales)

    def with_sigmas(self, sigmas: Mapping[str, float | None]) -> Prior:
        """The same channels with other kernel widths, in cells, for the scales that are named.

        Raises:
            InputError: there is no such scale, or its width is out of range.
        """
        self.check_scales(sigmas)
        scales = (replace(scale, sigma_cells=sigmas.get(scale.name, scale.sigma_cells)) for scale in self.scales)
        return replace(self, scales=tuple(scales))

    def check_scales(self, names: Iterable[str]) -> None:
        """Raises InputError if one of `names` is no scale of this prior."""
        known = [scale.name for scale in self.scales]
        for name in names:
            if name not in known:
                raise InputError(f"There is no scale {name!r}. This prior has {', '.join(known)}.")


def default_prior(z_dim: int, content_channels: int) -> Prior:
    """Four scales in the shares of the trial: 1/8 world, 1/4 region (16 cells), 1/4 district (4), 3/8 local (1)."""
    eighth = z_dim // 8
    return Prior(
        scales=(
            Scale(name="world", channels=eighth, sigma_cells=None),
            Scale(name="region", channels=2 * eighth, sigma_cells=16.0),
            Scale(name="district", channels=2 * eighth, sigma_cells=4.0),
            Scale(name="local", channels=z_dim - 5 * eighth, sigma_cells=1.0),
        ),
        content_channels=content_channels,
    )
