"""The compiled layer: everything between two convolutions in one pass over memory (native/layers.cpp)."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from tilegen.native.library import library

LANES = 16
"""Channels come in multiples of this, as in layers.cpp."""

MOST_BANDS = 16
"""As in layers.cpp."""

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


@runtime_checkable
class PaintLayer(Protocol):
    """`paint_layer` of some device."""

    def __call__(
        self,
        x: Tensor,
        weights: Weights,
        maps: Maps,
        *,
        upsampling: bool,
        corner: tuple[int, int],
        image_cut: tuple[slice, slice] | None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """See `paint_layer`."""
        ...


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
        upsampling: the convolution was transposed: apply the [1, 3, 3, 1] filter first. Such a layer feeds no image.
        corner: the pixel of `x` that the layer's first pixel is, or where its filter begins.
        image_cut: rows and columns of the layer that the image needs; None without an image.
    """
    # layers.cpp has no other kinds of layer: it would write nowhere, or leave the image as it is.
    assert maps.style is not None or image_cut is not None
    assert image_cut is None or not upsampling
    x = x.contiguous(memory_format=torch.channels_last)
    channels, (rows, cols), grid_cols = x.shape[1], maps.noise.shape, maps.gain.shape[1]
    out = image = None
    if maps.style is not None:
        shape = 1, channels, rows, cols
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    cut = image_cut or (slice(0, 0), slice(0, 0))
    if image_cut is not None and weights.image_bias is not None:
        image = _empty(1, len(weights.image_bias), cut[0].stop - cut[0].start, cut[1].stop - cut[1].start)
    scratch = _empty((3 * grid_cols + cols + 3) * channels)
    layer = _Layer(
        x=x.data_ptr(),
        x_cols=x.shape[3],
        row0=corner[0],
        col0=corner[1],
        rows=rows,
        cols=cols,
        channels=channels,
        row_site=_pointer(maps.by_row.site),
        row_fraction=_pointer(maps.by_row.fraction),
        col_site=_pointer(maps.by_col.site),
        col_fraction=_pointer(maps.by_col.fraction),
        grid_cols=grid_cols,
        gain=_pointer(maps.gain),
        style=_pointer(maps.style),
        image_style=_pointer(maps.image_style),
        noise=_pointer(maps.noise),
        strength=_pointer(weights.strength),
        bias=_pointer(weights.bias),
        out=None if out is None else out.data_ptr(),
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
    run = {torch.float32: kernels.layer_float32, torch.bfloat16: kernels.layer_bfloat16}[x.dtype]
    run(layer, upsampling)
    return out, image


def _empty(*shape: int) -> Tensor:
    """Memory for a kernel to write, whatever the caller has made torch's default type and device."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _pointer(tensor: Tensor | None) -> int | None:
    """Where a kernel finds a tensor, whose elements lie one after the other."""
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()
