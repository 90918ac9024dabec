"""Frozen dataclasses to JSON and back. Unknown and missing keys are refused, so an old file is never half read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

import dacite

from tilegen.errors import InputError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, nested ones included, as plain JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), allow_nan=False))
    return plain


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """The dataclass `cls` from `to_dict` of it.

    Raises:
        InputError: keys are unknown or missing, a value has the wrong type or is out of range.
    """
    try:
        return dacite.from_dict(cls, values, dacite.Config(strict=True, cast=[tuple]))
    except (dacite.DaciteError, TypeError, AttributeError) as error:
        raise InputError(f"Not a valid {cls.__name__}: {error}.") from None
