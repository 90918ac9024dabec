"""Dataclasses to JSON and back: whole or not at all."""

import math
from dataclasses import dataclass

import pytest

from tilegen.config import from_dict, to_dict
from tilegen.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inner:
    sizes: tuple[int, ...]
    sigma: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    parts: tuple[Inner, ...]
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise InputError("rate must not be negative")


OUTER = Outer(name="a", parts=(Inner(sizes=(1, 2)), Inner(sizes=(), sigma=2.5)))


def test_a_dataclass_comes_back() -> None:
    assert from_dict(Outer, to_dict(OUTER)) == OUTER
    assert to_dict(OUTER)["parts"][0] == {"sizes": [1, 2], "sigma": None}


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"name": 1},
        {"name": None},
        {"parts": 7},
        {"parts": [{"sizes": [1], "surprise": 2}]},
        {"parts": [{"sizes": ["1"]}]},
        {"parts": [{"sizes": [1.5]}]},
        {"parts": [{}]},
        {"parts": [None]},
        {"rate": "fast"},
        {"rate": -1.0},
    ],
    ids=str,
)
def test_what_is_not_one_is_refused(change: dict) -> None:
    with pytest.raises(InputError):
        from_dict(Outer, to_dict(OUTER) | change)


def test_a_missing_key_is_refused() -> None:
    values = to_dict(OUTER)
    del values["name"]
    with pytest.raises(InputError, match=r"Not a valid Outer: .*name"):
        from_dict(Outer, values)


def test_what_json_cannot_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_dict(Outer(name="a", parts=(), rate=math.inf))
