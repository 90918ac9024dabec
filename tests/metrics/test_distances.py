"""Distances against closed forms: Gaussians of known mean and covariance, and samples of one distribution."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from tilegen.errors import MetricError
from tilegen.metrics.distances import (
    frechet_distance,
    halves,
    kernel_distance,
    kernel_distance_difference,
)


def normal(num: int, mean: float | np.ndarray = 0.0, std: float | np.ndarray = 1.0, *, dim: int, seed: int) -> Tensor:
    values = np.random.default_rng(seed).normal(size=(num, dim)) * std + mean
    return torch.from_numpy(values.astype(np.float32))[None]


def cubic_mmd(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Squared MMD of two scalar Gaussians (mean, std) under (xy + 1)³ = Σ C(3, j) xʲyʲ: Σ C(3, j) (E aʲ - E bʲ)²."""

    def moments(mean: float, std: float) -> np.ndarray:
        return np.array([mean, mean**2 + std**2, mean**3 + 3 * mean * std**2])

    return float(np.sum([3, 3, 1] * (moments(*a) - moments(*b)) ** 2))


@pytest.mark.parametrize("shape", [(0.0, 1.5), (0.5, 1.0), (-0.3, 0.7)])
def test_kid_of_two_gaussians_is_that_of_their_moments(shape: tuple[float, float]) -> None:
    real, fake = normal(1500, dim=1, seed=1), normal(1500, *shape, dim=1, seed=2)
    expected = cubic_mmd((0.0, 1.0), shape)
    assert kernel_distance(real, fake, seed=0, num_subsets=10).mean == pytest.approx(expected, rel=0.3, abs=0.05)


def test_kid_of_one_distribution_has_no_bias() -> None:
    """Below 0 as often as above. The biased estimate of 60 images in 32 dimensions would be near 0.1 every time."""
    scores = [
        kernel_distance(normal(60, dim=32, seed=2 * i), normal(60, dim=32, seed=2 * i + 1), seed=0, num_subsets=10).mean
        for i in range(60)
    ]
    assert abs(np.mean(scores)) < 3 * np.std(scores) / np.sqrt(len(scores))
    assert 0.25 < np.mean(np.array(scores) < 0) < 0.75


def test_kid_depends_on_nothing_but_the_seed() -> None:
    real, fake = normal(50, dim=4, seed=1), normal(40, 0.2, dim=4, seed=2)
    torch.manual_seed(1)
    first = kernel_distance(real, fake, seed=5)
    torch.manual_seed(2)
    assert kernel_distance(real, fake, seed=5) == first
    assert kernel_distance(real, fake, seed=6) != first
    assert first.std > 0


def test_kid_averages_the_distances_of_the_orientations() -> None:
    """The average of kernels against the average of torchmetrics' distances, on the one pair of subsets there is."""
    real = torch.cat([normal(8, 0.1 * i, dim=3, seed=i) for i in range(4)])
    fake = torch.cat([normal(8, -0.2 * i, dim=3, seed=10 + i) for i in range(4)])
    both = kernel_distance(torch.cat([real, real], 1), torch.cat([fake, fake], 1), seed=3, num_subsets=1)
    rng = np.random.default_rng(3)
    chosen = [torch.from_numpy(rng.permutation(16)[:8]) % 8 for _ in range(2)]
    plain = [float(poly_mmd(r[chosen[0]], f[chosen[1]])) for r, f in zip(real, fake, strict=True)]
    assert both.mean == pytest.approx(np.mean(plain), rel=1e-4)


def test_frechet_of_two_gaussians_is_the_closed_form() -> None:
    """Diagonal covariances commute: |Δmean|² + Σ (σ_a - σ_b)²."""
    mean, std = np.array([1.0, 0.0, -2.0]), np.array([0.5, 2.0, 1.0])
    real, fake = normal(40_000, dim=3, seed=1), normal(40_000, mean, std, dim=3, seed=2)
    expected = float(np.sum(mean**2) + np.sum((std - 1) ** 2))
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=0.02)
    assert frechet_distance(torch.cat([real, real]), torch.cat([fake, real])) == pytest.approx(expected / 2, rel=0.02)


def test_frechet_of_one_distribution_falls_with_the_number_of_images() -> None:
    """And so the floor does: 64 dimensions score 4.4 at 500 images and half of that at 1000 (gaussians, any seed)."""
    sample = normal(4000, dim=64, seed=3)
    floors = [frechet_distance(*halves(sample[:, :num], seed=0)) for num in (1000, 2000, 4000)]
    assert floors[0] == pytest.approx(4.4, rel=0.1)
    assert floors[1] == pytest.approx(2.2, rel=0.1)
    assert floors[2] == pytest.approx(1.1, rel=0.1)


def test_halves_are_disjoint_and_depend_on_the_seed() -> None:
    sample = torch.arange(11, dtype=torch.float32).reshape(1, 11, 1)
    first, second = halves(sample, seed=1)
    assert len({*first.flatten().tolist(), *second.flatten().tolist()}) == 10
    assert first.shape == second.shape == (1, 5, 1)
    assert not halves(sample, seed=2)[0].equal(first)


def test_the_interval_of_a_difference_holds_the_truth_about_as_often_as_it_says() -> None:
    """40 experiments with 95 %: fewer than 33 would happen once in a thousand."""
    truth = cubic_mmd((0.0, 1.0), (0.5, 1.0)) - cubic_mmd((0.0, 1.0), (0.0, 1.2))
    held = 0
    for i in range(40):
        sets = (
            normal(200, dim=1, seed=3 * i),
            normal(200, 0.5, dim=1, seed=3 * i + 1),
            normal(200, 0.0, 1.2, dim=1, seed=3 * i + 2),
        )
        interval = kernel_distance_difference(*sets, seed=i, num_resamples=300)
        held += interval.low <= truth <= interval.high
        assert interval.low < interval.estimate < interval.high
    assert held >= 33


def test_a_difference_is_that_of_the_two_distances_over_all_images() -> None:
    real, a, b = (normal(30, mean, dim=2, seed=i) for i, mean in enumerate((0.0, 0.3, 0.9)))
    distances = [float(poly_mmd(real[0], fake[0])) for fake in (a, b)]
    found = kernel_distance_difference(real, a, b, seed=0, num_resamples=10)
    assert found.estimate == pytest.approx(distances[0] - distances[1], rel=1e-4)
    assert found.high < 0  # a is much nearer


@pytest.mark.parametrize("distance", [lambda r, f: kernel_distance(r, f, seed=0), frechet_distance])
def test_too_few_images_and_features_of_two_extractors_are_refused(distance) -> None:
    with pytest.raises(MetricError, match="at least 4"):
        distance(normal(3, dim=2, seed=0), normal(9, dim=2, seed=1))
    with pytest.raises(MetricError, match="one extractor"):
        distance(normal(9, dim=2, seed=0), normal(9, dim=3, seed=1))


def test_frechet_distances_of_unequal_numbers_are_refused() -> None:
    with pytest.raises(MetricError, match="as many real as fake"):
        frechet_distance(normal(9, dim=2, seed=0), normal(8, dim=2, seed=1))
