"""MemorySink: the product as one array, for previews and tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt

from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.partial import require_all_shards


@dataclass(kw_only=True)
class Memory:
    """The place a MemorySink writes to; stands for a path. Lives in one process, threads may share it."""

    pixels: UInt[np.ndarray, "bands rows cols"] | None = None
    fingerprint: str = ""
    done: set[tuple[int, int]] = field(default_factory=set)
    is_complete: bool = False


@dataclass(frozen=True, kw_only=True)
class MemorySink:
    """Keeps the pixels of a product in an array. Implements `Sink`; has no overviews."""

    product: Product
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)

    @property
    def image(self) -> UInt[np.ndarray, "bands rows cols"]:
        """The finished product, [bands, rows, cols].

        Raises:
            OutputError: the product is not finished.
        """
        if self.memory.pixels is None or not self.memory.is_complete:
            raise OutputError("The product in memory is not finished. Call finish() first.")
        return self.memory.pixels

    @property
    def disk_copies(self) -> int:
        """None. See `Sink.disk_copies`."""
        return 0

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Allocate the array, or go on with it. Returns the finished shards. See `Sink.begin`."""
        memory = self.memory
        if memory.is_complete and not overwrite:
            raise OutputError("The product in memory exists. Give another Memory or --overwrite.")
        if memory.pixels is not None and memory.fingerprint != self.product.fingerprint and not overwrite:
            raise OutputError("The memory holds an unfinished product of another run. Give another or --overwrite.")
        if memory.is_complete or memory.fingerprint != self.product.fingerprint:
            memory.pixels = np.full(self.product.shape, self.product.nodata, self.product.dtype)
            memory.fingerprint = self.product.fingerprint
            memory.is_complete = False
            memory.done.clear()
        return set(memory.done)

    def write(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Copy the pixels of one shard to their place. See `Sink.write`."""
        if self.memory.pixels is None:
            raise OutputError("The product in memory was not begun. Call begin() first.")
        rows, cols = self.product.shard_window(shard).within(self.product.extent)
        self.memory.pixels[:, rows, cols] = pixels
        self.memory.done.add(shard)

    def finish(self) -> None:
        """Declare the product complete. See `Sink.finish`."""
        require_all_shards(self.product, self.memory.done, "The product in memory")
        self.memory.is_complete = True
