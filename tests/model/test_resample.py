"""Resampling against plain operators in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tilegen.geometry.footprint import site_footprint
from tilegen.geometry.window import Window
from tilegen.model.resample import fir, sampled, site_latents, upsampled, upsampled_conv
from tilegen.testing.strategies import windows

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (3, 9), (12, 7)])
def test_an_upsampling_convolution_is_bilinear_x2_and_a_turned_kernel(
    rng: torch.Generator, rows: int, cols: int
) -> None:
    """The oracle of the whole operator (StyleGAN2 runs its up layers as true convolutions, so the kernel is turned)."""
    x = torch.randn(2, 3, rows, cols, dtype=torch.float64, generator=rng)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64, generator=rng)
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    expected = F.conv2d(doubled, weight.flip(2, 3))[..., 1:-1, 1:-1]
    found = upsampled_conv(x, weight)
    assert found.shape == (2, 5, 2 * rows - 4, 2 * cols - 4)
    torch.testing.assert_close(found, expected, **EXACT)


def test_the_kernel_is_not_symmetric_in_the_oracle(rng: torch.Generator) -> None:
    """Planted fault: the same kernel unturned is another operator."""
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=rng)
    weight = torch.randn(1, 1, 3, 3, dtype=torch.float64, generator=rng)
    assert not torch.allclose(upsampled_conv(x, weight), upsampled_conv(x, weight.flip(2, 3)))


@pytest.mark.parametrize(("rows", "cols"), [(2, 2), (3, 8), (9, 5)])
def test_upsampling_is_zero_insertion_and_the_fir_of_stylegan2(rng: torch.Generator, rows: int, cols: int) -> None:
    x = torch.randn(2, 3, rows, cols, dtype=torch.float64, generator=rng)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 4
    stuffed = torch.zeros(6, 1, 2 * rows, 2 * cols, dtype=torch.float64)
    stuffed[..., ::2, ::2] = x.reshape(6, 1, rows, cols)
    whole = F.conv2d(F.pad(stuffed, (2, 1, 2, 1)), torch.outer(taps, taps)[None, None]).reshape(2, 3, 2 * rows, -1)
    torch.testing.assert_close(upsampled(x), whole[..., 1:-1, 1:-1], **EXACT)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (1, 2)])
def test_the_fir_is_a_separable_filter_of_its_gain(rng: torch.Generator, stride: int, padding: int) -> None:
    x = torch.randn(2, 3, 8, 10, dtype=torch.float64, generator=rng)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    kernel = (4 * torch.outer(taps, taps)).expand(3, 1, 4, 4)
    expected = F.conv2d(x, kernel, stride=stride, padding=padding, groups=3)
    torch.testing.assert_close(fir(x, gain=2.0, stride=stride, padding=padding), expected, **EXACT)


def plain_samples(w: Tensor, sites: Window, level: int, window: Window) -> Tensor:
    """`F.interpolate` of all sites to the pixels of `level`, then a crop, in float64."""
    factor = 2**level / 2
    whole = F.interpolate(w.permute(0, 3, 1, 2).double(), scale_factor=factor, mode="bilinear", align_corners=False)
    first_row, first_col = int(sites.row0 * factor), int(sites.col0 * factor)
    covered = Window.from_size(*whole.shape[-2:], row0=first_row, col0=first_col)
    return whole[..., *window.within(covered)]


@given(window=windows(max_side=30), level=st.integers(0, 6))
@settings(max_examples=60)
def test_styles_are_sampled_bilinearly_at_pixel_centres(window: Window, level: int) -> None:
    """At any phase within a site, anywhere: half-pixel centres, as `F.interpolate` without aligned corners."""
    sites = site_footprint(level).needs(window)
    sites = Window(
        row0=(sites.row0 - 1) // 2 * 2, col0=(sites.col0 - 1) // 2 * 2, row1=sites.row1 + 2, col1=sites.col1 + 2
    )
    sites = Window.from_size(
        sites.height + sites.height % 2, sites.width + sites.width % 2, row0=sites.row0, col0=sites.col0
    )
    w = torch.randn(2, *sites.shape, 3, generator=torch.Generator().manual_seed(0))
    found = sampled(site_latents(w, sites, level, window), level, window, torch.float32)
    assert found.shape == (2, 3, *window.shape)
    torch.testing.assert_close(found.double(), plain_samples(w, sites, level, window), rtol=0, atol=2e-6)


def test_a_constant_style_stays_what_it_is() -> None:
    """The weights of every pixel sum to one."""
    window = Window.from_size(37, 21, row0=-9, col0=4)
    for level in range(7):
        sites = site_footprint(level).needs(window)
        w = torch.full((1, *sites.shape, 2), 1.7)
        found = sampled(site_latents(w, sites, level, window), level, window, torch.float32)
        torch.testing.assert_close(found, torch.full_like(found, 1.7), rtol=0, atol=1e-6)
