"""Copies between this machine's memory and a GPU's that nobody waits for, until the values are wanted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float32, UInt8, UInt16
from torch import Tensor

from tilegen.model.pixels import EIGHT_BITS, Radiometry, broken_unless


def sent(values: Float32[Tensor, "*shape"], device: torch.device) -> Float32[Tensor, "*shape"]:
    """`values` on `device`. The copy to a GPU goes on by itself, from memory that is pinned."""
    if values.device == device or device.type != "cuda":
        return values.to(device)
    # The allocator gives pinned memory to nobody else before the copy is done.
    return values.contiguous().pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """Pixels that a GPU paints and sends; later work of its stream waits for them, this process does not.

    Args:
        pixels: where they will be.
        is_finite: whether the image was finite, likewise.
        done: when they are.
    """

    pixels: UInt8[Tensor, "bands rows cols"] | UInt16[Tensor, "bands rows cols"]
    is_finite: Tensor | None = None
    done: torch.cuda.Event | None = None

    @classmethod
    def of(cls, image: Float32[Tensor, "bands rows cols"], radiometry: Radiometry = EIGHT_BITS) -> Arriving:
        """The pixels of an image in [-1, 1]; on a CPU they are there at once.

        Raises:
            CheckpointError: a value is not finite, as far as that is known at once.
        """
        if not image.is_cuda:
            return cls(pixels=radiometry.pixels(image))
        pixels, is_finite = radiometry.rounded(image), image.isfinite().all()
        return cls(pixels=_called_home(pixels), is_finite=_called_home(is_finite), done=_event(image.device))

    def arrived(self) -> UInt8[Tensor, "bands rows cols"] | UInt16[Tensor, "bands rows cols"]:
        """The pixels, in memory of this machine.

        Raises:
            CheckpointError: a value was not finite, so the weights are broken.
        """
        if self.done is not None:
            self.done.synchronize()
        if self.is_finite is not None:
            broken_unless(bool(self.is_finite))
        return self.pixels


def _called_home(values: Tensor) -> Tensor:
    home = torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=True)
    return home.copy_(values, non_blocking=True)


def _event(device: torch.device) -> torch.cuda.Event:
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event
