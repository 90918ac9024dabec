"""Copies are found, in any orientation, and independent samples are not taken for copies."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tilegen.errors import MetricError
from tilegen.metrics.memorisation import QUANTILES, memorisation, nearest_training


def normal(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_neighbours_are_those_of_a_plain_search() -> None:
    images, training = normal(530, 6, seed=0), normal(8, 40, 6, seed=1)
    found = nearest_training(images, training)
    images, training = (some / some.square().sum(-1, keepdim=True).sqrt() for some in (images, training))
    plain = (images[:, None, None] - training).double().norm(dim=-1)  # [images, orientations, training]
    torch.testing.assert_close(found.distances.double(), plain.flatten(1).min(dim=1).values, rtol=1e-3, atol=1e-4)
    chosen = plain[torch.arange(530), found.orientation, found.nearest]
    torch.testing.assert_close(chosen, plain.flatten(1).min(dim=1).values, rtol=1e-3, atol=1e-4)


def test_bland_training_crops_are_not_near_to_everything() -> None:
    training = normal(1, 20, 8, seed=0)
    training[0, 0] *= 1e-3
    assert not (nearest_training(3 * normal(50, 8, seed=1), training).nearest == 0).all()


def test_independent_fakes_are_nearer_half_of_the_time() -> None:
    training = normal(1, 300, 8, seed=1)
    found = memorisation(*(nearest_training(normal(400, 8, seed=seed), training) for seed in (2, 3)))
    assert found.nearer == pytest.approx(0.5, abs=0.06)
    assert found.p_value > 0.01


def test_turned_copies_of_training_crops_are_found() -> None:
    """One fake in ten is a copy: the median does not see them, the lowest quantiles and the closest ones do."""
    training = normal(8, 300, 8, seed=1)
    fakes, copies = normal(200, 8, seed=2), range(0, 200, 10)
    for i in copies:
        fakes[i] = training[i % 8, i] + 0.01
    neighbours = nearest_training(fakes, training)
    found = memorisation(neighbours, nearest_training(normal(200, 8, seed=3), training))
    assert set(neighbours.closest(20).tolist()) == set(copies)
    assert neighbours.distances[neighbours.closest(200)].diff().min() >= 0
    assert found.fake_quantiles[QUANTILES.index(0.05)] < 0.05 < found.held_out_quantiles[0]
    assert found.nearer == pytest.approx(0.55, abs=0.06)


def test_fakes_that_are_all_copies_are_all_nearer() -> None:
    training = normal(1, 50, 8, seed=1)
    found = memorisation(nearest_training(training[0], training), nearest_training(normal(60, 8, seed=3), training))
    assert found.nearer == 1
    assert found.p_value < 1e-10


def test_an_empty_side_is_refused() -> None:
    training = normal(1, 5, 8, seed=1)
    some = nearest_training(normal(5, 8, seed=0), training)
    none = type(some)(distances=torch.zeros(0), nearest=torch.zeros(0).long(), orientation=torch.zeros(0).long())
    with pytest.raises(MetricError, match="at least one"):
        memorisation(some, none)
