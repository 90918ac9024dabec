"""The controller of the augmentation probability."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.training.ada import next_probability

SIGNS = st.floats(-1, 1)


@pytest.mark.parametrize(("start", "mean_sign", "end"), [(0.0, 1.0, 1.0), (1.0, -1.0, 0.0)])
def test_p_crosses_its_range_in_ada_kimg(start: float, mean_sign: float, end: float) -> None:
    """100 thousand images are 1000 calls of 100; after 999 there is a step to go, and after 1000 it stays."""
    p, path = start, []
    for _ in range(1100):
        p = next_probability(p, mean_sign, target=0.6, num_images=100, ada_kimg=100.0)
        path.append(p)
    assert path[998] == pytest.approx(0.001 + 0.998 * end)
    assert path[999] == pytest.approx(end)
    assert path[1000:] == [end] * 100


@given(p=st.floats(0, 1), signs=st.lists(SIGNS, max_size=20), num_images=st.integers(1, 10**6))
def test_p_stays_a_probability(p: float, signs: list[float], num_images: int) -> None:
    for sign in signs:
        p = next_probability(p, sign, target=0.6, num_images=num_images, ada_kimg=100.0)
        assert 0 <= p <= 1


@given(p=st.floats(0, 1), sign=SIGNS, target=SIGNS)
def test_p_moves_towards_the_side_of_the_target(p: float, sign: float, target: float) -> None:
    """Up while the discriminator is surer than it should be, down while it is less sure, and not at all between."""
    moved = next_probability(p, sign, target=target, num_images=64, ada_kimg=500.0)
    assert (moved > p) == (sign > target and p < 1)
    assert (moved < p) == (sign < target and p > 0)


def test_the_loop_settles_where_the_discriminator_is_as_sure_as_it_should_be() -> None:
    """A discriminator whose sureness falls from 0.9 by 0.8 p meets the target of 0.6 at p = 0.375."""
    p = 0.0
    for _ in range(5000):
        p = next_probability(p, 0.9 - 0.8 * p, target=0.6, num_images=64, ada_kimg=100.0)
    assert p == pytest.approx(0.375, abs=64 / 100_000)
