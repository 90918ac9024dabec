"""Renderers that need no network: pixels that carry their own address, and one that must not be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from tilegen.geometry.halo import HaloPlan, Layer
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.testing.sinks import address_pixels


@dataclass(frozen=True, kw_only=True)
class CoordinateRenderer:
    """Paints each pixel with its own absolute address: a misplaced tile shows. Implements `TileRenderer`.

    Refuses what is not a tile of its lattice, so that nothing but whole tiles is ever asked of a renderer.
    """

    tile_px: int = 32

    @property
    def lattice(self) -> Lattice:
        """Tiles of `tile_px`, anchored at pixel (0, 0)."""
        return Lattice(tile_px=self.tile_px)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Three: row, column and the multiples of both, as `address_pixels` spells them."""
        return ("red", "green", "blue")

    def halo_plan(self) -> HaloPlan:
        """A network of one layer that reads nothing."""
        return HaloPlan.for_window(self.lattice.tile(0, 0), [Layer(name="image")])

    def tile_bytes(self) -> int:
        """Three bytes per pixel, and as much again for the arithmetic."""
        return 6 * self.tile_px**2

    def render_tile(self, tile: Window) -> UInt8[np.ndarray, "bands rows cols"]:
        """The addresses of one tile.

        Raises:
            ValueError: `tile` is not on the lattice.
        """
        if [tile] != list(self.lattice.tiles(tile)):
            raise ValueError(f"{tile} is not a tile of {self.lattice}.")
        return address_pixels(tile)


@dataclass(frozen=True, kw_only=True)
class CoordinateSource:
    """A `CoordinateRenderer` in plain data. Implements `RendererSource`."""

    tile_px: int = 32

    def open(self) -> CoordinateRenderer:
        """The renderer."""
        return CoordinateRenderer(tile_px=self.tile_px)


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordingSource:
    """A `CoordinateSource` that remembers, in this process, which tiles it was asked for. Implements `RendererSource`.

    Args:
        tile_px: edge of a tile.
        asked: the tiles, in order.
    """

    tile_px: int = 32
    asked: list[Window] = field(default_factory=list)

    def open(self) -> RecordingRenderer:
        """The renderer."""
        return RecordingRenderer(tile_px=self.tile_px, asked=self.asked)


@dataclass(frozen=True, kw_only=True)
class RecordingRenderer(CoordinateRenderer):
    """What a `RecordingSource` opens."""

    asked: list[Window]

    def render_tile(self, tile: Window) -> UInt8[np.ndarray, "3 rows cols"]:
        """The addresses of one tile, which is remembered."""
        self.asked.append(tile)
        return super().render_tile(tile)


@dataclass(frozen=True, kw_only=True)
class ExplodingSource:
    """A source that must not be opened: proof that something is lazy. Implements `RendererSource`."""

    def open(self) -> CoordinateRenderer:
        """Nothing.

        Raises:
            AssertionError: always.
        """
        raise AssertionError("A renderer was opened before a pixel was asked for.")
