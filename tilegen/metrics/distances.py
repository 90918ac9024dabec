"""Distances between two sets of features: KID and Fréchet, averaged over orientations, with their chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import maximum_mean_discrepancy, poly_kernel

from tilegen.errors import MetricError
from tilegen.metrics.interval import Interval

MIN_IMAGES = 4
"""Two subsets of two: below that nothing is left to compare."""


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """KID over random subsets.

    Args:
        mean: over the subsets; for two samples of one distribution below 0 as often as above.
        std: standard deviation over the subsets, which share images: the spread that other papers print, not the
            uncertainty of the mean.
    """

    mean: float
    std: float


def kernel_distance(
    real: Float32[Tensor, "symmetries n features"],
    fake: Float32[Tensor, "_ m _"],
    *,
    seed: int,
    num_subsets: int = 100,
    subset_size: int = 1000,
) -> KernelDistance:
    """KID, the unbiased squared MMD with the kernel (x·y / features + 1)³ (Bińkowski et al. 2018, section 4).

    Subsets hold `subset_size` images, or half of the smaller set where that is less. The squared MMD is linear in the
    kernel, so the average over the orientations is taken of the kernels. Memory: (n + m)² floats.

    Raises:
        MetricError: fewer than four images on a side, or features that do not fit each other.
    """
    _check(real, fake)
    size = min(subset_size, real.shape[1] // 2, fake.shape[1] // 2)
    within_real, across, within_fake = mean_kernel(real, real), mean_kernel(real, fake), mean_kernel(fake, fake)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(num_subsets):
        r = torch.from_numpy(rng.permutation(real.shape[1])[:size])
        f = torch.from_numpy(rng.permutation(fake.shape[1])[:size])
        kernels = within_real[r[:, None], r], across[r[:, None], f], within_fake[f[:, None], f]
        scores.append(float(maximum_mean_discrepancy(*kernels)))
    return KernelDistance(mean=float(np.mean(scores)), std=float(np.std(scores)))


def kernel_distance_difference(
    real: Float32[Tensor, "symmetries n features"],
    fake_a: Float32[Tensor, "_ a _"],
    fake_b: Float32[Tensor, "_ b _"],
    *,
    seed: int,
    num_resamples: int = 1000,
) -> Interval:
    """KID(real, a) - KID(real, b) over all images, below 0 where a is nearer; percentile bootstrap (Efron 1979).

    The reals, and each set of fakes, are drawn with replacement; the reals are the same for both models. An image
    drawn twice is never paired with itself, so that the estimate stays unbiased. The interval covers the choice of
    images, not that of the chips they were cut from.

    Raises:
        MetricError: fewer than four images in a set, or features that do not fit each other.
    """
    _check(real, fake_a)
    _check(real, fake_b)
    rng = np.random.default_rng(seed)
    draws = [_draws(rng, features.shape[1], num_resamples) for features in (real, fake_a, fake_b)]
    once = [torch.ones(features.shape[1], 1) for features in (real, fake_a, fake_b)]
    kernels = [(mean_kernel(fake, fake), mean_kernel(fake, real)) for fake in (fake_a, fake_b)]

    def difference(weights: list[Tensor]) -> Float64[np.ndarray, " resamples"]:
        shares = [_share(*kernel, weights[0], own) for kernel, own in zip(kernels, weights[1:], strict=True)]
        return (shares[0] - shares[1]).double().numpy()

    low, high = np.quantile(difference(draws), [0.025, 0.975])
    return Interval(estimate=float(difference(once)[0]), low=float(low), high=float(high))


def frechet_distance(real: Float32[Tensor, "symmetries n features"], fake: Float32[Tensor, "_ m _"]) -> float:
    """Squared Fréchet distance of Gaussians fitted to both sets (Heusel et al. 2017, eq. 6), mean over orientations.

    Biased upwards, the more the fewer images there are: only numbers of one image count can be compared, and only
    beside the distance of two real sets of that count (Chong and Forsyth 2020).

    Raises:
        MetricError: the sets differ in size, or hold fewer than four images.
    """
    _check(real, fake)
    if real.shape[1] != fake.shape[1]:
        raise MetricError(f"Fréchet distances need as many real as fake images, got {real.shape[1]}, {fake.shape[1]}.")
    metric = FrechetInceptionDistance(feature=_Features(real.shape[2]))
    distances = []
    for real_turned, fake_turned in zip(real, fake, strict=True):
        metric.update(real_turned.double(), real=True)
        metric.update(fake_turned.double(), real=False)
        distances.append(float(metric.compute()))
        metric.reset()
    return float(np.mean(distances))


def halves(
    features: Float32[Tensor, "symmetries n features"], *, seed: int
) -> tuple[Float32[Tensor, "symmetries half features"], Float32[Tensor, "symmetries half features"]]:
    """Two disjoint random halves of one set: the distance between them is the floor under every other distance."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(features.shape[1]))
    half = len(order) // 2
    return features[:, order[:half]], features[:, order[half : 2 * half]]


def mean_kernel(
    x: Float32[Tensor, "symmetries n features"], y: Float32[Tensor, "symmetries m features"]
) -> Float32[Tensor, "n m"]:
    """KID's kernel of each image of `x` and each of `y`, both turned alike, mean over the orientations."""
    total = torch.zeros(x.shape[1], y.shape[1])
    for x_turned, y_turned in zip(x, y, strict=True):
        total += poly_kernel(x_turned, y_turned)
    return total / len(x)


def _share(
    within: Float32[Tensor, "m m"],
    across: Float32[Tensor, "m n"],
    real_weights: Float32[Tensor, "n resamples"],
    fake_weights: Float32[Tensor, "m resamples"],
) -> Float32[Tensor, " resamples"]:
    """The terms of the squared MMD that depend on the fakes; the others cancel in a difference."""
    pairs = (fake_weights * (within @ fake_weights)).sum(0) - within.diagonal() @ fake_weights.square()
    num_pairs = fake_weights.sum(0).square() - fake_weights.square().sum(0)
    mixed = (fake_weights * (across @ real_weights)).sum(0) / (fake_weights.sum(0) * real_weights.sum(0))
    return pairs / num_pairs - 2 * mixed


def _draws(rng: np.random.Generator, num_images: int, num_resamples: int) -> Float32[Tensor, "images resamples"]:
    """How often each image is drawn in each resample."""
    counts = rng.multinomial(num_images, np.full(num_images, 1 / num_images), size=num_resamples)
    return torch.from_numpy(counts.T.astype(np.float32))


def _check(real: Tensor, fake: Tensor) -> None:
    if min(real.shape[1], fake.shape[1]) < MIN_IMAGES:
        raise MetricError(f"A distance needs at least {MIN_IMAGES} images on each side. Give a larger number.")
    if (real.shape[0], real.shape[2]) != (fake.shape[0], fake.shape[2]):
        raise MetricError("Real and fake features differ in length or in orientations. Use one extractor for both.")


class _Features(nn.Identity):
    """What torchmetrics takes for a network, where the features are already there."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
