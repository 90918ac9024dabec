"""Coarse pixels: the means of a product's overviews, the same in every window, and each tile rendered once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer, RecordingRenderer
from tilegen.testing.sinks import address_pixels, reference_levels
from tilegen.testing.strategies import windows
from tilegen.tiling.levels import covering, level_of, pixels_at

UTM = GeoReference(crs="EPSG:32633", res=0.5)


@given(window=windows(max_side=90), level=st.integers(0, 5))
def test_a_level_is_what_overviews_of_a_product_on_its_grid_hold(window: Window, level: int) -> None:
    """Negative and far windows included; at level 5 a pixel is a tile."""
    covered = covering(UTM, window, None, level=level)
    rows, cols = (
        range(start >> level, stop >> level)
        for start, stop in ((covered.row0, covered.row1), (covered.col0, covered.col1))
    )
    expected = reference_levels(address_pixels(covered), level + 1)[level]
    np.testing.assert_array_equal(pixels_at(CoordinateRenderer(tile_px=32), rows, cols, level=level), expected)


@given(
    rows=st.lists(st.integers(-200, 200), max_size=9),
    cols=st.lists(st.integers(2**40, 2**40 + 200), max_size=9),
    level=st.integers(0, 3),
)
def test_rows_and_columns_come_in_the_order_that_was_asked_for(rows: list[int], cols: list[int], level: int) -> None:
    """Repeated, backwards or far apart; and every tile that has any is asked for once."""
    asked: list[Window] = []
    found = pixels_at(RecordingRenderer(tile_px=32, asked=asked), rows, cols, level=level)
    assert found.shape == (3, len(rows), len(cols))
    for at_row, row in enumerate(rows):
        for at_col, col in enumerate(cols):
            one = Window.from_size(1 << level, 1 << level, row0=row << level, col0=col << level)
            expected = reference_levels(address_pixels(one), level + 1)[level][:, 0, 0]
            np.testing.assert_array_equal(found[:, at_row, at_col], expected)
    wanted = {((row << level) // 32 * 32, (col << level) // 32 * 32) for row in rows for col in cols}
    assert sorted((tile.row0, tile.col0) for tile in asked) == sorted(wanted)


@given(window=windows(), level=st.integers(0, 9))
def test_a_window_grows_to_whole_pixels_and_no_further(window: Window, level: int) -> None:
    covered, size = covering(UTM, window, None, level=level), 1 << level
    assert covered.contains(window)
    assert not any(end % size for end in (covered.row0, covered.row1, covered.col0, covered.col1))
    assert max(window.row0 - covered.row0, covered.row1 - window.row1) < size
    assert max(window.col0 - covered.col0, covered.col1 - window.col1) < size


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("full_res", [0.5, 0.3, 4.49661e-06])
def test_a_level_is_known_by_the_size_of_its_pixels(full_res: float, level: int) -> None:
    assert level_of(full_res * 2**level * (1 + 1e-12), full_res, 512) == level
    assert level_of(None, full_res, 512) == 0


@pytest.mark.parametrize("res", [0.25, 0.75, 1.0001, 512.0, 0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_level_is_refused(res: float) -> None:
    with pytest.raises(InputError, match=r"is no level of a world of 0\.5: give that times 1, 2, 4 .* up to 512\."):
        level_of(res, 0.5, 512)


def test_somebody_must_say_which_part_of_an_endless_world() -> None:
    with pytest.raises(InputError, match="A world has no end"):
        covering(UTM, None, None, level=0)
    with pytest.raises(InputError, match="not both"):
        covering(UTM, Window.from_size(1, 1), (0, 0, 1, 1), level=0)
