"""Mapping network: z to w, at every site on its own."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from tilegen.model.layers import Linear, activated

_EPS = 1e-8
"""Keeps the norm of z from 0 (Karras et al. 2018, section 4.2)."""

_W_AVG_DECAY = 0.995
"""Share of `w_avg` that a step keeps (StyleGAN2-ADA)."""

_LR_MUL = 0.1
"""Learning rate multiplier. StyleGAN has 0.01 for eight layers; the trial used 0.1 for two."""


class MappingNetwork(nn.Module):
    """Normalised MLP applied to each site (StyleGAN, section 2), with the running mean `w_avg`.

    Args:
        z_dim: channels of the latent field.
        w_dim: channels of w.
        num_layers: fully connected layers.
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, num_layers: int) -> None:
        super().__init__()
        widths = [z_dim] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            Linear(c_in, c_out, gain=math.sqrt(2), lr_mul=_LR_MUL) for c_in, c_out in pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self, z: Float32[Tensor, "batch z_dim rows cols"], truncation_psi: float = 1.0
    ) -> Float32[Tensor, "batch rows cols w_dim"]:
        """w at each site, channels last; `truncation_psi` < 1 pulls it towards `w_avg` (StyleGAN, appendix B)."""
        x = z.permute(0, 2, 3, 1)
        x = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + _EPS)
        for layer in self.layers:
            x = activated(layer(x))
        if truncation_psi == 1.0:
            return x
        return torch.lerp(self.w_avg, x, truncation_psi)

    @torch.no_grad()
    def follow(self, mean_w: Float32[Tensor, "w_dim"]) -> None:
        """Move `w_avg` a step towards the mean w of a training batch."""
        self.w_avg.lerp_(mean_w, 1 - _W_AVG_DECAY)
