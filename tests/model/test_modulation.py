"""A constant style map is StyleGAN2: the layers against the plain modulated convolution."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tilegen.fields.noise import NoiseField
from tilegen.geometry.window import Window
from tilegen.model.generator import Generator
from tilegen.model.modulation import demodulation, modulated_conv_reference
from tilegen.model.synthesis import SynthesisLayer
from tilegen.testing.checkpoints import random_generator


def test_the_reference_is_a_convolution_with_weights_scaled_and_normalised() -> None:
    """Against loops over channels in float64 (StyleGAN2, Eqs. 1 and 3)."""
    rng = torch.Generator().manual_seed(0)
    x, weight, style = (
        torch.randn(shape, dtype=torch.float64, generator=rng) for shape in ((2, 3, 5, 6), (4, 3, 3, 3), (2, 3))
    )
    found = modulated_conv_reference(x, weight, style)
    assert found.shape == (2, 4, 3, 4)
    for image in range(2):
        for out in range(4):
            kernel = weight[out] * style[image, :, None, None]
            norm = math.sqrt(float((kernel**2).sum()) + 1e-8)
            for row, col in [(0, 0), (2, 3)]:
                expected = float((x[image, :, row : row + 3, col : col + 3] * kernel).sum()) / norm
                assert float(found[image, out, row, col]) == pytest.approx(expected, rel=1e-12)


def test_demodulation_is_the_norm_of_the_modulated_weights() -> None:
    rng = torch.Generator().manual_seed(0)
    weight, style = torch.randn(4, 3, 3, 3, generator=rng), torch.randn(2, 5, 6, 3, generator=rng)
    modulated = weight[None, None, None] * style[:, :, :, None, :, None, None]
    expected = 1 / (modulated.square().sum(dim=(4, 5, 6)) + 1e-8).sqrt()
    torch.testing.assert_close(demodulation(weight, style), expected)


def plain_layer(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """StyleGAN2's layer with one w per image: fused weights, bilinear x2 for up-sampling, noise, bias, leaky ReLU."""
    style = F.linear(w, layer.affine.weight * layer.affine.weight_gain, layer.affine.bias)
    if layer.up:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        y = modulated_conv_reference(x, layer.weight.flip(2, 3), style)[..., 1:-1, 1:-1]
    else:
        y = modulated_conv_reference(x, layer.weight, style)
    return y, noise * layer.noise_strength[:, None, None] + layer.bias[:, None, None]


@pytest.fixture(scope="module")
def nano() -> Generator:
    return random_generator()


@pytest.mark.parametrize("index", range(7))
def test_a_layer_with_constant_styles_is_stylegan2(nano: Generator, index: int) -> None:
    """Plain and up-sampling layers of all levels; two images with styles of their own."""
    layer = nano.synthesis.layers[index]
    plan = nano.plan(Window.from_size(21, 26, row0=-5, col0=3))
    reads, writes = plan[f"mod{layer.name}"], plan[f"conv{layer.name}"]
    rng = torch.Generator().manual_seed(index)
    x = torch.randn(2, layer.weight.shape[1], *reads.shape, generator=rng)
    w = torch.randn(2, 64, generator=rng)
    noise = NoiseField(seeds=(3, 4))
    found = layer(x, w[:, None, None].expand(-1, *plan["sites"].shape, -1), noise, plan)

    y, added = plain_layer(layer, x, w, noise.read(layer.index, writes, torch.device("cpu")))
    made = (
        writes
        if not layer.up
        else Window(row0=2 * reads.row0 + 2, col0=2 * reads.col0 + 2, row1=2 * reads.row1 - 2, col1=2 * reads.col1 - 2)
    )
    expected = math.sqrt(2) * F.leaky_relu(y[..., *writes.within(made)] + added, 0.2)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_white_input_keeps_unit_variance_whatever_the_style(seed: int) -> None:
    """What demodulation is for. After the leaky ReLU of gain sqrt(2) the mean square is 1.04."""
    rng = torch.Generator().manual_seed(seed)
    weight, style = torch.randn(6, 8, 3, 3, generator=rng), 5 * torch.randn(1, 1, 1, 8, generator=rng)
    x = torch.randn(1, 8, 258, 258, generator=rng) * style.permute(0, 3, 1, 2)
    y = F.conv2d(x, weight) * demodulation(weight, style).permute(0, 3, 1, 2)
    torch.testing.assert_close(y.var(dim=(0, 2, 3)), torch.ones(6), rtol=0, atol=0.06)
    rms = (math.sqrt(2) * F.leaky_relu(y, 0.2)).square().mean().item()
    assert rms == pytest.approx(1.04, abs=0.04)
