"""Windows are put together from whole tiles: every pixel in its place, whatever the tile size."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer, CoordinateSource, ExplodingSource
from tilegen.testing.sinks import address_pixels
from tilegen.testing.strategies import windows
from tilegen.tiling.render import RendererSource, TileRenderer, opened, render_window


@given(window=windows(max_side=90), tile_px=st.sampled_from([1, 7, 32, 50, 1000]).filter(bool))
@settings(max_examples=40)
def test_any_tiling_gives_the_same_image(window: Window, tile_px: int) -> None:
    """The renderer refuses everything but tiles of its lattice; the pixels spell their addresses."""
    if tile_px == 1:
        window = Window.from_size(min(window.height, 9), min(window.width, 9), row0=window.row0, col0=window.col0)
    pixels = render_window(CoordinateRenderer(tile_px=tile_px), window)
    np.testing.assert_array_equal(pixels, address_pixels(window))


def test_the_renderer_of_addresses_refuses_what_is_no_tile() -> None:
    renderer = CoordinateRenderer(tile_px=32)
    assert renderer.render_tile(Window.from_size(32, 32, row0=-32, col0=64)).shape == (3, 32, 32)
    for window in (Window.from_size(32, 32, row0=1), Window.from_size(16, 32), Window.from_size(64, 64)):
        with pytest.raises(ValueError, match="not a tile"):
            renderer.render_tile(window)


@pytest.mark.parametrize("source", [CoordinateSource(), CoordinateSource(tile_px=8), ExplodingSource()])
def test_sources_are_plain_data(source: RendererSource) -> None:
    assert isinstance(source, RendererSource)
    assert pickle.loads(pickle.dumps(source)) == source
    assert hash(pickle.loads(pickle.dumps(source))) == hash(source)


def test_a_process_opens_a_source_once() -> None:
    first = opened(CoordinateSource(tile_px=8))
    assert isinstance(first, TileRenderer)
    assert opened(CoordinateSource(tile_px=8)) is first
    assert opened(CoordinateSource(tile_px=16)).lattice.tile_px == 16
