"""The seam between networks and tiles, and the one function that joins tiles to windows."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

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

    def render_tile(self, tile: Window) -> UInt8[np.ndarray, "bands rows cols"]:
        """Pixels of one tile of the lattice, 1..255."""
        ...


@runtime_checkable
class RendersAhead(Protocol):
    """A renderer that begins a tile before the one before it is there, as a GPU can."""

    def render_tiles(self, tiles: Iterable[Window]) -> Iterator[UInt8[np.ndarray, "bands rows cols"]]:
        """`render_tile` of each, in order; never more than a few at once."""
        ...


@runtime_checkable
class RendererSource(Hashable, Protocol):
    """A renderer in plain data: picklable and hashable, opened once in each process that needs it."""

    def open(self) -> TileRenderer:
        """The renderer, with its weights loaded."""
        ...


@runtime_checkable
class OffCpu(Protocol):
    """A source that says where tiles are painted."""

    @property
    def off_cpu(self) -> bool:
        """Whether another device paints them, and a core is left to store what is painted."""
        ...


def is_off_cpu(source: RendererSource) -> bool:
    """Whether rendering and storing can go on side by side; what says nothing paints on the CPU."""
    return isinstance(source, OffCpu) and source.off_cpu


@functools.lru_cache(maxsize=1)
def opened(source: RendererSource) -> TileRenderer:
    """The renderer of this process: weights are loaded once, not once per task."""
    return source.open()


def render_window(renderer: TileRenderer, window: Window) -> UInt8[np.ndarray, "bands rows cols"]:
    """Pixels of any window: crops of the tiles it meets, placed side by side.

    Pixels always come from whole tiles of the lattice, so they are the same bytes in every window.
    """
    pixels = np.empty((len(renderer.band_names), *window.shape), np.uint8)
    for tile, painted in zip(renderer.lattice.tiles(window), _painted(renderer, window), strict=True):
        common = tile.intersection(window)
        if common is not None:
            pixels[:, *common.within(window)] = painted[:, *common.within(tile)]
    return pixels


def _painted(renderer: TileRenderer, window: Window) -> Iterator[UInt8[np.ndarray, "bands rows cols"]]:
    tiles = renderer.lattice.tiles(window)
    if isinstance(renderer, RendersAhead):
        return renderer.render_tiles(tiles)
    return map(renderer.render_tile, tiles)
