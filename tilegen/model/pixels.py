"""Between the network's range and 8-bit pixels: the only place that knows both."""

from __future__ import annotations

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from tilegen.errors import CheckpointError


def as_image(pixels: UInt8[Tensor, "*shape"]) -> Float32[Tensor, "*shape"]:
    """0..255 to [-1, 1]."""
    return pixels.float() / 127.5 - 1


def as_uint8(image: Float32[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """[-1, 1] to 1..255, rounded to nearest and cut; 0 is kept free for nodata.

    Raises:
        CheckpointError: a value is not finite, so the weights are broken.
    """
    broken_unless(bool(image.isfinite().all()))
    return rounded(image)


def rounded(image: Float32[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """`as_uint8` of an image that is finite, or will turn out not to be."""
    return ((image + 1) * 127.5).round_().clamp_(1, 255).to(torch.uint8)


def broken_unless(is_finite: bool) -> None:
    """Raises CheckpointError unless an image was finite."""
    if not is_finite:
        raise CheckpointError("The model paints values that are not finite. Its weights are broken: use another one.")
