"""`paint_layer` and noise on a GPU: launches the kernels of native/gpu.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from tilegen.fields.counter import Stream, derived_key, normal_table
from tilegen.geometry.window import Window
from tilegen.model.kernels import Maps, Weights
from tilegen.native import gpu

_ELEMENTS = 4096
"""Pixels times channels of one program; any number is right, this one keeps its values in registers."""

_NOISE_BLOCK = 1024


def paint_layer_on_gpu(
    x: Float[Tensor, "1 channels x_rows x_cols"],
    weights: Weights,
    maps: Maps,
    *,
    upsampling: bool,
    corner: tuple[int, int],
    image_cut: tuple[slice, slice] | None,
) -> tuple[Float[Tensor, "1 channels rows cols"] | None, Float32[Tensor, "1 bands image_rows image_cols"] | None]:
    """`paint_layer`, all tensors on the GPU."""
    x = x.contiguous(memory_format=torch.channels_last)
    channels, (rows, cols), grid_cols = x.shape[1], maps.noise.shape, maps.gain.shape[1]
    cut, bands = image_cut or (slice(0, 0), slice(0, 0)), 0
    out = image = None
    if maps.style is not None:
        out = torch.empty_like(x[:, :, :1, :1].expand(1, channels, rows, cols), memory_format=torch.channels_last)
    if image_cut is not None and weights.image_bias is not None:
        bands = len(weights.image_bias)
        image = maps.gain.new_empty((1, bands, cut[0].stop - cut[0].start, cut[1].stop - cut[1].start))
    wide = 1 << max(channels - 1, 1).bit_length()
    pixels = max(_ELEMENTS // wide, 1)
    gpu.layer_kernel[-(-cols // pixels), rows](
        x,
        maps.gain,
        # A pointer that is not followed must still be one.
        maps.gain if maps.style is None else maps.style,
        maps.gain if maps.image_style is None else maps.image_style,
        maps.noise,
        weights.strength,
        weights.bias,
        x if out is None else out,
        weights.bias if image is None else weights.image_weight,
        weights.bias if image is None else weights.image_bias,
        maps.gain if image is None else image,
        maps.by_row.site,
        maps.by_row.fraction,
        maps.by_col.site,
        maps.by_col.fraction,
        x.shape[3],
        *corner,
        cols,
        grid_cols,
        cut[0].start,
        cut[1].start,
        cut[0].stop - cut[0].start,
        cut[1].stop - cut[1].start,
        channels,
        bands,
        PIXELS=pixels,
        CHANNELS=wide,
        FILTER=upsampling,
        OUT=out is not None,
        IMAGE=image is not None,
    )
    return out, image


@dataclass(frozen=True, kw_only=True)
class MovingNoise:
    """`NoiseField` of one seed, for windows that move by whole cells. Implements `Noise`.

    Args:
        cells: by how many cells the windows are moved, (rows, cols); read by the GPU when it draws.
        keys: of each layer of the noise, both words in one.
        levels: of each layer.
    """

    cells: Int64[Tensor, "2"]
    keys: Int64[Tensor, "layers"]
    levels: Sequence[int]

    @classmethod
    def of(cls, seed: int, levels: Sequence[int], device: torch.device) -> MovingNoise:
        """Not moved yet."""
        words = [derived_key(seed, Stream.NOISE, layer) for layer in range(len(levels))]
        # As signed numbers, which torch has.
        signed = [(high << 32 | low) - ((high >> 31) << 64) for low, high in words]
        return cls(
            cells=torch.zeros(2, dtype=torch.int64, device=device),
            keys=torch.tensor(signed, dtype=torch.int64, device=device),
            levels=levels,
        )

    def read(self, layer: int, window: Window, device: torch.device) -> Float32[Tensor, "1 1 rows cols"]:
        """Noise of synthesis layer number `layer` in `window`, moved."""
        plane = torch.empty((1, 1, *window.shape), dtype=torch.float32, device=device)
        gpu.noise_kernel[(-(-plane.numel() // _NOISE_BLOCK),)](
            plane,
            normal_table(device),
            self.keys,
            self.cells,
            layer,
            self.levels[layer],
            window.row0,
            window.col0,
            *window.shape,
            SIZE=_NOISE_BLOCK,
        )
        return plane
