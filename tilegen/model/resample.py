"""Resampling without padding: what each function reads is stated in geometry/footprint.py."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from tilegen.geometry.footprint import site_footprint
from tilegen.geometry.window import Window


@functools.lru_cache(maxsize=64)
def _fir_kernel(channels: int, gain: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Depthwise column filter [1, 3, 3, 1] / 8 * gain."""
    with torch.inference_mode(False):
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) * (gain / 8)
        return taps.to(device, dtype).view(1, 1, 1, 4).expand(channels, 1, 1, 4).contiguous()


def fir(
    x: Float[Tensor, "batch c rows cols"], *, gain: float, stride: int = 1, padding: int = 0
) -> Float[Tensor, "batch c rows_out cols_out"]:
    """Separable [1, 3, 3, 1] filter whose taps add up to `gain` along each axis (StyleGAN2, appendix B)."""
    kernel = _fir_kernel(x.shape[1], gain, x.device, x.dtype)
    # A strided depthwise convolution has a slow backward on CPUs: filter at full rate, then drop.
    x = F.conv2d(x, kernel, padding=(0, padding), groups=x.shape[1])[..., ::stride]
    return F.conv2d(x, kernel.transpose(2, 3), padding=(padding, 0), groups=x.shape[1])[..., ::stride, :]


def upsampled_conv(
    x: Float[Tensor, "batch c_in rows cols"], weight: Float[Tensor, "c_out c_in 3 3"]
) -> Float[Tensor, "batch c_out 2*rows-4 2*cols-4"]:
    """Transposed 3x3 convolution of stride 2, then the FIR; reads as `UPCONV3` says.

    For input rows [a, b) the output rows are [2a + 2, 2b - 2). Equal to `upsampled` followed by a 3x3 convolution
    with the kernel turned by 180 degrees; tests hold the two against each other.
    """
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1)
    return fir(x, gain=2.0)


def upsampled(x: Float[Tensor, "batch c rows cols"]) -> Float[Tensor, "batch c 2*rows-2 2*cols-2"]:
    """Bilinear x2 with half-pixel centres; for input rows [a, b) the output rows are [2a + 1, 2b - 1).

    The RGB skip of StyleGAN2 (zero insertion and the [1, 3, 3, 1] FIR) without its padding.
    """
    rows, cols = x.shape[-2:]
    full = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return full[..., 1 : 2 * rows - 1, 1 : 2 * cols - 1]


def site_positions(level: int, phase: int, count: int) -> tuple[Int64[Tensor, "count"], Float64[Tensor, "count"]]:
    """The site before each of `count` pixels, from the first that they read, and the fraction of the way to the next.

    `level` is 2 or more; the first pixel has `phase` within its site. All arithmetic is on small integers, so
    coordinates of any magnitude give the same numbers.
    """
    footprint = site_footprint(level)
    first_site, _ = footprint.interval(phase, phase + 1)
    pixels = torch.arange(phase, phase + count) - footprint.before
    site = pixels.div(footprint.up, rounding_mode="floor") - first_site
    return site, (pixels % footprint.up + 0.5).double() / footprint.up


@functools.lru_cache(maxsize=4096)
def _site_matrix(
    level: int, phase: int, count: int, num_sites: int, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "count num_sites"]:
    """Bilinear weights of `count` pixels over the sites they read, see `site_positions`."""
    site, fraction = site_positions(level, phase, count)
    with torch.inference_mode(False):
        matrix = torch.zeros(count, num_sites, dtype=torch.float64)
        rows = torch.arange(count)
        matrix[rows, site] = 1 - fraction
        matrix[rows, site + 1] = fraction
        return matrix.to(device, dtype)


def site_latents(
    w: Float32[Tensor, "batch site_rows site_cols c"], sites: Window, level: int, window: Window
) -> Float32[Tensor, "batch grid_rows grid_cols c"]:
    """The part of `w` (which covers `sites`) that `window` of `level` reads; at level 0 the mean of each 2x2.

    A fine layer reads far fewer sites than the coarse ones, so its styles are evaluated on those alone.
    """
    rows, cols = site_footprint(level).needs(window).within(sites)
    part = w[:, rows, cols]
    if level > 0:
        return part
    return part.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean(dim=(2, 4))


def sampled(
    grid: Float32[Tensor, "batch grid_rows grid_cols c"], level: int, window: Window, dtype: torch.dtype
) -> Float[Tensor, "batch c rows cols"]:
    """Styles or demodulations on the grid of `site_latents`, bilinear at the pixel centres of `window`.

    Two small matrix products, channels last: ten times faster on a CPU than `F.interpolate`, backward too.
    """
    grid = grid.to(dtype)
    if level >= 2:
        batch, num_rows, num_cols, channels = grid.shape
        by_row = _site_matrix(level, window.row0 % (1 << level - 1), window.height, num_rows, grid.device, dtype)
        by_col = _site_matrix(level, window.col0 % (1 << level - 1), window.width, num_cols, grid.device, dtype)
        grid = torch.matmul(by_col, grid)  # [batch, grid_rows, cols, c]
        grid = torch.matmul(by_row, grid.flatten(2)).view(batch, window.height, window.width, channels)
    return grid.permute(0, 3, 1, 2)
