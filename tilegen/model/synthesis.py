"""Synthesis network: w, content and noise to an image, without padding. Every crop follows the halo plan."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from tilegen.fields.noise import Noise
from tilegen.geometry.footprint import CONV3, POINTWISE, UPCONV3, UPSAMPLE2, Footprint, site_footprint
from tilegen.geometry.halo import HaloPlan, Layer
from tilegen.model.config import GeneratorConfig
from tilegen.model.layers import Conv, Linear, activated, normal_parameter
from tilegen.model.modulation import demodulation, weight_gain
from tilegen.model.resample import sampled, site_latents, upsampled, upsampled_conv

NOISE_STRENGTH_STD = 0.1
"""Start of the per-channel noise strengths. One scalar per layer dies within 2 kimg and leaves a weave behind."""


def synthesis_layers(top_level: int) -> tuple[Layer, ...]:
    """The network as the halo planner sees it: what every layer reads, sources first, the image last.

    "sites" is the latent grid, "content" the cells; "mod" layers multiply by the style at their input's resolution,
    "conv" layers demodulate at their own.
    """
    layers = [
        Layer(name="sites"),
        Layer(name="content"),
        *_modulated("0", 0, "content", 0, CONV3),
    ]
    features, skip = "conv0", None
    for level in range(1, top_level + 1):
        layers += _modulated(f"{level}up", level, features, level - 1, UPCONV3)
        layers += _modulated(f"{level}", level, f"conv{level}up", level, CONV3)
        features = f"conv{level}"
        reads = [(features, POINTWISE), ("sites", site_footprint(level))]
        if skip is not None:
            reads.append((skip, UPSAMPLE2))
        skip = f"rgb{level}"
        layers.append(Layer(name=skip, reads=tuple(reads)))
    return tuple(layers)


def _modulated(name: str, level: int, source: str, source_level: int, footprint: Footprint) -> list[Layer]:
    """A modulation at the level of `source` and the convolution and demodulation at `level`."""
    return [
        Layer(name=f"mod{name}", reads=((source, POINTWISE), ("sites", site_footprint(source_level)))),
        Layer(name=f"conv{name}", reads=((f"mod{name}", footprint), ("sites", site_footprint(level)))),
    ]


class SynthesisLayer(nn.Module):
    """Modulate, convolve (3x3, optionally up-sampling), demodulate, add noise and bias, activate."""

    def __init__(self, name: str, index: int, level: int, c_in: int, c_out: int, w_dim: int) -> None:
        super().__init__()
        self.name, self.index, self.level = name, index, level
        self.up = name.endswith("up")
        self.affine = Linear(w_dim, c_in, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(c_out, c_in, 3, 3))
        self.noise_strength = normal_parameter(c_out, std=NOISE_STRENGTH_STD)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(
        self,
        x: Float[Tensor, "batch c_in rows cols"],
        w: Float32[Tensor, "batch site_rows site_cols w_dim"],
        noise: Noise,
        plan: HaloPlan,
    ) -> Float[Tensor, "batch c_out rows_out cols_out"]:
        """`x` covers the window of this layer's modulation in `plan`; the result covers that of its convolution."""
        sites, reads, writes = plan["sites"], plan[f"mod{self.name}"], plan[f"conv{self.name}"]
        source_level = self.level - self.up
        weight = self.weight * weight_gain(self.weight)
        style = self.affine(site_latents(w, sites, source_level, reads))
        x = x * sampled(style, source_level, reads, x.dtype)
        if self.up:
            x = upsampled_conv(x, weight.to(x.dtype))
            x = x[..., *writes.within(UPCONV3.made(reads))]
        else:
            x = F.conv2d(x, weight.to(x.dtype))
        style = self.affine(site_latents(w, sites, self.level, writes))
        # sqrt(2), the gain of the activation, is folded into the three small tensors.
        gain = demodulation(weight, style) * math.sqrt(2)
        x = x * sampled(gain, self.level, writes, x.dtype)
        plane = noise.read(self.index, writes, x.device).to(x.dtype)
        strength, bias = (math.sqrt(2) * p.to(x.dtype)[:, None, None] for p in (self.noise_strength, self.bias))
        return activated(x + (plane * strength + bias))


class ToImageLayer(nn.Module):
    """1x1 convolution to bands, modulated but not demodulated (StyleGAN2, section 3.1); sums are kept in float32."""

    def __init__(self, level: int, c_in: int, num_bands: int, w_dim: int) -> None:
        super().__init__()
        self.level = level
        self.affine = Linear(w_dim, c_in, bias_init=1.0)
        self.conv = Conv(c_in, num_bands, 1)

    def forward(
        self,
        x: Float[Tensor, "batch c rows cols"],
        w: Float32[Tensor, "batch site_rows site_cols w_dim"],
        skip: Float32[Tensor, "batch bands skip_rows skip_cols"] | None,
        plan: HaloPlan,
    ) -> Float32[Tensor, "batch bands rows_out cols_out"]:
        """`x` covers conv{level} of `plan`, `skip` rgb{level - 1}; the result covers rgb{level}."""
        writes = plan[f"rgb{self.level}"]
        x = x[..., *writes.within(plan[f"conv{self.level}"])]
        style = self.affine(site_latents(w, plan["sites"], self.level, writes))
        image = self.conv(x * sampled(style, self.level, writes, x.dtype)).float()
        if skip is None:
            return image
        made = UPSAMPLE2.made(plan[f"rgb{self.level - 1}"])
        return image + upsampled(skip)[..., *writes.within(made)]


class SynthesisNetwork(nn.Module):
    """Level 0 from a learned constant and the content latent, then one up-sampling block per level with RGB skips."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        channels, w_dim = config.channels, config.w_dim
        self.const = nn.Parameter(torch.randn(channels[0]))
        self.content = Conv(config.prior.content_channels, channels[0], 1, bias=False)
        self.layers = nn.ModuleList([SynthesisLayer("0", 0, 0, channels[0], channels[0], w_dim)])
        self.to_image = nn.ModuleList()
        for level in range(1, config.top_level + 1):
            c_in, c_out = channels[level - 1], channels[level]
            self.layers.append(SynthesisLayer(f"{level}up", 2 * level - 1, level, c_in, c_out, w_dim))
            self.layers.append(SynthesisLayer(f"{level}", 2 * level, level, c_out, c_out, w_dim))
            self.to_image.append(ToImageLayer(level, c_out, len(config.band_names), w_dim))

    def forward(
        self,
        ws: Float32[Tensor, "num_ws batch site_rows site_cols w_dim"],
        content: Float32[Tensor, "batch c_content cell_rows cell_cols"],
        noise: Noise,
        plan: HaloPlan,
        dtype: torch.dtype,
    ) -> Float32[Tensor, "batch bands rows cols"]:
        """The image of the plan's last window, nominally in [-1, 1]; convolutions run in `dtype`, channels last.

        Layer number i reads `ws[i]`; a layer to the image shares the w of the layer after it (StyleGAN2, Fig. 7b).
        """
        x = (self.content(content) + self.const[:, None, None]).to(dtype, memory_format=torch.channels_last)
        image: Tensor | None = None
        # Unbound at once: the gradient of a single ws[i] is as large as all of them, and mostly zeros.
        w_of = ws.unbind(0)
        x = self.layers[0](x, w_of[0], noise, plan)
        for block, to_image in enumerate(self.to_image):
            for number, layer in enumerate(self.layers[2 * block + 1 : 2 * block + 3], start=2 * block + 1):
                x = layer(x, w_of[number], noise, plan)
            image = to_image(x, w_of[2 * block + 3], image, plan)
        assert image is not None  # there is at least one level above 0
        return image
