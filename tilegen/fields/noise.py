"""Hashed per-layer noise: fine texture that any worker paints alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.fields.counter import Stream, normal_plane
from tilegen.geometry.window import Window


@runtime_checkable
class Noise(Protocol):
    """What layers read their noise from."""

    def read(self, layer: int, window: Window, device: torch.device) -> Float32[Tensor, "batch 1 rows cols"]:
        """Noise of synthesis layer number `layer` in `window`."""
        ...


@dataclass(frozen=True, kw_only=True)
class NoiseField:
    """White N(0, 1) planes, one per layer and seed, addressed by that layer's own absolute pixels.

    Implements `Noise`.
    """

    seeds: tuple[int, ...]

    def read(self, layer: int, window: Window, device: torch.device) -> Float32[Tensor, "batch 1 rows cols"]:
        """Noise of synthesis layer number `layer` in `window`."""
        return normal_plane(self.seeds, Stream.NOISE, layer, window, device)
