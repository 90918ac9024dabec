"""The compiled layer: everything between two convolutions in one pass over memory (native/layers.cpp)."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from tilegen.native.library import library

LANES = 16
"""Channels come in multiples of this."""

MOST_BANDS = 16

_INT, _POINTER = ctypes.c_int64, ctypes.c_void_p


class _Layer(ctypes.Structure):
    """`Layer` of layers.cpp, field by field."""

    _fields_ = (
        ("x", _POINTER),
        *((name, _INT) for name in ("x_cols", "row0", "col0", "rows", "cols", "channels")),
        *((name, _POINTER) for name in ("row_site", "row_fraction", "col_site", "col_fraction")),
        ("grid_cols", _INT),
        *((name, _POINTER) for name in ("gain", "style", "image_style", "noise", "strength", "bias", "out")),
        *((name, _POINTER) for name in ("image_weight", "image_bias", "image")),
        *((name, _INT) for name in ("bands", "image_row0", "image_col0", "image_rows", "image_cols")),
        ("scratch", _POINTER),
    )


@functools.cache
def _kernels() -> ctypes.CDLL | None:
    kernels = library("layers")
    if kernels is not None:
        for function in (kernels.layer_float32, kernels.layer_bfloat16):
            function.argtypes, function.restype = [ctypes.POINTER(_Layer), _INT], None
    return kernels


def available() -> bool:
    """Whether tilegen was installed with compiled kernels."""
    return _kernels() is not None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where the pixels of an axis lie on the sites: `fraction` of the way from `site` to the next one."""

    site: Int32[Tensor, "pixels"]
    fraction: Float32[Tensor, "pixels"]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """What a layer does at each place. Style maps are on the sites and bilinear between them.

    Args:
        by_row: sites of the layer's rows.
        by_col: and of its columns.
        gain: demodulation, times the gain of the activation.
        style: of the next convolution, or None if there is none.
        image_style: of the layer to the image, or None if there is none.
        noise: at every pixel.
    """

    by_row: Axis
    by_col: Axis
    gain: Float32[Tensor, "grid_rows grid_cols channels"]
    style: Float32[Tensor, "grid_rows grid_cols channels"] | None
    image_style: Float32[Tensor, "grid_rows grid_cols channels"] | None
    noise: Float32[Tensor, "rows cols"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a layer does everywhere, the gain of the activation folded in; image weights are None without an image."""

    strength: Float32[Tensor, "channels"]
    bias: Float32[Tensor, "channels"]
    image_weight: Float32[Tensor, "bands channels"] | None = None
    image_bias: Float32[Tensor, "bands"] | None = None


def paint_layer(
    x: Float[Tensor, "1 channels x_rows x_cols"],
    weights: Weights,
    maps: Maps,
    *,
    upsampling: bool,
    corner: tuple[int, int],
    image_cut: tuple[slice, slice] | None,
) -> tuple[Float[Tensor, "1 channels rows cols"] | None, Float32[Tensor, "1 bands image_rows image_cols"] | None]:
    """Features modulated for the next convolution, and the bands that the layer adds to the image.

    Args:
        x: what the layer's convolution gives, channels last, float32 or bfloat16.
        weights: of the layer.
        maps: of the layer.
        upsampling: the convolution was transposed: apply the [1, 3, 3, 1] filter first.
        corner: the pixel of `x` that the layer's first pixel is, or where its filter begins.
        image_cut: rows and columns of the layer that the image needs; None without an image.
    """
    if not x.is_contiguous(memory_format=torch.channels_last):
        x = x.contiguous(memory_format=torch.channels_last)
    channels, (rows, cols), grid_cols = x.shape[1], maps.noise.shape, maps.gain.shape[1]
    out = image = None
    if maps.style is not None:
        out = torch.empty(1, channels, rows, cols, dtype=x.dtype, memory_format=torch.channels_last)
    cut = image_cut or (slice(0, 0), slice(0, 0))
    if image_cut is not None and weights.image_bias is not None:
        image = torch.empty(1, len(weights.image_bias), cut[0].stop - cut[0].start, cut[1].stop - cut[1].start)
    scratch = torch.empty((3 * grid_cols + cols + 3) * channels)
    layer = _Layer(
        x=x.data_ptr(),
        x_cols=x.shape[3],
        row0=corner[0],
        col0=corner[1],
        rows=rows,
        cols=cols,
        channels=channels,
        row_site=maps.by_row.site.data_ptr(),
        row_fraction=maps.by_row.fraction.data_ptr(),
        col_site=maps.by_col.site.data_ptr(),
        col_fraction=maps.by_col.fraction.data_ptr(),
        grid_cols=grid_cols,
        gain=maps.gain.data_ptr(),
        style=_pointer(maps.style),
        image_style=_pointer(maps.image_style),
        noise=maps.noise.data_ptr(),
        strength=weights.strength.data_ptr(),
        bias=weights.bias.data_ptr(),
        out=_pointer(out),
        image_weight=_pointer(weights.image_weight),
        image_bias=_pointer(weights.image_bias),
        image=_pointer(image),
        bands=0 if image is None else image.shape[1],
        image_row0=cut[0].start,
        image_col0=cut[1].start,
        image_rows=cut[0].stop - cut[0].start,
        image_cols=cut[1].stop - cut[1].start,
        scratch=scratch.data_ptr(),
    )
    kernels = _kernels()
    assert kernels is not None  # engines ask `available` first
    run = kernels.layer_bfloat16 if x.dtype == torch.bfloat16 else kernels.layer_float32
    run(layer, upsampling)
    return out, image


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
