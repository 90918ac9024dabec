"""Monitoring: photographs painted as fakes score the floor, other images score more."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tilegen.errors import MetricError
from tilegen.metrics.features import SqueezeNetFeatures
from tilegen.metrics.monitor import KidMonitor


def grain(num: int, *, smooth: int, seed: int) -> torch.Tensor:
    """Noise of one grain size, [num, 3, 32, 32]: an own kind of texture for each `smooth`."""
    noise = np.random.default_rng(seed).integers(0, 256, (num, 3, 32 // smooth, 32 // smooth))
    return torch.from_numpy(noise.astype(np.uint8)).repeat_interleave(smooth, 2).repeat_interleave(smooth, 3)


@pytest.mark.parametrize("dihedral", [False, True])
def test_the_same_kind_of_image_scores_near_zero_and_another_kind_more(weight_file: Path, dihedral: bool) -> None:
    extractor = SqueezeNetFeatures.open(weight_file, input_px=32)
    monitor = KidMonitor(extractor, grain(24, smooth=4, seed=0), dihedral=dihedral)
    asked = []

    def paint(count: int, smooth: int) -> torch.Tensor:
        asked.append(count)
        return grain(count, smooth=smooth, seed=1)

    same, other = (monitor(lambda count, smooth=smooth: paint(count, smooth)) for smooth in (4, 1))
    assert asked == [24, 24]
    assert same.keys() == {"kid", "kid_std", "kid_floor"}
    assert same["kid_floor"] == other["kid_floor"] == monitor.floor
    assert other["kid"] > 10 * abs(same["kid"])
    assert other["kid"] > 10 * abs(monitor.floor)


def test_too_few_held_out_crops_are_refused(weight_file: Path) -> None:
    with pytest.raises(MetricError, match="at least 8"):
        KidMonitor(SqueezeNetFeatures.open(weight_file), grain(7, smooth=4, seed=0))
