"""A seed means the same world for ever: the bits of every field are frozen by RNG_VERSION."""

import json
import runpy
from pathlib import Path

import torch

from tilegen.fields.counter import RNG_VERSION

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_fields_are_those_of_their_version() -> None:
    """A changed bit fails here. Give RNG_VERSION a new name before running tests/golden/make.py again."""
    frozen = json.loads((GOLDEN / "fields.json").read_text())
    assert runpy.run_path(str(GOLDEN / "make.py"))["digests"]() == frozen
    assert frozen["rng_version"] == RNG_VERSION


def test_every_digest_is_of_something_else() -> None:
    frozen = json.loads((GOLDEN / "fields.json").read_text())
    assert len(set(frozen.values())) == len(frozen) > 60


def test_a_digest_sees_one_changed_bit() -> None:
    digest = runpy.run_path(str(GOLDEN / "make.py"))["digest"]
    values = torch.linspace(-3, 3, 99)
    changed = values.clone()
    changed.view(torch.int32)[50] ^= 1
    assert digest(changed) != digest(values)
