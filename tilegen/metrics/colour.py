"""Colour: how much of the variety of colour is decided by the world and by the region, and how much by the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.stats import bootstrap
from torch import Tensor

from tilegen.errors import MetricError
from tilegen.geometry.window import Window
from tilegen.metrics.interval import Interval

Paint = Callable[[tuple[int, ...], Window], UInt8[Tensor, "worlds bands rows cols"]]
"""Paints one window of several worlds, given by their seeds."""


@dataclass(frozen=True, kw_only=True)
class ColourControl:
    """What decides the mean colour of a crop, all bands together.

    Args:
        world: share of the variance that lies between worlds: control of season, light and kind of land.
        region: share between regions of one world.
    """

    world: Interval
    region: Interval


def colour_control(
    paint: Paint, seeds: tuple[int, ...], regions: tuple[tuple[Window, ...], ...], *, seed: int
) -> ColourControl:
    """Paint every window of every region in every world, and split the variance of the mean colours.

    Args:
        paint: what is judged.
        seeds: the worlds.
        regions: far from each other; each holds equally many windows that are near each other, but do not touch.
        seed: of the bootstrap.

    Raises:
        MetricError: fewer than two worlds, regions or windows of a region.
    """
    means = [[mean_colours(paint(seeds, window)) for window in region] for region in regions]
    return control_of(np.moveaxis(np.array(means), 2, 0), seed=seed)


def mean_colours(images: UInt8[Tensor, "n bands rows cols"]) -> Float64[np.ndarray, "n bands"]:
    """Mean of each band of each image, code values."""
    return images.double().mean(dim=(2, 3)).numpy()


def control_of(means: Float64[np.ndarray, "worlds regions draws bands"], *, seed: int) -> ColourControl:
    """The shares from mean colours; the bootstrap draws whole worlds.

    Raises:
        MetricError: fewer than two worlds, regions or draws.
    """
    if min(means.shape[:3]) < 2:
        raise MetricError("Colour control needs at least two worlds, two regions and two windows of a region.")
    return ColourControl(
        world=_interval(means, lambda drawn: nested_shares(drawn)[0], seed),
        region=_interval(means, lambda drawn: nested_shares(drawn)[1], seed),
    )


def group_share(means: Float64[np.ndarray, "groups draws bands"], *, seed: int) -> Interval:
    """Share of the variance of mean colours that lies between groups: for photographs, groups are chips.

    Raises:
        MetricError: fewer than two groups or draws.
    """
    if min(means.shape[:2]) < 2:
        raise MetricError("A share of variance needs at least two groups of at least two crops.")
    return _interval(means, intraclass_correlation, seed)


def intraclass_correlation(means: Float64[np.ndarray, "groups draws bands"]) -> float:
    """One-way analysis of variance with random effects, ICC(1, 1) of Shrout and Fleiss 1979, summed over the bands."""
    draws = means.shape[1]
    between = draws * means.mean(axis=1).var(axis=0, ddof=1).sum()
    within = means.var(axis=1, ddof=1).mean(axis=0).sum()
    total = between + (draws - 1) * within
    return float((between - within) / total) if total > 0 else 0.0


def nested_shares(means: Float64[np.ndarray, "worlds regions draws bands"]) -> tuple[float, float]:
    """World and region components of a balanced nested design over their total (random effects, Searle et al. 1992)."""
    _, regions, draws, _ = means.shape
    in_region = means.mean(axis=2)
    square_world = regions * draws * in_region.mean(axis=1).var(axis=0, ddof=1).sum()
    square_region = draws * in_region.var(axis=1, ddof=1).mean(axis=0).sum()
    place = means.var(axis=2, ddof=1).mean(axis=(0, 1)).sum()
    region = (square_region - place) / draws
    world = (square_world - square_region) / (regions * draws)
    total = world + region + place
    return (float(world / total), float(region / total)) if total > 0 else (0.0, 0.0)


def _interval(means: Float64[np.ndarray, "groups *rest"], share: Callable[[np.ndarray], float], seed: int) -> Interval:
    """Percentile bootstrap over the first axis, whose elements are independent."""
    estimate = share(means)
    drawn = bootstrap(
        (np.arange(len(means)),),
        lambda chosen: share(means[chosen]),
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(seed),
        n_resamples=1000,
    )
    low, high = drawn.confidence_interval
    return Interval(estimate=estimate, low=float(low), high=float(high))
