"""Kernels for GPUs, in Triton: the twins of fields.cpp (noise) and layers.cpp. Triton comes with CUDA builds of torch.

Where Triton is not installed this file loads all the same, and `HAS_TRITON` is false. With TRITON_INTERPRET=1 in the
environment they run on a CPU, slowly: so they are tested where there is no GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

try:
    import triton
    import triton.language as tl

    HAS_TRITON = True
except ModuleNotFoundError:
    HAS_TRITON = False


def _jit(function: Callable[..., Any]) -> Any:
    """Triton reads the source of a kernel: of the function itself, without what type checks wrap around it."""
    return triton.jit(inspect.unwrap(function)) if HAS_TRITON else function


@_jit
def noise_kernel(
    plane,
    table,
    keys,
    cells,
    part,
    level,
    row0,
    col0,
    rows,
    cols,
    SIZE: tl.constexpr,
):
    """White noise, [rows, cols] float32: `normal_plane` of one seed and layer, the same bits.

    The plane begins at pixel (cells[0] << level) + row0, (cells[1] << level) + col0; so the same launch draws another
    tile when `cells` has changed. `keys[part]` holds both words of the derived key.
    """
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    inside = at < rows * cols
    row = (tl.load(cells) << level) + row0 + at // cols
    col = (tl.load(cells + 1) << level) + col0 + at % cols
    block, lane = col >> 3, (col & 7).to(tl.int32)  # NORMALS_PER_CALL of fields.cpp
    c0, c1 = (row & 0xFFFFFFFF).to(tl.uint32), ((row >> 32) & 0xFFFFFFFF).to(tl.uint32)
    c2, c3 = (block & 0xFFFFFFFF).to(tl.uint32), ((block >> 32) & 0xFFFFFFFF).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox(tl.load(keys + part), c0, c1, c2, c3, 10)
    word = tl.where(lane < 2, w0, tl.where(lane < 4, w1, tl.where(lane < 6, w2, w3)))
    bits = tl.where(lane % 2 == 0, word & 0xFFFF, word >> 16).to(tl.int32)
    tl.store(plane + at, tl.load(table + bits, mask=inside, other=0.0), mask=inside)


@_jit
def _between_sites(grid, row_site, row_fraction, col_site, col_fraction, grid_cols, channels, channel, mask):
    """A map on the sites at some pixels of a row, float32 [pixels, channels]: first between rows, then columns."""
    row_after = row_site + (row_fraction > 0).to(tl.int32)  # there may be no site after the last pixel
    col_after = col_site + (col_fraction > 0).to(tl.int32)
    above, below = grid + row_site * grid_cols * channels, grid + row_after * grid_cols * channels
    before, after = (
        (col_site * channels)[:, None] + channel[None, :],
        (col_after * channels)[:, None] + channel[None, :],
    )
    left = tl.load(above + before, mask=mask, other=0.0) * (1 - row_fraction)
    left += tl.load(below + before, mask=mask, other=0.0) * row_fraction
    right = tl.load(above + after, mask=mask, other=0.0) * (1 - row_fraction)
    right += tl.load(below + after, mask=mask, other=0.0) * row_fraction
    return left + (right - left) * col_fraction[:, None]


@_jit
def _vertically_filtered(x, pitch, mask):
    """Four rows of a convolution's output through [1, 3, 3, 1] / 4."""
    a = tl.load(x, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(x + pitch, mask=mask, other=0.0).to(tl.float32)
    c = tl.load(x + 2 * pitch, mask=mask, other=0.0).to(tl.float32)
    d = tl.load(x + 3 * pitch, mask=mask, other=0.0).to(tl.float32)
    return (a + d) * 0.25 + (b + c) * 0.75


@_jit
def layer_kernel(
    x,
    gain,
    style,
    image_style,
    noise,
    strength,
    bias,
    out,
    image_weight,
    image_bias,
    image,
    row_sites,
    row_fractions,
    col_sites,
    col_fractions,
    x_cols,
    row0,
    col0,
    cols,
    grid_cols,
    image_row0,
    image_col0,
    image_rows,
    image_cols,
    channels,
    bands,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    FILTER: tl.constexpr,
    OUT: tl.constexpr,
    IMAGE: tl.constexpr,
):
    """`Layer` of layers.cpp for PIXELS pixels of one row and all channels; CHANNELS is a power of two."""
    row, col, channel = tl.program_id(1), tl.program_id(0) * PIXELS + tl.arange(0, PIXELS), tl.arange(0, CHANNELS)
    in_row, in_layer = col < cols, channel < channels
    mask = in_row[:, None] & in_layer[None, :]
    row_site, row_fraction = tl.load(row_sites + row), tl.load(row_fractions + row)
    col_site = tl.load(col_sites + col, mask=in_row, other=0)
    col_fraction = tl.load(col_fractions + col, mask=in_row, other=0.0)

    pitch = x_cols * channels
    first = x + (row0 + row) * pitch + ((col0 + col) * channels)[:, None] + channel[None, :]
    if FILTER:
        a = _vertically_filtered(first, pitch, mask)
        b = _vertically_filtered(first + channels, pitch, mask)
        c = _vertically_filtered(first + 2 * channels, pitch, mask)
        d = _vertically_filtered(first + 3 * channels, pitch, mask)
        value = (a + d) * 0.25 + (b + c) * 0.75
    else:
        value = tl.load(first, mask=mask, other=0.0).to(tl.float32)
    gains = _between_sites(gain, row_site, row_fraction, col_site, col_fraction, grid_cols, channels, channel, mask)
    white = tl.load(noise + row * cols + col, mask=in_row, other=0.0)
    strengths = tl.load(strength + channel, mask=in_layer, other=0.0)
    biases = tl.load(bias + channel, mask=in_layer, other=0.0)
    value = value * gains + (strengths[None, :] * white[:, None] + biases[None, :])
    value = tl.where(value > 0, value, value * 0.2)

    if IMAGE:
        styled = value * _between_sites(
            image_style, row_site, row_fraction, col_site, col_fraction, grid_cols, channels, channel, mask
        )
        # A row for each pixel: Triton's interpreter widens a condition on a single number.
        image_row, image_col = tl.zeros_like(col) + row - image_row0, col - image_col0
        shown = in_row & (image_row >= 0) & (image_row < image_rows) & (image_col >= 0) & (image_col < image_cols)
        for band in range(bands):
            weight = tl.load(image_weight + band * channels + channel, mask=in_layer, other=0.0)
            total = tl.sum(styled * weight[None, :], axis=1) + tl.load(image_bias + band)
            tl.store(image + (band * image_rows + image_row) * image_cols + image_col, total, mask=shown)
    if OUT:
        styled = value * _between_sites(
            style, row_site, row_fraction, col_site, col_fraction, grid_cols, channels, channel, mask
        )
        at = out + ((row * cols + col) * channels)[:, None] + channel[None, :]
        tl.store(at, styled.to(out.dtype.element_ty), mask=mask)
