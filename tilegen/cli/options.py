"""Types of options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import click

T = TypeVar("T")

MAX_SIDE_PX = 1 << 30
"""Longest side of a product; GDAL counts pixels in signed 32 bits."""


class Limit(click.FloatRange):
    """A number from 0 on; neither infinite nor none."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class Seconds(click.FloatRange):
    """A time to wait, more than none; infinite is for ever."""

    name = "SECONDS"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{number} is not a number of seconds.", param, ctx)
        return number


class Size(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT in pixels, such as 20000x20000, to (height, width)."""

    name = "WIDTHxHEIGHT"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """(height, width)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*([0-9]{1,12})\s*[x×,]\s*([0-9]{1,12})\s*", value, re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is no size. Give WIDTHxHEIGHT in whole pixels, such as 20000x20000.", param, ctx)
        width, height = int(match[1]), int(match[2])
        if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
            self.fail(f"{value!r}: each side must be from 1 to {MAX_SIDE_PX} pixels.", param, ctx)
        return height, width


class Origin(click.ParamType[tuple[float, float]]):
    """X,Y in units of the CRS."""

    name = "X,Y"

    def convert(
        self, value: str | tuple[float, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """(x, y)."""
        if isinstance(value, tuple):
            return value
        try:
            x, y = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no coordinate. Give X,Y in units of the CRS, such as 664000,4005000.", param, ctx)
        return x, y


class Bounds(click.ParamType[tuple[float, float, float, float]]):
    """W,S,E,N in units of the CRS."""

    name = "W,S,E,N"

    def convert(
        self,
        value: str | tuple[float, float, float, float],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax)."""
        if isinstance(value, tuple):
            return value
        try:
            west, south, east, north = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} are no bounds. Give W,S,E,N in units of the CRS, such as 0,0,5000,5000.", param, ctx)
        return west, south, east, north


class ScaleSeed(click.ParamType[tuple[str, int]]):
    """SCALE=SEED, such as region=5, to (scale, seed)."""

    name = "SCALE=SEED"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """(scale, seed)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*([a-z]+)\s*=\s*([0-9]{1,20})\s*", value)
        if match is None:
            self.fail(f"{value!r} is no seed of a scale. Give SCALE=SEED, such as region=5.", param, ctx)
        return match[1], int(match[2])


class ScaleSigma(click.ParamType[tuple[str, float | None]]):
    """SCALE=CELLS, such as region=24, or world=inf, to (scale, kernel width in cells or None)."""

    name = "SCALE=CELLS"

    def convert(
        self, value: str | tuple[str, float | None], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float | None]:
        """(scale, width)."""
        if isinstance(value, tuple):
            return value
        name, _, cells = value.partition("=")
        try:
            width = float(cells)
        except ValueError:
            self.fail(f"{value!r} is no width of a scale. Give SCALE=CELLS, such as region=24.", param, ctx)
        return name, None if width == float("inf") else width


def once_each(option: str, pairs: Sequence[tuple[str, T]]) -> dict[str, T]:
    """The values that a repeated option gives to scales.

    Raises:
        InputError: two for one scale.
    """
    from tilegen.errors import InputError

    values = dict(pairs)
    if len(values) < len(pairs):
        raise InputError(f"{option} names a scale twice. Give each scale once.")
    return values


def default_workers() -> int:
    """One worker per core this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ProductPath(click.Path):
    """A path that exists, or the URL of a product, which is not looked at."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or the URL as it is."""
        return value if "://" in str(value) else super().convert(value, param, ctx)
