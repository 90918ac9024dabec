"""Tiles of every level: quarters of blocks, and means of them farther out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Hashable, Iterable

import numpy as np

from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.server.cache import ByteCache
from tilegen.server.grid import MAP_TILE_PX
from tilegen.server.imagery import Imagery
from tilegen.server.painter import Painter, Pixels
from tilegen.tiling.sinks.overviews import halved

_LATTICE = Lattice(tile_px=MAP_TILE_PX)


class Pyramid:
    """Pixels of tiles and windows at any level; what was painted is kept as long as it fits. For one event loop.

    A tile k levels beyond those that are stored costs 4**(k - 1) blocks at most.

    Args:
        imagery: what is shown.
        cache_bytes: of pixels that are kept, over all seeds and levels.
        num_threads: how many blocks are painted at a time.
        most_waiting: how many may wait for that.
    """

    def __init__(self, imagery: Imagery, *, cache_bytes: int, num_threads: int, most_waiting: int) -> None:
        self._imagery = imagery
        self.cache: ByteCache[np.ndarray] = ByteCache(cache_bytes)
        self.painter = Painter(imagery.block, self._keep, num_threads=num_threads, most_waiting=most_waiting)

    async def tile(self, seed: int, level: int, row: int, col: int) -> Pixels:
        """Pixels of one tile, 0 where there is nothing.

        Raises:
            BusyError: too many blocks wait already.
        """
        if level < self._imagery.num_stored:
            block = await self._block(seed, level, row // 2, col // 2)
            rows, cols = (slice(index % 2 * MAP_TILE_PX, (index % 2 + 1) * MAP_TILE_PX) for index in (row, col))
            return block[:, rows, cols]
        key = ("mean", seed, level, row, col)
        kept = self.cache.get(key)
        if kept is None:
            kept = halved(await self._finer(seed, level - 1, row, col))
            self._keep(key, kept)
        return kept

    async def window(self, seed: int, level: int, window: Window) -> Pixels:
        """Pixels of a window of a level, 0 where there is nothing.

        Raises:
            BusyError: too many blocks wait already.
        """
        span = _LATTICE.indices(window)
        places = [(row, col) for row in range(span.row0, span.row1) for col in range(span.col0, span.col1)]
        tiles = await all_of(self.tile(seed, level, row, col) for row, col in places)
        pixels = np.empty((len(self._imagery.band_names), *window.shape), np.uint8)
        for place, tile in zip(places, tiles, strict=True):
            covered = _LATTICE.tile(*place)
            common = covered.intersection(window)
            if common is not None:
                pixels[:, *common.within(window)] = tile[:, *common.within(covered)]
        return pixels

    def close(self) -> None:
        """Begin nothing more."""
        self.painter.close()

    async def _finer(self, seed: int, level: int, row: int, col: int) -> Pixels:
        """What the tile at (row, col) of the next level covers at this one: twice as many pixels a side."""
        if level < self._imagery.num_stored:
            return await self._block(seed, level, row, col)
        return await self.window(
            seed,
            level,
            Window.from_size(2 * MAP_TILE_PX, 2 * MAP_TILE_PX, row0=2 * MAP_TILE_PX * row, col0=2 * MAP_TILE_PX * col),
        )

    async def _block(self, seed: int, level: int, row: int, col: int) -> Pixels:
        kept = self.cache.get((seed, level, row, col))
        return await self.painter.block(seed, level, row, col) if kept is None else kept

    def _keep(self, key: Hashable, pixels: np.ndarray) -> None:
        self.cache.put(key, pixels, pixels.nbytes)


async def all_of(jobs: Iterable[Awaitable[Pixels]]) -> list[Pixels]:
    """The results of all, in order. If one fails, or whoever waits has gone, the others leave the queue too."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
