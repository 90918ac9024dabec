"""Square tiles of one size from an anchor: which there are, which meet a window, and how many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tilegen.errors import InputError
from tilegen.geometry.window import Window


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Square tiles of `tile_px` pixels; tile (i, j) starts at pixel (i * tile_px, j * tile_px) of its anchor.

    Used for the tiles of the world (anchor (0, 0)) and for the shards of a product (anchor: its first pixel).

    Raises:
        InputError: `tile_px` is not positive.
    """

    tile_px: int
    row0: int = 0
    col0: int = 0

    def __post_init__(self) -> None:
        if self.tile_px < 1:
            raise InputError(f"A tile needs at least one pixel, got {self.tile_px}.")

    def tile(self, row: int, col: int) -> Window:
        """Window of the tile with lattice index (`row`, `col`)."""
        return Window.from_size(
            self.tile_px,
            self.tile_px,
            row0=self.row0 + row * self.tile_px,
            col0=self.col0 + col * self.tile_px,
        )

    def indices(self, window: Window) -> Window:
        """The lattice indices of all tiles that meet `window`, themselves as a window."""
        return Window(
            row0=(window.row0 - self.row0) // self.tile_px,
            col0=(window.col0 - self.col0) // self.tile_px,
            row1=-((self.row0 - window.row1) // self.tile_px),
            col1=-((self.col0 - window.col1) // self.tile_px),
        )

    def tiles(self, window: Window) -> Iterator[Window]:
        """Every tile that meets `window`, row by row."""
        span = self.indices(window)
        for row in range(span.row0, span.row1):
            for col in range(span.col0, span.col1):
                yield self.tile(row, col)

    def count(self, window: Window) -> int:
        """Number of tiles that meet `window`."""
        span = self.indices(window)
        return span.height * span.width

    def count_in_blocks(self, window: Window, block_px: int) -> int:
        """Tiles met by each block of `block_px` pixels, added up; the first block starts at the corner of `window`.

        A tile that a border of blocks cuts counts in each. Costs no more for a large window than for a small one.
        """
        rows = self._intervals_met(window.row0 - self.row0, window.row1 - self.row0, block_px)
        cols = self._intervals_met(window.col0 - self.col0, window.col1 - self.col0, block_px)
        return rows * cols

    def _intervals_met(self, start: int, stop: int, block_px: int) -> int:
        """The same along one axis: tiles, and one more for each border of blocks that is inside a tile."""
        tiles = -(-stop // self.tile_px) - start // self.tile_px
        borders = -(-(stop - start) // block_px) - 1
        period = self.tile_px // math.gcd(block_px, self.tile_px)
        aligned_in_period = sum((start + i * block_px) % self.tile_px == 0 for i in range(1, period + 1))
        whole, rest = divmod(borders, period)
        aligned = whole * aligned_in_period + sum(
            (start + i * block_px) % self.tile_px == 0 for i in range(1, rest + 1)
        )
        return tiles + borders - aligned
