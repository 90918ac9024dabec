"""One tile: lossless, padded by its edge, and empty when there is nothing in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tilegen.tiling.sinks.tile_codec import decode_tile, encode_tile

tiles = arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 16), st.integers(1, 16)))


@given(pixels=tiles, compression=st.sampled_from(["deflate", "zstd"]))
def test_a_tile_comes_back_with_its_edge_repeated(pixels, compression):
    """Repeated, since zeros would cost bytes and end in the means of readers that forget the size."""
    bands, rows, cols = pixels.shape
    payload = encode_tile(pixels, 16, compression)
    padded = np.pad(pixels, ((0, 0), (0, 16 - rows), (0, 16 - cols)), mode="edge")
    np.testing.assert_array_equal(decode_tile(payload, bands, 16, compression), padded)
    assert (payload == b"") == (not pixels.any())


@pytest.mark.parametrize("compression", ["deflate", "zstd"])
def test_the_predictor_makes_slopes_small(compression):
    slope = np.broadcast_to(np.arange(1, 65, dtype=np.uint8), (3, 64, 64))
    assert len(encode_tile(slope, 64, compression)) < 200
