"""Which chips are kept for validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

VAL_RUN_CHIPS = 8
"""Validation chips are taken in runs of about this length: neighbours by name are often neighbours on the ground,
and a chip whose neighbours were all trained on says little about generalisation."""


def split_chips(folders: Sequence[str], val_fraction: float) -> list[str]:
    """ "train" or "val" for each chip, given the folder of each, chips in the order of their names.

    Each folder gives its share, rounded. It is cut into as many parts as it has runs, and each part ends with one.
    If all shares round to nothing, the last chip of all is kept.
    """
    splits = [split for _, group in groupby(folders) for split in _split_folder(len(list(group)), val_fraction)]
    if val_fraction > 0 and len(splits) > 1 and "val" not in splits:
        splits[-1] = "val"
    return splits


def _split_folder(num_chips: int, val_fraction: float) -> list[str]:
    num_val = math.floor(num_chips * val_fraction + 0.5)
    num_runs = max(1, math.ceil(num_val / VAL_RUN_CHIPS))
    lengths = _even_parts(num_chips, num_runs)
    held = _even_parts(num_val, num_runs)
    return [
        "val" if index >= length - keep else "train"
        for length, keep in zip(lengths, held, strict=True)
        for index in range(length)
    ]


def _even_parts(total: int, num_parts: int) -> list[int]:
    """`total` as a sum of `num_parts` numbers that differ by at most one."""
    return [total * (part + 1) // num_parts - total * part // num_parts for part in range(num_parts)]
