"""Residual discriminator of StyleGAN2. It sees crops of one size and may pad: its padding cannot reach the image."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from tilegen.model.config import DiscriminatorConfig
from tilegen.model.layers import Conv, Linear, activated
from tilegen.model.resample import fir

_EPS = 1e-8
"""Under the root of a variance that may be 0, where the gradient of the root has no end."""


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a 1x1 skip, halving the size; both branches scaled by sqrt(0.5) (StyleGAN2, Fig. 7c)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = Conv(c_in, c_in, 3, padding=1, gain=math.sqrt(2))
        # The activation's sqrt(2) and the branch's sqrt(0.5) cancel: the leaky ReLU is homogeneous.
        self.down = Conv(c_in, c_out, 3, stride=2)
        self.skip = Conv(c_in, c_out, 1, gain=math.sqrt(0.5), bias=False)

    def forward(self, x: Float[Tensor, "batch c_in rows cols"]) -> Float[Tensor, "batch c_out rows//2 cols//2"]:
        """Features at half the resolution."""
        skip = self.skip(fir(x, gain=1.0, stride=2, padding=1))
        x = activated(self.conv(x))
        return activated(self.down(fir(x, gain=1.0, padding=2))) + skip

    @torch.no_grad()
    def begin_as_mean(self) -> None:
        """Until it learns, let the block, which has as many channels as it gets, smooth and halve and no more."""
        self.down.weight.zero_()
        self.skip.weight.copy_(torch.eye(len(self.skip.weight))[:, :, None, None] / self.skip.weight_gain)


def minibatch_std(x: Float[Tensor, "batch c rows cols"], group_size: int) -> Float[Tensor, "batch c+1 rows cols"]:
    """Append the mean standard deviation over groups of crops as a channel (Karras et al. 2018, section 3).

    A group is `group_size` consecutive crops, or their greatest common divisor with the batch.
    """
    batch, _, rows, cols = x.shape
    group = math.gcd(group_size, batch)
    grouped = x.float().unflatten(0, (batch // group, group))
    std = (grouped.var(dim=1, unbiased=False) + _EPS).sqrt().mean(dim=(1, 2, 3))
    plane = std.repeat_interleave(group).view(batch, 1, 1, 1).expand(-1, 1, rows, cols)
    return torch.cat([x, plane.to(x.dtype)], dim=1)


class Discriminator(nn.Module):
    """Logits of crops: positive means real.

    Args:
        config: the architecture.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.from_image = Conv(config.num_bands, channels[0], 1, gain=math.sqrt(2))
        self.blocks = nn.ModuleList(DiscriminatorBlock(c_in, c_out) for c_in, c_out in pairwise(channels))
        last = channels[-1]
        self.conv = Conv(last + 1, last, 3, padding=1, gain=math.sqrt(2))
        self.hidden = Linear(last * 4 * 4, last, gain=math.sqrt(2))
        self.out = Linear(last, 1)

    def grow(self, weights: dict[str, Tensor]) -> None:
        """Go on from the weights of a discriminator of smaller crops, of which this one is `DiscriminatorConfig.grown`.

        Its blocks see the same pixels as before, and its head the mean of what it saw: after Karras et al. 2018,
        section 3, but the new blocks lie before the head, so that what is known of edges and materials stays.

        Raises:
            RuntimeError: the weights are of another discriminator.
        """
        for index, block in enumerate(self.blocks):
            if f"blocks.{index}.skip.weight" not in weights:
                cast("DiscriminatorBlock", block).begin_as_mean()
        self.load_state_dict(self.state_dict() | weights)

    def forward(
        self, image: Float32[Tensor, "batch bands crop_px crop_px"], dtype: torch.dtype = torch.float32
    ) -> Float32[Tensor, "batch"]:
        """Logits of images in [-1, 1]; blocks run in `dtype`, the head in float32."""
        x = image.to(dtype, memory_format=torch.channels_last)
        x = activated(self.from_image(x))
        for block in self.blocks:
            x = block(x)
        x = minibatch_std(x.float(), self.config.group_size)
        x = activated(self.hidden(activated(self.conv(x)).flatten(1)))
        return self.out(x).squeeze(1)
