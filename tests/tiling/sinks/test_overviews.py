"""The 2x mean against the plain answer, and who owns which level."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tilegen.testing.sinks import address_product, reference_levels
from tilegen.tiling.sinks.overviews import halved, num_owned_levels

images = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    elements=st.one_of(st.sampled_from([0, 1, 254, 255]), st.integers(0, 255)),
)


@given(pixels=images)
def test_a_half_is_the_mean_of_the_valid_pixels(pixels):
    np.testing.assert_array_equal(halved(pixels), reference_levels(pixels, 2)[1])


@given(pixels=images)
def test_valid_pixels_never_turn_into_nodata_nor_nodata_into_valid(pixels):
    valid = reference_levels((pixels > 0).astype(np.uint8), 2)[1] > 0
    np.testing.assert_array_equal(halved(pixels) > 0, valid)


@given(pixels=arrays.arrays(np.uint8, (2, 6, 8), elements=st.integers(1, 255)))
def test_the_way_without_nodata_is_the_way_with_nodata(pixels):
    """A row of nodata sends the same pixels the other way."""
    with_nodata = np.concatenate([pixels, np.zeros((2, 2, 8), np.uint8)], axis=1)
    np.testing.assert_array_equal(halved(pixels), halved(with_nodata)[:, :3])


@pytest.mark.parametrize(
    ("values", "mean"),
    [([1, 2, 2, 1], 2), ([255] * 4, 255), ([0, 0, 0, 3], 3), ([0, 1, 2, 2], 2), ([0] * 4, 0)],
)
def test_halves_are_rounded_up_and_nodata_does_not_count(values, mean):
    assert halved(np.array(values, np.uint8).reshape(1, 2, 2)).item() == mean


@pytest.mark.parametrize(
    ("height", "width", "owned", "levels"),
    [(16, 16, 1, 1), (17, 1, 2, 2), (64, 64, 3, 3), (65, 64, 3, 4), (150, 133, 3, 5)],
)
def test_a_shard_owns_levels_as_long_as_a_chunk_fits_in(height, width, owned, levels):
    product = address_product(height, width)
    assert (num_owned_levels(product), product.num_levels) == (owned, levels)
