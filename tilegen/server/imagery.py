"""The seam between the map and what it shows: blocks of pixels, wherever they come from."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from tilegen.server.grid import MapGrid


@runtime_checkable
class Imagery(Protocol):
    """Anything a map can show: a world of any seed, or a product, which has one."""

    @property
    def grid(self) -> MapGrid:
        """Where the pixels lie, and at which levels they are shown."""
        ...

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        ...

    @property
    def num_stored(self) -> int:
        """How many levels, from full resolution down, `block` knows; the others are means of them."""
        ...

    def block(self, seed: int, level: int, row: int, col: int) -> UInt8[np.ndarray, "bands rows cols"]:
        """Pixels of the block at (row, col) of a level, 0 where there is nothing. Threads may ask at once."""
        ...

    def provenance(self, seed: int) -> dict[str, Any]:
        """What made the pixels, JSON-serialisable."""
        ...

    def about(self) -> dict[str, Any]:
        """What the page must know of this imagery beside its grid, JSON-serialisable."""
        ...

    def command(self) -> tuple[str, ...] | None:
        """Words of a command that makes a file of a visible area, with fields in braces; None if there is none."""
        ...
