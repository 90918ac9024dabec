"""Equalised layers: weights are stored as N(0, 1) and scaled when used (Karras et al. 2018, section 4.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LEAKY_SLOPE = 0.2
"""Slope of the leaky ReLU for negative inputs (StyleGAN2)."""


def activated(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Leaky ReLU of slope 0.2. Its usual gain of sqrt(2) is folded into what comes before: it is homogeneous."""
    return F.leaky_relu(x, LEAKY_SLOPE)


def normal_parameter(*shape: int, std: float) -> nn.Parameter:
    """A parameter that starts at N(0, std)."""
    values = torch.empty(shape)
    if not values.is_meta:  # where checkpoints are checked, and arithmetic would load torch's compiler (2 s)
        values.normal_(0.0, std)
    return nn.Parameter(values)


class Linear(nn.Module):
    """Equalised fully connected layer on the last axis: of w, of styles, of anything kept channels last.

    Args:
        gain: factor on the output (sqrt(2) before an activation).
        lr_mul: learning rate multiplier (StyleGAN uses 0.01 in the mapping network).
        bias_init: start value of the bias.
    """

    def __init__(
        self, c_in: int, c_out: int, *, gain: float = 1.0, lr_mul: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = normal_parameter(c_out, c_in, std=1 / lr_mul)
        self.bias = nn.Parameter(torch.full((c_out,), bias_init / lr_mul))
        self.weight_gain = gain * lr_mul / math.sqrt(c_in)
        self.bias_gain = gain * lr_mul

    def forward(self, x: Float[Tensor, "*shape c_in"]) -> Float[Tensor, "*shape c_out"]:
        """x W^T + b."""
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class Conv(nn.Module):
    """Equalised k x k convolution; `padding` pixels of zeros are used in the discriminator only.

    Args:
        gain: factor on the output (sqrt(2) before an activation).
        bias: whether there is one, starting at 0.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        k: int,
        *,
        padding: int = 0,
        stride: int = 1,
        gain: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, k, k))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        self.padding, self.stride = padding, stride
        self.weight_gain = gain / math.sqrt(c_in * k * k)
        self.bias_gain = gain

    def forward(self, x: Float[Tensor, "batch c_in rows cols"]) -> Float[Tensor, "batch c_out rows_out cols_out"]:
        """Convolve in the dtype of `x`."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.bias_gain).to(x.dtype)
        return F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)
