"""The seam between networks and tiles, and the one function that joins tiles to windows."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt

from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window


@runtime_checkable
class TileRenderer(Protocol):
    """Anything that paints the tiles of a lattice. The same tile gives the same bytes, whoever asks and when."""

    @property
    def lattice(self) -> Lattice:
        """The tiles of the world, anchored at pixel (0, 0)."""
        ...

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        ...

    def halo_plan(self) -> HaloPlan:
        """What one tile reads at every layer."""
        ...

    def tile_bytes(self) -> int:
        """Memory that rendering one tile needs at most, in bytes."""
        ...

    def render_tile(self, tile: Window) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of one tile of the lattice, 1 and more; of one dtype, that of its products."""
        ...


@runtime_checkable
class RendererSource(Hashable, Protocol):
    """A renderer in plain data: picklable and hashable, opened once in each process that needs it."""

    def open(self) -> TileRenderer:
        """The renderer, with its weights loaded."""
        ...


@functools.lru_cache(maxsize=1)
def opened(source: RendererSource) -> TileRenderer:
    """The renderer of this process: weights are loaded once, not once per task."""
    return source.open()


def render_window(renderer: TileRenderer, window: Window) -> UInt[np.ndarray, "bands rows cols"]:
    """Pixels of any window: crops of the tiles it meets, placed side by side.

    Pixels always come from whole tiles of the lattice, so they are the same bytes in every window.
    """
    pixels: UInt[np.ndarray, "bands rows cols"] | None = None
    for tile in renderer.lattice.tiles(window):
        common = tile.intersection(window)
        if common is not None:
            rendered = renderer.render_tile(tile)
            if pixels is None:
                pixels = np.empty((len(renderer.band_names), *window.shape), rendered.dtype)
            pixels[:, *common.within(window)] = rendered[:, *common.within(tile)]
    assert pixels is not None, "a window has pixels, so it meets a tile"
    return pixels
