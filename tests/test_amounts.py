"""Bytes and seconds in words."""

import pytest

from tilegen.amounts import amount, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (89.0, "89 s"),
        (700.0, "12 min"),
        (5399.0, "90 min"),
        (11_100.0, "3 h 05 min"),
        (172_799.0, "47 h 59 min"),
        (3_500_000.0, "41 days"),
    ],
)
def test_durations_are_for_people(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (620 << 20, "620 MiB"),
        (3_650_722_202, "3.4 GiB"),
        (1 << 40, "1.0 TiB"),
        (6 * 10**18, "5.2 EiB"),
    ],
)
def test_amounts_are_for_people(num_bytes, words):
    assert amount(num_bytes) == words
