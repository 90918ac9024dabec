"""Between the network's range and pixels: the only place that knows both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, UInt8, UInt16
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
    return EIGHT_BITS.pixels(image)


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """What the pixels of a model are, and what their values mean. A checkpoint has it in its card, as `about.pixels`.

    Args:
        dtype: "uint8" or "uint16".
        scales: factor of each band, and
        offsets: summand of each band: a physical value is scale * pixel + offset. Empty where they mean nothing else.
    """

    dtype: str = "uint8"
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()

    def pixels(self, image: Float32[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"] | UInt16[Tensor, "*shape"]:
        """[-1, 1] to 1 and the largest pixel there is, rounded to nearest and cut; 0 is kept free for nodata.

        Raises:
            CheckpointError: a value is not finite, so the weights are broken.
        """
        broken_unless(bool(image.isfinite().all()))
        return self.rounded(image)

    def rounded(self, image: Float32[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"] | UInt16[Tensor, "*shape"]:
        """`pixels` of an image that is finite, or will turn out not to be."""
        dtype, largest = (torch.uint16, 65535) if self.dtype == "uint16" else (torch.uint8, 255)
        return ((image + 1) * (largest / 2)).round_().clamp_(1, largest).to(dtype)


EIGHT_BITS = Radiometry()
"""That of a model whose card says nothing of it."""


def broken_unless(is_finite: bool) -> None:
    """Raises CheckpointError unless an image was finite."""
    if not is_finite:
        raise CheckpointError("The model paints values that are not finite. Its weights are broken: use another one.")


def radiometry_of(about: Mapping[str, Any], num_bands: int) -> Radiometry:
    """The radiometry in a card; of one that does not say, 8 bits.

    Raises:
        CheckpointError: it makes no sense.
    """
    said = about.get("pixels", {})
    try:
        radiometry = Radiometry(
            dtype=str(said.get("dtype", "uint8")),
            scales=tuple(map(float, said.get("scales", ()))),
            offsets=tuple(map(float, said.get("offsets", ()))),
        )
    except (AttributeError, TypeError, ValueError):
        raise CheckpointError(f"The card says {said!r} of its pixels, which is no dtype, scales and offsets.") from None
    numbers = (*radiometry.scales, *radiometry.offsets)
    lengths = {len(radiometry.scales), len(radiometry.offsets)}
    if (
        radiometry.dtype not in ("uint8", "uint16")
        or lengths not in ({0}, {num_bands})
        or not all(map(math.isfinite, numbers))
    ):
        raise CheckpointError(
            f"The card says {said!r} of its pixels. Give uint8 or uint16, and scales and offsets of {num_bands} bands."
        )
    return radiometry
