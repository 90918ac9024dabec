"""Plans against brute force on random networks: follow every pixel of every layer down to the sources."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.geometry.footprint import CONV3, POINTWISE, UPCONV3, UPSAMPLE2, Footprint, site_footprint
from tilegen.geometry.halo import HaloPlan, Layer
from tilegen.geometry.window import Window
from tilegen.model.synthesis import synthesis_layers
from tilegen.testing.strategies import nested_windows, windows

FOOTPRINTS = [POINTWISE, CONV3, UPSAMPLE2, UPCONV3, Footprint(before=2), site_footprint(0), site_footprint(3)]
FOUR, EIGHT = Footprint(before=4, after=4), Footprint(before=8, after=8)


# What each layer after the first reads: how far back its second source lies, and the footprints of both.
recipes = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(FOOTPRINTS), st.sampled_from(FOOTPRINTS)), min_size=1, max_size=6
)


def network(recipe: list[tuple[int, Footprint, Footprint]]) -> list[Layer]:
    """Every layer reads the one before it, and most read an earlier one too."""
    layers = [Layer(name="0")]
    for number, (back, footprint, other) in enumerate(recipe, start=1):
        reads = {str(max(number - back, 0)): other, str(number - 1): footprint}
        layers.append(Layer(name=str(number), reads=tuple(reads.items())))
    return layers


def rows_needed(window: Window, layers: list[Layer]) -> dict[str, set[int]]:
    """Rows of every layer, each traced on its own."""
    needed: dict[str, set[int]] = {layer.name: set() for layer in layers}
    needed[layers[-1].name] = set(range(window.row0, window.row1))
    for layer in reversed(layers):
        for source, footprint in layer.reads:
            for row in needed[layer.name]:
                needed[source] |= set(range(*footprint.interval(row, row + 1)))
    return needed


@given(recipe=recipes, height=st.integers(1, 9), row0=st.integers(-20, 20))
def test_a_plan_is_what_the_pixels_need_and_no_more(recipe: list, height: int, row0: int) -> None:
    layers, window = network(recipe), Window.from_size(height, 3, row0=row0)
    plan = HaloPlan.for_window(window, layers)
    for name, rows in rows_needed(window, layers).items():
        assert (plan[name].row0, plan[name].row1) == (min(rows), max(rows) + 1)


@given(recipe=recipes, pair=nested_windows())
def test_a_smaller_window_needs_no_other_pixels(recipe: list, pair: tuple[Window, Window]) -> None:
    inner, outer = (HaloPlan.for_window(window, network(recipe)) for window in pair)
    assert all(outer[name].contains(window) for name, window in inner.windows)


@given(top_level=st.integers(1, 6), window=windows(max_side=300))
def test_the_generator_needs_four_cells_per_side_at_any_depth(top_level: int, window: Window) -> None:
    """E5. As many style sites: eight half-cells. Shallow networks need a little less."""
    plan, cell_px = HaloPlan.for_window(window, synthesis_layers(top_level)), 1 << top_level
    cells = Footprint(up=cell_px).needs(window)
    assert FOUR.needs(cells).contains(plan["content"])
    sites = Window(row0=2 * cells.row0, col0=2 * cells.col0, row1=2 * cells.row1, col1=2 * cells.col1)
    assert EIGHT.needs(sites).contains(plan["sites"])


@pytest.mark.parametrize("top_level", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("cells", [1, 2, 8, 33])
def test_a_tile_of_whole_cells_needs_exactly_four_cells_per_side(top_level: int, cells: int) -> None:
    tile = Window.from_size(cells << top_level, cells << top_level, row0=-(1 << top_level))
    plan = HaloPlan.for_window(tile, synthesis_layers(top_level))
    assert plan["content"] == FOUR.needs(Window.from_size(cells, cells, row0=-1))
    assert plan["sites"] == EIGHT.needs(Window.from_size(2 * cells, 2 * cells, row0=-2))


@given(window=windows(), rows=st.integers(-(2**32), 2**32))
def test_a_plan_costs_the_same_wherever_it_is(window: Window, rows: int) -> None:
    """E6: a shift by whole cells changes no size."""
    layers = synthesis_layers(5)
    here, there = (HaloPlan.for_window(w, layers) for w in (window, window.shifted(32 * rows, -32 * rows)))
    assert [(name, w.shape) for name, w in here.windows] == [(name, w.shape) for name, w in there.windows]


def test_a_plan_is_plain_data() -> None:
    plan = HaloPlan.for_window(Window.from_size(64, 64), synthesis_layers(3))
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert str(plan).splitlines()[-1].split()[:4] == ["rgb3", "64", "x", "64"]
    with pytest.raises(KeyError, match="rgb4"):
        plan["rgb4"]


def test_a_layer_that_nobody_reads_is_not_planned() -> None:
    layers = [Layer(name="a"), Layer(name="b"), Layer(name="image", reads=(("a", CONV3),))]
    assert [name for name, _ in HaloPlan.for_window(Window.from_size(1, 1), layers).windows] == ["a", "image"]
