"""Generator: fields and a window in, an image out. The same function trains and renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from tilegen.fields.latent import ContentField, LatentField
from tilegen.fields.noise import Noise, NoiseField
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.window import Window
from tilegen.model.config import GeneratorConfig
from tilegen.model.copies import sent
from tilegen.model.mapping import MappingNetwork
from tilegen.model.synthesis import SynthesisNetwork, synthesis_layers

_LIVE_BUFFERS = 6
"""Tensors of a layer's size that exist at once: input, style map, convolution, filter, demodulation, result."""


@dataclass(frozen=True, kw_only=True)
class SynthesisInputs:
    """What the synthesis network paints one window from.

    Args:
        w: one vector per site, the same for all layers.
        content: the white latent of every cell.
        noise: read by each layer.
        plan: the window of every layer.
    """

    w: Float32[Tensor, "batch site_rows site_cols w_dim"]
    content: Float32[Tensor, "batch c_content cell_rows cell_cols"]
    noise: Noise
    plan: HaloPlan


class Generator(nn.Module):
    """StyleGAN2 with style maps on an endless plane (design: docs/architecture.md).

    Args:
        config: the architecture.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = synthesis_layers(config.top_level)
        self.mapping = MappingNetwork(config.prior.channels, config.w_dim, config.mapping_layers)
        self.synthesis = SynthesisNetwork(config)

    def plan(self, window: Window) -> HaloPlan:
        """The window of every layer for the image `window`."""
        return HaloPlan.for_window(window, self.layers)

    def activation_bytes(self, window: Window, dtype: torch.dtype) -> int:
        """Peak memory of rendering `window`, in bytes: the widest layer with its style map and temporaries."""
        plan = self.plan(window)
        elements = [
            channels * plan[f"conv{level}"].height * plan[f"conv{level}"].width
            for level, channels in enumerate(self.config.channels)
        ]
        return _LIVE_BUFFERS * max(elements) * dtype.itemsize

    def forward(
        self,
        seeds: tuple[int, ...],
        window: Window,
        *,
        scale_seeds: Mapping[str, tuple[int, ...]] | None = None,
        truncation_psi: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> Float32[Tensor, "batch bands rows cols"]:
        """The pixels of `window` in the worlds of `seeds`, nominally in [-1, 1]; a crop of the endless image.

        Args:
            seeds, window, scale_seeds, truncation_psi: see `inputs`.
            dtype: of the convolutions.
        """
        inputs = self.inputs(seeds, window, scale_seeds=scale_seeds, truncation_psi=truncation_psi)
        return self.synthesis(self.for_all_layers(inputs.w), inputs.content, inputs.noise, inputs.plan, dtype)

    def inputs(
        self,
        seeds: tuple[int, ...],
        window: Window,
        *,
        scale_seeds: Mapping[str, tuple[int, ...]] | None = None,
        truncation_psi: float = 1.0,
        fields_on: torch.device | None = None,
    ) -> SynthesisInputs:
        """What `window` is painted from.

        Args:
            seeds: one per world.
            window: of the image.
            scale_seeds: seeds of single scales of the latent, by name, where they are not those of the world.
            truncation_psi: 1 as trained; smaller is more typical and less varied.
            fields_on: device that draws latents and content, None for that of the weights. Their bits are the same.
        """
        plan = self.plan(window)
        device = self.synthesis.const.device
        prior, drawn_on = self.config.prior, fields_on or device
        z = LatentField(prior=prior, seeds=seeds, scale_seeds=scale_seeds or {}).read(plan["sites"], drawn_on)
        content = ContentField(channels=prior.content_channels, seeds=seeds).read(plan["content"], drawn_on)
        z, content = sent(z, device), sent(content, device)
        return SynthesisInputs(
            w=self.mapping(z, truncation_psi), content=content, noise=NoiseField(seeds=seeds), plan=plan
        )

    def for_all_layers(
        self, w: Float32[Tensor, "batch site_rows site_cols w_dim"]
    ) -> Float32[Tensor, "num_ws batch site_rows site_cols w_dim"]:
        """The same w for every layer of the synthesis network, without a copy."""
        return w.expand(self.config.num_ws, *w.shape)
