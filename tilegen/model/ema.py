"""Exponential moving average of weights: the network that is shipped."""

from __future__ import annotations

import torch
from torch import nn

_SHORTEST_HALFLIFE = 1e-8
"""In images, so that the very first step copies the network instead of dividing by 0."""


def ema_beta(batch: int, num_images: int, halflife_kimg: float, rampup: float) -> float:
    """0.5 ** (batch / half-life), the half-life at most `rampup` of the images seen (StyleGAN2-ADA, training loop)."""
    halflife = min(halflife_kimg * 1000, num_images * rampup)
    return 0.5 ** (batch / max(halflife, _SHORTEST_HALFLIFE))


@torch.no_grad()
def ema_update(average: nn.Module, network: nn.Module, beta: float) -> None:
    """Move the parameters of `average` towards those of `network`; copy the buffers."""
    for parameter, new in zip(average.parameters(), network.parameters(), strict=True):
        parameter.lerp_(new, 1 - beta)
    for buffer, new_buffer in zip(average.buffers(), network.buffers(), strict=True):
        buffer.copy_(new_buffer)
