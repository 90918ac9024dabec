"""Counter-based randomness: a random value is an address, not a state.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.4) in 64-bit integer
tensors, so that every device gives the same bits; then a table of 2**16 normal quantiles, so that the same bits give
the same floats (logarithms and cosines differ by an ulp between devices, tables do not).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from enum import IntEnum
from statistics import NormalDist

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from tilegen.errors import InputError
from tilegen.fields import kernels
from tilegen.fields.kernels import NORMALS_PER_CALL
from tilegen.geometry.window import Window

RNG_VERSION = "philox4x32-10/normal16/1"
"""Recorded with every product. A change of any bit below needs a new version: a seed means the same world for ever."""

_MASK32 = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_NUM_ROUNDS = 10

_CPU = torch.device("cpu")

Word = Int64[Tensor, "..."] | int


class Stream(IntEnum):
    """What a random value is for. Two streams share keys only by a 2**-64 chance. RNG_VERSION freezes the numbers."""

    LATENT = 1
    CONTENT = 2
    NOISE = 3


def philox4x32(counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]) -> tuple[Word, Word, Word, Word]:
    """Four 32-bit words for a 128-bit counter and a 64-bit key (Philox4x32-10, Salmon et al. 2011, Table 2).

    Words are int64 tensors (or ints) in [0, 2**32), lowest word first, and broadcast against each other.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_NUM_ROUNDS):
        # The product of two 32-bit words wraps in signed 64 bits, but its bits are right, and the mask cuts the sign.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _MASK32) ^ c1 ^ k0,
            product1 & _MASK32,
            ((product0 >> 32) & _MASK32) ^ c3 ^ k1,
            product0 & _MASK32,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK32, (k1 + _WEYL[1]) & _MASK32
    return c0, c1, c2, c3


def check_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        InputError: it is not in [0, 2**64).
    """
    if not 0 <= seed < 1 << 64:
        raise InputError(f"A seed is a whole number from 0 to 2**64 - 1, got {seed}.")
    return seed


@functools.lru_cache(maxsize=4096)
def derived_key(seed: int, stream: Stream, part: int, group: int = 0) -> tuple[int, int]:
    """The key of one stream of one seed: Philox of (stream, part, group, 0) under the seed as key.

    `part` tells apart the scales of the latent or the layers of the noise, `group` blocks of eight channels.

    Raises:
        InputError: the seed is not in [0, 2**64).
    """
    check_seed(seed)
    words = philox4x32((int(stream), part, group, 0), (seed & _MASK32, seed >> 32))
    return int(words[0]), int(words[1])


@functools.cache
def normal_table(device: torch.device) -> Float32[Tensor, "65536"]:
    """Quantiles of N(0, 1) at the midpoints of 2**16 equal bins, scaled so that their variance is exactly 1."""
    inverse = NormalDist().inv_cdf
    upper = [inverse((i + 0.5) / 65536) for i in range(32768, 65536)]
    rms = math.sqrt(math.fsum(value * value for value in upper) / len(upper))
    positive = [value / rms for value in upper]
    negative = [-value for value in reversed(positive)]
    return torch.tensor(negative + positive, dtype=torch.float64).to(device, torch.float32)


def _normals(words: tuple[Word, Word, Word, Word], device: torch.device) -> Float32[Tensor, "... lanes"]:
    """Eight N(0, 1) values per Philox call: low then high half of each word."""
    halves = [half for word in words if isinstance(word, Tensor) for half in (word & 0xFFFF, word >> 16)]
    bits = torch.stack(halves, dim=-1)
    return normal_table(device)[bits]


def _split(values: Int64[Tensor, "*shape"]) -> tuple[Int64[Tensor, "*shape"], Int64[Tensor, "*shape"]]:
    """Low and high 32-bit words of signed 64-bit coordinates (two's complement)."""
    return values & _MASK32, (values >> 32) & _MASK32


def _keys(
    seeds: Sequence[int], stream: Stream, part: int, groups: int, device: torch.device
) -> tuple[Int64[Tensor, "batch groups 1 1"], Int64[Tensor, "batch groups 1 1"]]:
    """The derived keys of every seed and channel group, ready to broadcast over rows and columns."""
    keys = [[derived_key(seed, stream, part, group) for group in range(groups)] for seed in seeds]
    both = torch.tensor(keys, dtype=torch.int64, device=device)
    return both[..., 0, None, None], both[..., 1, None, None]


def normal_grid(
    seeds: Sequence[int], stream: Stream, part: int, channels: int, window: Window, device: torch.device
) -> Float32[Tensor, "batch channels rows cols"]:
    """White N(0, 1) values at every absolute (row, col) of `window`; one seed per batch element.

    Channels come eight to a Philox call, so that value = f(seed, stream, part, channel, row, col) costs an eighth.
    """
    if not kernels.available(device):
        return plain_normal_grid(seeds, stream, part, channels, window, device)
    fields = [normal_vectors(seed, stream, part, channels, window) for seed in seeds]
    return torch.stack(fields).movedim(-1, 1)[:, :channels]


def normal_vectors(
    seed: int, stream: Stream, part: int, channels: int, window: Window
) -> Float32[Tensor, "rows cols padded_channels"]:
    """`normal_grid` of one seed by the kernels, channels last and as many as whole calls give."""
    keys = [derived_key(seed, stream, part, group) for group in range(-(-channels // NORMALS_PER_CALL))]
    return kernels.vectors(normal_table(_CPU), window, keys)


def plain_normal_grid(
    seeds: Sequence[int], stream: Stream, part: int, channels: int, window: Window, device: torch.device
) -> Float32[Tensor, "batch channels rows cols"]:
    """`normal_grid` in torch: the twin of the kernels, and what other devices use."""
    groups = -(-channels // NORMALS_PER_CALL)
    rows = torch.arange(window.row0, window.row1, dtype=torch.int64, device=device)[:, None]
    cols = torch.arange(window.col0, window.col1, dtype=torch.int64, device=device)
    words = philox4x32((*_split(rows), *_split(cols)), _keys(seeds, stream, part, groups, device))
    values = _normals(words, device)  # [batch, groups, rows, cols, lanes]
    return values.permute(0, 1, 4, 2, 3).flatten(1, 2)[:, :channels]


def normal_plane(
    seeds: Sequence[int], stream: Stream, part: int, window: Window, device: torch.device
) -> Float32[Tensor, "batch 1 rows cols"]:
    """White N(0, 1) values of a single channel: eight neighbouring columns share one Philox call."""
    if not kernels.available(device):
        return plain_normal_plane(seeds, stream, part, window, device)
    table = normal_table(_CPU)
    return torch.stack([kernels.plane(table, window, derived_key(seed, stream, part)) for seed in seeds])[:, None]


def plain_normal_plane(
    seeds: Sequence[int], stream: Stream, part: int, window: Window, device: torch.device
) -> Float32[Tensor, "batch 1 rows cols"]:
    """`normal_plane` in torch: the twin of the kernel, and what other devices use."""
    first, last = window.col0 // NORMALS_PER_CALL, -(-window.col1 // NORMALS_PER_CALL)
    rows = torch.arange(window.row0, window.row1, dtype=torch.int64, device=device)[:, None]
    blocks = torch.arange(first, last, dtype=torch.int64, device=device)
    words = philox4x32((*_split(rows), *_split(blocks)), _keys(seeds, stream, part, 1, device))
    values = _normals(words, device).flatten(-2)  # [batch, 1, rows, blocks * lanes]
    start = window.col0 - first * NORMALS_PER_CALL
    return values[..., start : start + window.width]
