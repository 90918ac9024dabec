"""The seam between networks and tiles, and the one function that joins tiles to windows."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt

from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.aoi import Aoi


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
class RendersAhead(Protocol):
    """A renderer that begins a tile before the one before it is there, as a GPU can."""

    def render_tiles(self, tiles: Iterable[Window]) -> Iterator[UInt[np.ndarray, "bands rows cols"]]:
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


def render_window(
    renderer: TileRenderer, window: Window, aoi: Aoi | None = None
) -> UInt[np.ndarray, "bands rows cols"]:
    """Pixels of any window: crops of the tiles it meets, placed side by side.

    Pixels always come from whole tiles of the lattice, so they are the same bytes in every window.

    Args:
        aoi: pixels outside of it are 0, nodata, and tiles that show nothing else are not drawn; if none is, the zeros
            are uint8.
    """
    pixels = np.zeros((len(renderer.band_names), *window.shape), np.uint8)
    shown = list(_shown(renderer.lattice, window, aoi))
    for (tile, common, inside), painted in zip(shown, _painted(renderer, [tile for tile, _, _ in shown]), strict=True):
        if pixels.dtype != painted.dtype:  # known with the first tile
            pixels = np.zeros(pixels.shape, painted.dtype)
        pixels[:, *common.within(window)] = painted[:, *common.within(tile)] * inside
    return pixels


def _shown(
    lattice: Lattice, window: Window, aoi: Aoi | None
) -> Iterator[tuple[Window, Window, Bool[np.ndarray, "rows cols"]]]:
    """Each tile that shows a pixel in the window, what they have in common, and which pixels of that are inside."""
    for tile in lattice.tiles(window):
        common = tile.intersection(window)
        if common is not None:
            inside = np.ones((1, 1), np.bool_) if aoi is None else aoi.mask(common)
            if inside.any():
                yield tile, common, inside


def _painted(renderer: TileRenderer, tiles: Sequence[Window]) -> Iterator[UInt[np.ndarray, "bands rows cols"]]:
    if isinstance(renderer, RendersAhead):
        return renderer.render_tiles(tiles)
    return map(renderer.render_tile, tiles)
