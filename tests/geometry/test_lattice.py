"""The lattice of tiles: every pixel in exactly one tile, the same one in every window."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.testing.strategies import nested_windows, windows

lattices = st.builds(Lattice, tile_px=st.integers(1, 40), row0=st.integers(-99, 99), col0=st.integers(-99, 99))


@given(lattice=lattices, window=windows(max_side=24))
def test_tiles_cover_a_window_exactly_once(lattice: Lattice, window: Window) -> None:
    tiles = list(lattice.tiles(window))
    hits = Counter(
        (row, col)
        for tile in tiles
        if (common := tile.intersection(window)) is not None
        for row in range(common.row0, common.row1)
        for col in range(common.col0, common.col1)
    )
    assert len(hits) == window.height * window.width
    assert set(hits.values()) == {1}
    assert lattice.count(window) == len(tiles)
    assert all(tile.intersection(window) for tile in tiles)


@given(lattice=lattices, window=windows(max_side=48), block_px=st.integers(1, 60))
def test_tiles_met_by_blocks_are_counted_as_by_a_walk_over_the_blocks(
    lattice: Lattice, window: Window, block_px: int
) -> None:
    blocks = Lattice(tile_px=block_px, row0=window.row0, col0=window.col0)
    parts = [block.intersection(window) for block in blocks.tiles(window)]
    assert lattice.count_in_blocks(window, block_px) == sum(lattice.count(part) for part in parts if part)


@given(lattice=lattices, pair=nested_windows(max_side=40))
def test_a_pixel_is_in_the_same_tile_in_every_window(lattice: Lattice, pair: tuple[Window, Window]) -> None:
    inner, outer = pair
    assert set(lattice.tiles(inner)) <= set(lattice.tiles(outer))


@given(lattice=lattices, row=st.integers(-(2**30), 2**30), col=st.integers(-9, 9))
def test_a_tile_has_its_own_index(lattice: Lattice, row: int, col: int) -> None:
    assert lattice.indices(lattice.tile(row, col)) == Window.from_size(1, 1, row0=row, col0=col)


def test_tiles_are_anchored_at_the_origin_on_its_negative_side_too() -> None:
    tiles = list(Lattice(tile_px=10).tiles(Window(row0=-1, row1=1, col0=-10, col1=0)))
    assert tiles == [Window.from_size(10, 10, row0=row0, col0=-10) for row0 in (-10, 0)]


@pytest.mark.parametrize("tile_px", [0, -8])
def test_a_tile_without_pixels_is_refused(tile_px: int) -> None:
    with pytest.raises(InputError, match="at least one pixel"):
        Lattice(tile_px=tile_px)
