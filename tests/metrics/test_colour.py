"""Shares of variance against components that are known because they were drawn."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tilegen.errors import MetricError
from tilegen.geometry.window import Window
from tilegen.metrics.colour import (
    colour_control,
    control_of,
    group_share,
    intraclass_correlation,
    mean_colours,
    nested_shares,
)


def nested(world: float, region: float, place: float, *, worlds: int = 40, seed: int = 0) -> np.ndarray:
    """Mean colours of worlds x 4 regions x 4 places in three bands, with these standard deviations."""
    rng = np.random.default_rng(seed)
    return (
        world * rng.normal(size=(worlds, 1, 1, 3))
        + region * rng.normal(size=(worlds, 4, 1, 3))
        + place * rng.normal(size=(worlds, 4, 4, 3))
    )


@pytest.mark.parametrize(("world", "region", "place"), [(1, 1, 2), (2, 0, 1), (0, 1, 1)])
def test_the_shares_are_those_of_the_drawn_components(world: int, region: int, place: int) -> None:
    total = world**2 + region**2 + place**2
    expected = (world**2 / total, region**2 / total)
    assert nested_shares(nested(world, region, place, worlds=1000)) == pytest.approx(expected, abs=0.03)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """15 experiments with 95 %; the percentile bootstrap of 40 groups is a little too narrow."""
    shares = [group_share(nested(1, 0, 1, seed=seed)[:, 0], seed=seed) for seed in range(15)]
    assert sum(share.low <= 0.5 <= share.high for share in shares) >= 11
    assert all(share.low < share.estimate < share.high < share.low + 0.5 for share in shares)


def test_no_control_is_zero_without_bias() -> None:
    """The plain share of the means' variance would be about 1/16 each time."""
    shares = [nested_shares(nested(0, 0, 1, worlds=12, seed=i))[0] for i in range(40)]
    assert abs(np.mean(shares)) < 3 * np.std(shares) / np.sqrt(len(shares))
    shares = [intraclass_correlation(nested(0, 0, 1, seed=i)[:, 0]) for i in range(40)]
    assert abs(np.mean(shares)) < 3 * np.std(shares) / np.sqrt(len(shares))


def test_the_share_of_groups_is_the_intraclass_correlation() -> None:
    """The six targets and four judges of Shrout and Fleiss 1979, table 2: ICC(1,1) is 0.17."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    assert group_share(ratings[:, :, None].astype(float), seed=0).estimate == pytest.approx(0.166, abs=0.001)


def test_worlds_and_regions_of_a_painter_are_told_apart() -> None:
    """Red follows the world, green the region, so each explains what it should."""

    def paint(seeds: tuple[int, ...], window: Window) -> Tensor:
        red = [np.random.default_rng(seed).normal(128, 10) for seed in seeds]
        green = [np.random.default_rng((seed, window.row0 // 1000)).normal(128, 10) for seed in seeds]
        colours = torch.tensor(np.round([red, green, np.full(len(seeds), 9)]).T).to(torch.uint8)
        return colours[:, :, None, None].repeat(1, 1, 8, 8)

    regions = tuple(
        tuple(Window.from_size(8, 8, row0=1000 * region, col0=20 * place) for place in range(3)) for region in range(4)
    )
    control = colour_control(paint, tuple(range(60)), regions, seed=0)
    assert control.world.estimate == pytest.approx(0.5, abs=0.12)
    assert control.world.estimate + control.region.estimate == pytest.approx(1, abs=1e-6)


def test_the_mean_colour_is_per_image_and_band() -> None:
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(mean_colours(images), [[7.5, 23.5, 39.5], [55.5, 71.5, 87.5]])


def test_designs_that_cannot_tell_are_refused() -> None:
    for shape in [(1, 4, 4, 3), (4, 1, 4, 3), (4, 4, 1, 3)]:
        with pytest.raises(MetricError, match="at least two"):
            control_of(np.zeros(shape), seed=0)
    with pytest.raises(MetricError, match="at least two"):
        group_share(np.zeros((5, 1, 3)), seed=0)
