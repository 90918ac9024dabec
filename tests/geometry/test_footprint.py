"""Footprints against what the operators of their names really read, on arrays of one where all others are nought."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.geometry.footprint import CONV3, POINTWISE, UPCONV3, UPSAMPLE2, Footprint, site_footprint
from tilegen.geometry.window import Window

footprints = st.builds(
    Footprint, up=st.integers(1, 8), down=st.integers(1, 4), before=st.integers(-3, 9), after=st.integers(3, 9)
)


@given(footprint=footprints, start=st.integers(-(2**41), 2**41), count=st.integers(1, 20))
def test_an_interval_joins_what_its_pixels_read(footprint: Footprint, start: int, count: int) -> None:
    """The plain answer: each pixel on its own, by exact division of integers."""
    reads = []
    for o in range(start, start + count):
        first, last = (o * footprint.down - footprint.before), (o * footprint.down + footprint.after)
        reads += [first // footprint.up, last // footprint.up]
    assert footprint.interval(start, start + count) == (min(reads), max(reads) + 1)


@given(footprint=footprints, start=st.integers(-50, 50), steps=st.integers(-(2**38), 2**38))
def test_a_shift_by_whole_inputs_shifts_what_is_read(footprint: Footprint, start: int, steps: int) -> None:
    """So that no tile knows where it lies."""
    first, stop = footprint.interval(start, start + 3)
    moved = start + steps * footprint.up
    expected = (first + steps * footprint.down, stop + steps * footprint.down)
    assert footprint.interval(moved, moved + 3) == expected


@given(footprint=footprints, start=st.integers(-(2**41), 2**41), count=st.integers(1, 20))
def test_what_is_made_is_every_output_that_reads_nothing_else(footprint: Footprint, start: int, count: int) -> None:
    """The plain answer: each output near the input on its own."""
    stop = start + count
    centre, reach = start * footprint.up // footprint.down, 200
    fed = [
        o
        for o in range(centre - reach, centre + reach)
        if start <= footprint.interval(o, o + 1)[0] and footprint.interval(o, o + 1)[1] <= stop
    ]
    first, last = footprint.made_interval(start, stop)
    assert list(range(first, last)) == fed


def upsampled(x: np.ndarray) -> np.ndarray:
    """Zeros between the samples, then [1, 3, 3, 1] / 4: output o of input i is at 2 i + 1/2 +- 1/2."""
    stuffed = np.zeros(2 * len(x))
    stuffed[::2] = x
    return np.convolve(stuffed, [0.25, 0.75, 0.75, 0.25])[1:-2]


def convolved(x: np.ndarray) -> np.ndarray:
    return np.convolve(x, [0.3, 0.5, 0.2], mode="same")


def sampled_sites(level: int):
    """Bilinear at pixel centres; site k is centred at (k + 1/2) / 2 cells, pixel p at (p + 1/2) / 2**level."""

    def sampled(x: np.ndarray) -> np.ndarray:
        num_pixels = len(x) * (1 << level) // 2
        centres = (np.arange(num_pixels) + 0.5) / (1 << level) * 2 - 0.5
        return np.interp(centres, np.arange(len(x)), x)

    return sampled


OPERATORS = {
    "pointwise": (POINTWISE, lambda x: x),
    "3x3": (CONV3, convolved),
    "bilinear x2": (UPSAMPLE2, upsampled),
    "bilinear x2, then 3x3": (UPCONV3, lambda x: convolved(upsampled(x))),
    **{f"sites at level {level}": (site_footprint(level), sampled_sites(level)) for level in range(7)},
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_footprint_is_exactly_what_its_operator_reads(name: str) -> None:
    """Not a pixel more, not one less; away from the ends of the array, where the plain operators do as they like."""
    footprint, operator = OPERATORS[name]
    size = 12
    dependence = np.stack([operator(np.eye(size)[i]) for i in range(size)]) != 0  # [inputs, outputs]
    num_outputs = dependence.shape[1]
    for o in range(num_outputs // 3, 2 * num_outputs // 3):
        read = np.flatnonzero(dependence[:, o])
        assert footprint.interval(o, o + 1) == (read[0], read[-1] + 1)
        assert len(read) == read[-1] + 1 - read[0]


def test_rows_and_columns_are_read_alike() -> None:
    window = Window(row0=-7, row1=9, col0=4, col1=5)
    assert UPCONV3.needs(window) == Window(row0=-5, row1=6, col0=1, col1=4)
    assert UPCONV3.made(UPCONV3.needs(window)) == Window(row0=-8, row1=10, col0=4, col1=6)


def test_an_input_that_suffices_for_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one row"):
        CONV3.made(Window.from_size(2, 9))
