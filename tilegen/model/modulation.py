"""Spatially modulated convolution: StyleGAN2's operator with a style per place instead of a style per image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

DEMODULATION_EPS = 1e-8
"""StyleGAN2, Eq. 3."""


def demodulation(
    weight: Float32[Tensor, "c_out c_in k k"], style: Float32[Tensor, "batch rows cols c_in"]
) -> Float32[Tensor, "batch rows cols c_out"]:
    """d = rsqrt(sum_i s_i**2 sum_k w_oik**2 + eps) at every style site (StyleGAN2, Eq. 3, with s a map).

    Exact where the style is constant over the kernel; within 2 % where it varies over four pixels or more.
    """
    energy = weight.square().sum(dim=(2, 3))
    return torch.rsqrt(F.linear(style.square(), energy) + DEMODULATION_EPS)


def modulated_conv_reference(
    x: Float[Tensor, "batch c_in rows cols"],
    weight: Float[Tensor, "c_out c_in k k"],
    style: Float[Tensor, "batch c_in"],
) -> Float[Tensor, "batch c_out rows_out cols_out"]:
    """The plain twin: one style vector per image, weights modulated and demodulated (StyleGAN2, Eqs. 1 and 3)."""
    modulated = weight[None] * style[:, None, :, None, None]
    norm = torch.rsqrt(modulated.square().sum(dim=(2, 3, 4), keepdim=True) + DEMODULATION_EPS)
    return torch.cat([F.conv2d(x[i : i + 1], (modulated * norm)[i]) for i in range(len(x))])


def weight_gain(weight: Tensor) -> float:
    """1 / sqrt(fan in): keeps raw convolution outputs near 1, demodulation cancels it."""
    return 1 / math.sqrt(weight[0].numel())
