"""The compiled engine: the synthesis network for one image, without gradients, one pass of memory per convolution.

The convolutions are torch's; all between them is a compiled layer, in C++ for CPUs and in Triton for GPUs.
`SynthesisNetwork.forward` is the reference that it is tested against.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from tilegen.geometry.footprint import UPCONV3, UPSAMPLE2, site_footprint
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.window import Window
from tilegen.model.config import GeneratorConfig
from tilegen.model.generator import SynthesisInputs
from tilegen.model.kernels import LANES, MOST_BANDS, Axis, Maps, PaintLayer, Weights, available, paint_layer
from tilegen.model.layers import Linear
from tilegen.model.modulation import DEMODULATION_EPS, weight_gain
from tilegen.model.resample import site_latents, site_positions, upsampled
from tilegen.model.synthesis import SynthesisLayer, SynthesisNetwork, ToImageLayer

_GAIN = math.sqrt(2)
"""Of the activation; folded into what comes before it."""


def can_fuse(config: GeneratorConfig) -> bool:
    """Whether the compiled kernels are there and fit the widths of such a network."""
    return available() and len(config.band_names) <= MOST_BANDS and all(c % LANES == 0 for c in config.channels)


@dataclass(frozen=True, kw_only=True)
class _Affine:
    """w to style, or squared style to squared norm: one small matrix product per site."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, linear: Linear, dtype: torch.dtype) -> _Affine:
        return cls(
            weight=(linear.weight * linear.weight_gain).to(dtype).contiguous(),
            bias=(linear.bias * linear.bias_gain).to(dtype),
        )

    def __call__(self, sites: Float[Tensor, "*shape c_in"]) -> Float[Tensor, "*shape c_out"]:
        return F.linear(sites, self.weight, self.bias)


class _FusedLayer:
    """The tensors of one `SynthesisLayer`, and of the layer to the image that follows it, ready to use."""

    def __init__(self, layer: SynthesisLayer, to_image: ToImageLayer | None, dtype: torch.dtype) -> None:
        self.name, self.index, self.level, self.up = layer.name, layer.index, layer.level, layer.up
        weight = layer.weight * weight_gain(layer.weight)
        self.affine = _Affine.of(layer.affine, dtype)
        self.energy = _Affine(weight=weight.square().sum(dim=(2, 3)).to(dtype), bias=None)
        kernel = weight.transpose(0, 1) if self.up else weight
        self.kernel = kernel.to(dtype).contiguous(memory_format=torch.channels_last)
        self.image_affine, image_weight, image_bias = None, None, None
        if to_image is not None:
            self.image_affine, conv = _Affine.of(to_image.affine, dtype), to_image.conv
            assert conv.bias is not None  # a ToImageLayer has one
            image_weight = (conv.weight[:, :, 0, 0] * conv.weight_gain).contiguous()
            image_bias = conv.bias * conv.bias_gain
        self.weights = Weights(
            strength=layer.noise_strength * _GAIN,
            bias=layer.bias * _GAIN,
            image_weight=image_weight,
            image_bias=image_bias,
        )

    def convolved(self, x: Float[Tensor, "1 c_in rows cols"]) -> Float[Tensor, "1 c_out rows_out cols_out"]:
        if self.up:
            return F.conv_transpose2d(x, self.kernel, stride=2, padding=1)
        return F.conv2d(x, self.kernel)

    def gain(self, style: Float[Tensor, "rows cols c_in"]) -> Float32[Tensor, "rows cols c_out"]:
        """`demodulation`, times the gain of the activation."""
        return torch.rsqrt(self.energy(style.square()).float() + DEMODULATION_EPS) * _GAIN


class FusedSynthesis:
    """A `SynthesisNetwork` for one image at a time. Copies the weights: train the network, not this.

    Args:
        synthesis: the network; `can_fuse` says whether it fits the CPU.
        dtype: of convolutions and style maps, float32 or bfloat16. Sums between them are float32.
        paint: `paint_layer`, or its like for other devices.
    """

    @torch.no_grad()
    def __init__(self, synthesis: SynthesisNetwork, dtype: torch.dtype, paint: PaintLayer = paint_layer) -> None:
        to_image = _to_image_of(synthesis)
        self._synthesis, self._dtype, self._paint = synthesis, dtype, paint
        self._layers = [
            _FusedLayer(layer, to_image[number // 2 - 1] if number and number % 2 == 0 else None, dtype)
            for number, layer in enumerate(_layers_of(synthesis))
        ]

    def __call__(self, inputs: SynthesisInputs) -> Float32[Tensor, "1 bands rows cols"]:
        """The image of one window, nominally in [-1, 1]."""
        plan, styles = inputs.plan, _Styles(inputs.w, inputs.plan["sites"], self._dtype)
        x, image = self._start(styles, inputs.content, plan), None
        for layer, following in zip(self._layers, [*self._layers[1:], None], strict=True):
            writes = plan[f"conv{layer.name}"]
            corner, cut = (0, 0), None
            if layer.up:
                rows, cols = writes.within(UPCONV3.made(plan[f"mod{layer.name}"]))
                corner = rows.start, cols.start
            if layer.image_affine is not None:
                cut = plan[f"rgb{layer.level}"].within(writes)
            maps = Maps(
                by_row=_axis(layer.level, writes.row0, writes.height, x.device),
                by_col=_axis(layer.level, writes.col0, writes.width, x.device),
                gain=layer.gain(styles.read(layer.affine, layer.level, writes)),
                style=styles.read_float32(None if following is None else following.affine, layer.level, writes),
                image_style=styles.read_float32(layer.image_affine, layer.level, writes),
                noise=inputs.noise.read(layer.index, writes, x.device)[0, 0].contiguous(),
            )
            out, part = self._paint(
                layer.convolved(x), layer.weights, maps, upsampling=layer.up, corner=corner, image_cut=cut
            )
            if part is not None:
                image = part if image is None else _joined(part, image, layer.level, plan)
            x = x if out is None else out
        assert image is not None  # the last layer feeds the image
        return image

    def _start(
        self, styles: _Styles, content: Float32[Tensor, "1 c_content cell_rows cell_cols"], plan: HaloPlan
    ) -> Float[Tensor, "1 c rows cols"]:
        """What the first convolution reads: constant and content, modulated."""
        first, synthesis = self._layers[0], self._synthesis
        style = styles.read(first.affine, first.level, plan[f"mod{first.name}"]).permute(2, 0, 1)
        x = (synthesis.content(content) + synthesis.const[:, None, None]) * style
        return x.to(self._dtype, memory_format=torch.channels_last)


class _Styles:
    """Styles of all layers on the sites of one image. A layer modulates and demodulates with the same ones."""

    def __init__(self, w: Float32[Tensor, "1 site_rows site_cols w_dim"], sites: Window, dtype: torch.dtype) -> None:
        self._w, self._sites, self._dtype = w, sites, dtype
        self._part: tuple[int, Window, Tensor] | None = None
        self._held: tuple[_Affine, bool, Window, Tensor] | None = None

    def read(self, affine: _Affine, level: int, window: Window) -> Float[Tensor, "rows cols c"]:
        """Styles on the sites that `window` of `level` reads; at level 0 on the cells."""
        on_cells = level == 0
        area = window if on_cells else site_footprint(level).needs(window)
        if self._held is not None:
            held_affine, held_on_cells, held_area, style = self._held
            if held_affine is affine and held_on_cells == on_cells and held_area.contains(area):
                return style[area.within(held_area)]
        style = affine(self._latents(level, window))
        self._held = affine, on_cells, area, style
        return style

    def _latents(self, level: int, window: Window) -> Float[Tensor, "rows cols w_dim"]:
        """The w that `window` of `level` reads. Contiguous, as products of slices take twice as long."""
        if self._part is None or self._part[:2] != (level, window):
            part = site_latents(self._w, self._sites, level, window)[0]
            self._part = level, window, part.to(self._dtype).contiguous()
        return self._part[2]

    def read_float32(self, affine: _Affine | None, level: int, window: Window) -> Float32[Tensor, "rows cols c"] | None:
        """`read` for a compiled layer."""
        return None if affine is None else self.read(affine, level, window).float().contiguous()


def _joined(
    part: Float32[Tensor, "1 bands rows cols"], image: Float32[Tensor, "1 bands _ _"], level: int, plan: HaloPlan
) -> Float32[Tensor, "1 bands rows cols"]:
    """The image of `level`: what the level adds, and the image of the level below it, twice as large."""
    made = UPSAMPLE2.made(plan[f"rgb{level - 1}"])
    return part.add_(upsampled(image)[..., *plan[f"rgb{level}"].within(made)])


def _axis(level: int, start: int, count: int, device: torch.device) -> Axis:
    """The sites of pixels [start, start + count) of `level`."""
    return _axis_of_phase(level, start % (1 << max(level - 1, 0)), count, device)


@functools.lru_cache(maxsize=1024)
def _axis_of_phase(level: int, phase: int, count: int, device: torch.device) -> Axis:
    if level < 2:  # every pixel is a site, or a cell
        site, fraction = torch.arange(count), torch.zeros(count)
    else:
        site, fraction = site_positions(level, phase, count)
    return Axis(site=site.to(device, torch.int32), fraction=fraction.to(device, torch.float32))


def _layers_of(synthesis: SynthesisNetwork) -> list[SynthesisLayer]:
    return [layer for layer in synthesis.layers if isinstance(layer, SynthesisLayer)]


def _to_image_of(synthesis: SynthesisNetwork) -> list[ToImageLayer]:
    return [layer for layer in synthesis.to_image if isinstance(layer, ToImageLayer)]
