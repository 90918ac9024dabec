"""One tile: lossless or nearly so, padded by its edge, and empty when there is nothing in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tilegen.tiling.sinks.encoding import CogEncoding
from tilegen.tiling.sinks.tile_codec import decode_tile, encode_tile

LOSSLESS = [
    CogEncoding(compression=name, predictor=predictor) for name in ("deflate", "zstd", "lzw") for predictor in (1, 2)
]
LOSSY = [CogEncoding(compression=name, quality=90) for name in ("jpeg", "webp")]

shapes = st.tuples(st.integers(1, 4), st.integers(1, 16), st.integers(1, 16))
tiles = st.one_of(arrays.arrays(np.uint8, shapes), arrays.arrays(np.uint16, shapes))


@given(pixels=tiles, encoding=st.sampled_from(LOSSLESS))
def test_a_tile_comes_back_with_its_edge_repeated(pixels, encoding):
    """Repeated, since zeros would cost bytes and end in the means of readers that forget the size."""
    bands, rows, cols = pixels.shape
    payloads = encode_tile(pixels, 16, encoding)
    padded = np.pad(pixels, ((0, 0), (0, 16 - rows), (0, 16 - cols)), mode="edge")
    np.testing.assert_array_equal(decode_tile(payloads, bands, 16, encoding, str(pixels.dtype)), padded)
    assert (payloads == (b"",)) == (not pixels.any())


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_predictor_makes_slopes_small(compression, dtype):
    slopes = np.add.outer(np.arange(64) ** 2, np.arange(1, 65)).astype(dtype) + np.zeros((3, 1, 1), dtype)
    with_it, without = (
        len(encode_tile(slopes, 64, CogEncoding(compression=compression, predictor=predictor))[0])
        for predictor in (2, 1)
    )
    assert with_it < without / 2


@pytest.mark.parametrize("encoding", LOSSY, ids=str)
def test_a_lossy_tile_keeps_what_is_valid_and_nearly_its_colours(encoding):
    """Nodata would become a colour, so a mask says where it was; a valid pixel never becomes nodata."""
    rows, cols = np.mgrid[0:50, 0:40]
    pixels = np.stack([1 + rows * 2, 1 + cols * 3, 1 + rows + cols]).astype(np.uint8)
    pixels[:, 30:, :9] = 0
    payloads = encode_tile(pixels, 64, encoding)
    found = decode_tile(payloads, 3, 64, encoding)
    np.testing.assert_array_equal(found[:, :50, :40].all(axis=0), pixels.all(axis=0))
    assert not found[:, 50:].any()
    assert np.abs(found[:, :50, :40].astype(int) - pixels)[:, :22, 16:].mean() < 3
    assert encode_tile(pixels, 64, encoding) == payloads
    assert encode_tile(np.zeros_like(pixels), 64, encoding) == (b"", b"")


def test_webp_of_quality_100_is_lossless():
    pixels = np.random.default_rng(0).integers(1, 256, (3, 60, 64), dtype=np.uint8)
    encoding = CogEncoding(compression="webp", quality=100)
    (payload,) = encode_tile(pixels, 64, encoding)
    np.testing.assert_array_equal(decode_tile((payload,), 3, 64, encoding)[:, :60], pixels)
