"""Work that leaves nothing behind: a sink that forgets, and tiles that only burn processor time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer
from tilegen.tiling.product import Product


@dataclass(frozen=True, kw_only=True)
class IdleSink:
    """Forgets everything. Implements `Sink`."""

    product: Product

    @property
    def disk_copies(self) -> int:
        """None."""
        return 0

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Nothing was ever kept."""
        return set()

    def write(self, shard: tuple[int, int], pixels: UInt8[np.ndarray, "bands rows cols"]) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class BusyRenderer:
    """Blank tiles, each after so many seconds of processor time. Implements `TileRenderer`."""

    cpu_s: float
    tile_px: int

    @property
    def lattice(self) -> Lattice:
        """Tiles of `tile_px`, anchored at pixel (0, 0)."""
        return Lattice(tile_px=self.tile_px)

    @property
    def band_names(self) -> tuple[str, ...]:
        """One."""
        return ("grey",)

    def halo_plan(self) -> HaloPlan:
        """A network of one layer that reads nothing."""
        return CoordinateRenderer(tile_px=self.tile_px).halo_plan()

    def tile_bytes(self) -> int:
        """One byte per pixel."""
        return self.tile_px**2

    def render_tile(self, tile: Window) -> UInt8[np.ndarray, "bands rows cols"]:
        """Blank, in due time."""
        until = time.thread_time() + self.cpu_s
        while time.thread_time() < until:
            pass
        return np.ones((1, *tile.shape), np.uint8)


@dataclass(frozen=True, kw_only=True)
class BusySource:
    """A `BusyRenderer` in plain data. Implements `RendererSource`."""

    cpu_s: float
    tile_px: int

    def open(self) -> BusyRenderer:
        """The renderer."""
        return BusyRenderer(cpu_s=self.cpu_s, tile_px=self.tile_px)
