"""Imagery for a map that needs no network: pixels that carry their own address, and painters that wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tilegen.geometry.lattice import Lattice
from tilegen.server.grid import BLOCK_PX, WORLD_ZOOM, MapGrid
from tilegen.testing.sinks import address_pixels

_LONGEST_WAIT_S = 60


@dataclass(kw_only=True)
class AddressImagery:
    """An endless image of addresses, the same for every seed. Implements `Imagery`.

    Args:
        grid: where it lies.
        gate: nothing is painted until it is set.
        painted: the blocks that were, in order.
    """

    grid: MapGrid = field(
        default_factory=lambda: MapGrid(crs="EPSG:3857", res=1.0, num_levels=4, native_zoom=WORLD_ZOOM, centred=True)
    )
    gate: threading.Event = field(default_factory=threading.Event)
    painted: list[tuple[int, ...]] = field(default_factory=list)
    band_names: tuple[str, ...] = ("red", "green", "blue")
    num_stored: int = 1

    def block(self, seed: int, level: int, row: int, col: int) -> UInt8[np.ndarray, "bands rows cols"]:
        """The addresses of a block.

        Raises:
            TimeoutError: the gate stayed shut.
        """
        if not self.gate.wait(_LONGEST_WAIT_S):
            raise TimeoutError("Nobody opened the gate.")
        self.painted.append((seed, level, row, col))
        return address_pixels(Lattice(tile_px=BLOCK_PX).tile(row, col))

    def provenance(self, seed: int) -> dict[str, Any]:
        """The seed."""
        return {"seed": seed}

    def about(self) -> dict[str, Any]:
        """A world without a model."""
        return {"kind": "world", "unit": "metre"}

    def command(self) -> tuple[str, ...] | None:
        """None."""
        return None
