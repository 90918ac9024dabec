"""Windows as sets of pixels: the algebra against sets of (row, col)."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.geometry.window import MAX_COORDINATE, Window
from tilegen.testing.strategies import nested_windows, windows

small = st.builds(
    Window.from_size, st.integers(1, 6), st.integers(1, 6), row0=st.integers(-6, 6), col0=st.integers(-6, 6)
)


def pixels(window: Window) -> set[tuple[int, int]]:
    return {(r, c) for r in range(window.row0, window.row1) for c in range(window.col0, window.col1)}


@given(one=small, other=small)
def test_intersection_and_containment_are_those_of_sets(one: Window, other: Window) -> None:
    common = one.intersection(other)
    assert (set() if common is None else pixels(common)) == pixels(one) & pixels(other)
    assert one.contains(other) == (pixels(other) <= pixels(one))
    assert common == other.intersection(one)


@given(one=small, other=small)
def test_the_union_is_the_smallest_window_around_both(one: Window, other: Window) -> None:
    union = one.union(other)
    rows, cols = zip(*(pixels(one) | pixels(other)), strict=True)
    assert (union.row0, union.row1) == (min(rows), max(rows) + 1)
    assert (union.col0, union.col1) == (min(cols), max(cols) + 1)


@given(pair=nested_windows())
def test_within_cuts_the_inner_window_out_of_the_outer_one(pair: tuple[Window, Window]) -> None:
    inner, outer = pair
    rows, cols = np.ogrid[outer.row0 : outer.row1, outer.col0 : outer.col1]
    row_slice, col_slice = inner.within(outer)
    assert rows[row_slice].ravel().tolist() == list(range(inner.row0, inner.row1))
    assert cols[:, col_slice].ravel().tolist() == list(range(inner.col0, inner.col1))
    assert outer.contains(inner)


@given(window=windows(), rows=st.integers(-(2**41), 2**41), cols=st.integers(-5, 5))
def test_shifting_comes_back(window: Window, rows: int, cols: int) -> None:
    assert window.shifted(rows, cols).shifted(-rows, -cols) == window
    assert window.shifted(rows, cols).shape == window.shape


@given(window=windows())
def test_a_window_is_plain_data(window: Window) -> None:
    assert pickle.loads(pickle.dumps(window)) == window
    assert Window.from_size(*window.shape, row0=window.row0, col0=window.col0) == window
    assert len({window, window.shifted(0, 0)}) == 1


def test_a_window_that_is_not_inside_is_refused() -> None:
    with pytest.raises(InputError, match=r"rows 0\.\.2, cols -1\.\.1 is not inside rows 0\.\.2, cols 0\.\.2"):
        Window.from_size(2, 2, col0=-1).within(Window.from_size(2, 2))


@pytest.mark.parametrize(("height", "width"), [(0, 1), (1, 0), (-1, 5), (0, 0)])
def test_an_empty_window_is_refused(height: int, width: int) -> None:
    with pytest.raises(InputError, match="at least one row and one column"):
        Window.from_size(height, width)


@pytest.mark.parametrize("row0", [-MAX_COORDINATE - 1, MAX_COORDINATE])
def test_a_window_beyond_the_last_coordinate_is_refused(row0: int) -> None:
    assert Window.from_size(1, 1, row0=MAX_COORDINATE - 1).row1 == MAX_COORDINATE
    with pytest.raises(InputError, match=r"beyond ±2\*\*60"):
        Window.from_size(1, 1, row0=row0)
