"""Compiled random fields on the CPU: bit for bit what counter.py and latent.py compute in torch, and faster."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.geometry.window import Window
from tilegen.native.library import library

NORMALS_PER_CALL = 8
"""One Philox call gives 128 bits: eight 16-bit quantiles. Vectors have a multiple of so many channels."""

Key = tuple[int, int]

_INT, _WORD, _POINTER = ctypes.c_int64, ctypes.c_uint32, ctypes.c_void_p


@functools.cache
def _kernels() -> ctypes.CDLL | None:
    kernels = library("fields")
    if kernels is not None:
        kernels.normal_plane.argtypes = [_POINTER, *[_INT] * 4, _WORD, _WORD, _POINTER]
        kernels.normal_vectors.argtypes = [_POINTER, *[_INT] * 4, _POINTER, _INT, _POINTER]
        kernels.filter_axis.argtypes = [_POINTER, *[_INT] * 3, _POINTER, *[_INT] * 4, _POINTER]
        for function in (kernels.normal_plane, kernels.normal_vectors, kernels.filter_axis):
            function.restype = None
    return kernels


def available(device: torch.device) -> bool:
    """Whether there are kernels for `device`."""
    return device.type == "cpu" and _kernels() is not None


def plane(table: Float32[Tensor, "65536"], window: Window, key: Key) -> Float32[Tensor, "rows cols"]:
    """One white plane: `counter.normal_plane` of one seed, whose key is given."""
    out = _empty(*window.shape)
    _required().normal_plane(table.data_ptr(), *_place(window), *key, out.data_ptr())
    return out


def vectors(
    table: Float32[Tensor, "65536"], window: Window, keys: Sequence[Key]
) -> Float32[Tensor, "rows cols channels"]:
    """White vectors with eight channels per key, channels last: `counter.normal_grid` of one seed."""
    out = _empty(*window.shape, NORMALS_PER_CALL * len(keys))
    words = [word for key in keys for word in key]
    _required().normal_vectors(
        table.data_ptr(), *_place(window), (_WORD * len(words))(*words), len(keys), out.data_ptr()
    )
    return out


def filtered(
    nodes: Float32[Tensor, "node_rows node_cols channels"],
    weights: Float32[Tensor, "phases taps"],
    sites: Window,
) -> Float32[Tensor, "rows cols channels"]:
    """`latent._filtered` along columns, then along rows; `nodes` are those that `sites` read."""
    node_rows, node_cols, channels = nodes.shape
    along_cols = _empty(node_rows, sites.width, channels)
    out = _empty(sites.height, sites.width, channels)
    phases, taps = weights.shape
    run, filters = _required().filter_axis, (weights.data_ptr(), phases, taps)
    run(nodes.data_ptr(), node_rows, node_cols, channels, *filters, sites.col0, sites.width, along_cols.data_ptr())
    row = sites.width * channels
    run(along_cols.data_ptr(), 1, node_rows, row, *filters, sites.row0, sites.height, out.data_ptr())
    return out


def _empty(*shape: int) -> Tensor:
    """Memory for a kernel to write, whatever the caller has made torch's default type and device."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _place(window: Window) -> tuple[int, int, int, int]:
    return window.row0, window.height, window.col0, window.width


def _required() -> ctypes.CDLL:
    kernels = _kernels()
    assert kernels is not None  # callers ask `available` first
    return kernels
