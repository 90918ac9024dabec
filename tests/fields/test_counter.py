"""Philox4x32-10 against published vectors and against plain integers; normal values against their definition."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.fields.counter import (
    NORMALS_PER_CALL,
    Stream,
    check_seed,
    derived_key,
    normal_grid,
    normal_plane,
    philox4x32,
)
from tilegen.geometry.window import MAX_COORDINATE, Window
from tilegen.testing.strategies import coordinates, seeds

CPU = torch.device("cpu")
word = st.integers(0, 2**32 - 1)

# kat_vectors of Random123 (D. E. Shaw Research), philox 4x32 10: counter, key, result
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in text.split())


def plain_philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The twin in Python's endless integers, round by round as in the paper (Salmon et al. 2011, section 3.4)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % (1 << 32), (k[1] + 0xBB67AE85) % (1 << 32)]
    return tuple(c)


def plain_key(seed: int, stream: Stream, part: int, group: int) -> tuple[int, ...]:
    return plain_philox((stream, part, group, 0), (seed % (1 << 32), seed >> 32))[:2]


def plain_normals(counter: tuple[int, ...], key: tuple[int, ...]) -> list[float]:
    """Quantiles of the eight 16-bit numbers of one call, low halves first; variance 1 but for the last bins."""
    halves = [half for value in plain_philox(counter, key) for half in (value & 0xFFFF, value >> 16)]
    return [NormalDist().inv_cdf((half + 0.5) / 65536) for half in halves]


def split(coordinate: int) -> tuple[int, int]:
    unsigned = coordinate % (1 << 64)
    return unsigned % (1 << 32), unsigned >> 32


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, expected: str) -> None:
    assert plain_philox(words(counter), words(key)) == words(expected)
    assert philox4x32(words(counter), words(key)) == words(expected)
    tensors = philox4x32(tuple(map(torch.tensor, words(counter))), tuple(map(torch.tensor, words(key))))
    assert tuple(map(int, tensors)) == words(expected)


@given(counters=st.lists(st.tuples(word, word, word, word), min_size=1, max_size=20), key=st.tuples(word, word))
def test_philox_is_its_plain_twin(counters: list[tuple[int, int, int, int]], key: tuple[int, int]) -> None:
    columns = torch.tensor(counters).unbind(1)
    found = torch.stack(philox4x32(columns, key), dim=1).tolist()
    assert [tuple(row) for row in found] == [plain_philox(counter, key) for counter in counters]


@given(seed=seeds(), stream=st.sampled_from(Stream), part=st.integers(0, 20), group=st.integers(0, 600))
def test_a_key_is_philox_of_its_address(seed: int, stream: Stream, part: int, group: int) -> None:
    assert derived_key(seed, stream, part, group) == plain_key(seed, stream, part, group)


@given(seed=seeds(), part=st.integers(0, 9), row=coordinates(), col=coordinates(), channel=st.integers(0, 20))
def test_a_value_of_a_grid_is_its_address(seed: int, part: int, row: int, col: int, channel: int) -> None:
    """Eight channels share a call; the table's values are scaled by less than 1e-4 to unit variance."""
    pixel = Window.from_size(1, 1, row0=row, col0=col)
    found = normal_grid((seed,), Stream.LATENT, part, 21, pixel, CPU)[0, channel, 0, 0].item()
    group, lane = divmod(channel, NORMALS_PER_CALL)
    expected = plain_normals((*split(row), *split(col)), plain_key(seed, Stream.LATENT, part, group))[lane]
    assert found == pytest.approx(expected, rel=1e-4)


@given(seed=seeds(), layer=st.integers(0, 20), row=coordinates(), col=coordinates())
def test_a_value_of_a_plane_is_its_address(seed: int, layer: int, row: int, col: int) -> None:
    """Eight neighbouring columns share a call."""
    pixel = Window.from_size(1, 1, row0=row, col0=col)
    found = normal_plane((seed,), Stream.NOISE, layer, pixel, CPU).item()
    block, lane = divmod(col, NORMALS_PER_CALL)
    expected = plain_normals((*split(row), *split(block)), plain_key(seed, Stream.NOISE, layer, 0))[lane]
    assert found == pytest.approx(expected, rel=1e-4)


def test_normal_values_have_mean_0_variance_1_and_the_right_tails() -> None:
    """Each of the 2**16 quantiles once would have exactly that; 2**20 draws come near."""
    values = normal_grid((3,), Stream.CONTENT, 0, 16, Window.from_size(256, 256, row0=-128, col0=2**40), CPU)
    assert values.mean().item() == pytest.approx(0, abs=5 / 1024)
    assert values.var().item() == pytest.approx(1, abs=5 * 2**0.5 / 1024)
    for threshold in (-2.5, -1.0, 0.5, 2.0, 3.0):
        share = NormalDist().cdf(threshold)
        assert (values < threshold).double().mean().item() == pytest.approx(share, abs=5 * (share / 2**20) ** 0.5)


def test_the_quantiles_have_variance_exactly_1() -> None:
    """All 2**16 of them, read off a large sample: sorted unique values, each weighed alike."""
    values = torch.cat(
        [
            normal_grid((seed,), Stream.CONTENT, 0, 8, Window.from_size(256, 256), CPU).flatten().unique()
            for seed in range(3)
        ]
    )
    table = values.unique().double()
    assert len(table) == 65536
    assert table.square().mean().item() == pytest.approx(1, abs=1e-7)
    assert torch.equal(table, -table.flip(0))


def test_streams_parts_seeds_channels_and_places_share_nothing() -> None:
    """Every pair of 40 planes: correlations like those of independent values, over 2**12 places."""
    window = Window.from_size(64, 64)
    planes = [
        normal_grid((seed,), stream, part, 2, window, CPU)[0].flatten(1)
        for seed in (0, 1, 1 << 32, 1 << 63)
        for stream in Stream
        for part in (0, 1)
    ]
    planes += [
        normal_grid((0,), Stream.LATENT, 0, 9, window.shifted(*step), CPU)[0, 8:].flatten(1)
        for step in ((0, 1), (1, 0), (1 << 32, 0), (0, 1 << 32), (-64, 0))
    ]
    planes += [normal_plane((0,), Stream.NOISE, layer, window, CPU)[0].flatten(1) for layer in range(3)]
    correlation = torch.corrcoef(torch.cat(planes)).fill_diagonal_(0)
    # The largest of about 1500 correlations of n places is near 3.5 / sqrt(n).
    assert correlation.abs().max().item() < 5 / 64


def test_a_row_is_not_a_column() -> None:
    here, there = (
        normal_grid((0,), Stream.CONTENT, 0, 8, Window.from_size(1, 1, row0=row, col0=col), CPU)
        for row, col in ((3, 8), (8, 3))
    )
    assert not torch.isclose(here, there).any()


def test_the_last_coordinates_can_be_read() -> None:
    corner = Window.from_size(3, 9, row0=-MAX_COORDINATE, col0=MAX_COORDINATE - 9)
    grid, plane = (
        normal_grid((1,), Stream.CONTENT, 0, 1, corner, CPU),
        normal_plane((1,), Stream.CONTENT, 0, corner, CPU),
    )
    assert len(grid.unique()) > 20
    assert len(plane.unique()) > 20


@pytest.mark.parametrize("seed", [-1, 1 << 64, -(1 << 70)])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=r"whole number from 0 to 2\*\*64 - 1"):
        check_seed(seed)
    with pytest.raises(InputError, match=r"whole number from 0 to 2\*\*64 - 1"):
        derived_key(seed, Stream.NOISE, 0)


def test_the_smallest_and_the_largest_seed_are_different_worlds() -> None:
    keys = {derived_key(check_seed(seed), Stream.NOISE, 0) for seed in (0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1)}
    assert len(keys) == 6
    assert np.array(list(keys)).min() >= 0
