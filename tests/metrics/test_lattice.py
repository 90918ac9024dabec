"""Folding: noise shows no lattice, and every kind of lattice that is planted shows."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tilegen.errors import MetricError
from tilegen.metrics.lattice import lattice_spreads, luminance

CELL_PX, EDGE = 16, 17 * 16


def texture(num: int = 24, seed: int = 0) -> np.ndarray:
    """Noise with neighbours alike, [num, edge, edge], mean 128 and standard deviation about 25."""
    noise = np.random.default_rng(seed).normal(size=(num, EDGE + 2, EDGE + 2))
    smooth = sum(noise[:, i : i + EDGE, j : j + EDGE] for i in range(3) for j in range(3)) / 3
    return 128 + 25 * smooth


def phases(origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Absolute row and column of each pixel of each window."""
    return origins[:, :1] + np.arange(EDGE), origins[:, 1:] + np.arange(EDGE)


def grey(light: np.ndarray) -> Tensor:
    return torch.from_numpy(np.rint(light).clip(0, 255).astype(np.uint8))[:, None].repeat(1, 3, 1, 1)


ORIGINS = np.random.default_rng(7).integers(-(2**40), 2**40, (24, 2))


def test_texture_without_a_lattice_has_a_ratio_of_about_one() -> None:
    for seed in range(3):
        spreads = lattice_spreads(grey(texture(seed=seed)), ORIGINS, cell_px=CELL_PX)
        ratios = [spread.ratio for spread in spreads.values()]
        assert all(0.5 < ratio < 1.7 for ratio in ratios), ratios


def test_a_faint_pattern_in_the_mean_shows() -> None:
    """A wave of 8 % of the contrast, which no eye sees."""
    rows, cols = phases(ORIGINS)
    pattern = 4 * np.cos(2 * np.pi * rows / CELL_PX)[:, :, None] * np.cos(2 * np.pi * cols / CELL_PX)[:, None]
    spreads = lattice_spreads(grey(texture() + pattern), ORIGINS, cell_px=CELL_PX)
    assert spreads["mean"].ratio > 5
    assert spreads["mean"].spread == pytest.approx(2 / 25, rel=0.15)  # rms of the pattern is half of its height
    assert spreads["variance"].ratio < 2


def test_contrast_tied_to_the_lattice_shows() -> None:
    rows, cols = phases(ORIGINS)
    louder = 1 + 0.1 * np.cos(2 * np.pi * rows / CELL_PX)[:, :, None] * np.cos(2 * np.pi * cols / CELL_PX)[:, None]
    spreads = lattice_spreads(grey(128 + (texture() - 128) * louder), ORIGINS, cell_px=CELL_PX)
    assert spreads["variance"].ratio > 3
    assert spreads["mean"].ratio < 2


def test_a_weave_at_a_quarter_of_the_cell_shows() -> None:
    rows, cols = phases(ORIGINS)
    weave = 6.0 * ((rows % 4 == 0)[:, :, None] ^ (cols % 4 == 0)[:, None])
    spreads = lattice_spreads(grey(texture() + weave), ORIGINS, cell_px=CELL_PX)
    assert spreads["gradient_quarter"].ratio > 5


def test_phases_are_those_of_the_plane_and_not_of_the_windows() -> None:
    """A pattern that begins anew in each window is no lattice; it would be one to a fold that forgets the origins."""
    rows = cols = np.broadcast_to(np.arange(EDGE), (24, EDGE))
    pattern = 4 * np.cos(2 * np.pi * rows / CELL_PX)[:, :, None] * np.cos(2 * np.pi * cols / CELL_PX)[:, None]
    images = grey(texture() + pattern)
    aligned = lattice_spreads(images, np.zeros_like(ORIGINS), cell_px=CELL_PX)["mean"].ratio
    assert aligned > 1.8 * lattice_spreads(images, ORIGINS, cell_px=CELL_PX)["mean"].ratio


def test_luminance_of_grey_is_grey_and_green_is_brightest() -> None:
    red, green, blue, white = luminance(
        torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)[:, :, None, None]
    ).flatten()
    assert red + green + blue == pytest.approx(white) == pytest.approx(255)
    assert green > red > blue


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(MetricError, match="too small"):
        lattice_spreads(grey(texture(2))[:, :, :33, :33], ORIGINS[:2], cell_px=CELL_PX)
    with pytest.raises(MetricError, match="uniform"):
        lattice_spreads(grey(np.full((2, EDGE, EDGE), 9.0)), ORIGINS[:2], cell_px=CELL_PX)
