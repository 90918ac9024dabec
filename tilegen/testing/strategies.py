"""Hypothesis strategies: windows near and far, windows in windows, addresses, seeds."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tilegen.geometry.window import Window

FAR_PX = 1 << 40
"""Far enough that float32 and int32 arithmetic on coordinates would show."""


def coordinates() -> SearchStrategy[int]:
    """Around the origin on both sides of it, around ±2**31 and ±2**32, and out to ±2**40."""
    edges = st.sampled_from([0, 1 << 31, 1 << 32, FAR_PX]).flatmap(lambda edge: st.sampled_from([edge, -edge]))
    near_edges = st.builds(int.__add__, edges, st.integers(-100, 100))
    return st.one_of(st.integers(-100, 100), near_edges, st.integers(-FAR_PX, FAR_PX))


def windows(*, max_side: int = 64) -> SearchStrategy[Window]:
    """Any window with sides of 1 to `max_side`; negative and far ones included."""
    sides = st.integers(1, max_side)
    return st.builds(Window.from_size, sides, sides, row0=coordinates(), col0=coordinates())


def _intervals(start: int, stop: int) -> SearchStrategy[tuple[int, ...]]:
    """Not empty, within [start, stop)."""
    return st.sets(st.integers(start, stop), min_size=2, max_size=2).map(lambda ends: tuple(sorted(ends)))


def nested_windows(*, max_side: int = 64) -> SearchStrategy[tuple[Window, Window]]:
    """(inner, outer) windows; the inner one may touch the outer one's edges or be all of it."""

    def pairs(outer: Window) -> SearchStrategy[tuple[Window, Window]]:
        ends = st.tuples(_intervals(outer.row0, outer.row1), _intervals(outer.col0, outer.col1))
        return ends.map(
            lambda both: (Window(row0=both[0][0], row1=both[0][1], col0=both[1][0], col1=both[1][1]), outer)
        )

    return windows(max_side=max_side).flatmap(pairs)


def seeds() -> SearchStrategy[int]:
    """Every seed there is, the smallest and the largest often."""
    return st.one_of(st.sampled_from([0, 1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1]), st.integers(0, (1 << 64) - 1))
