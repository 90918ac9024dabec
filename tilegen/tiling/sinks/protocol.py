"""The seam between rendering and storage."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt

from tilegen.tiling.product import Product


@runtime_checkable
class Sink(Protocol):
    """Stores a product shard by shard. Picklable: the client calls `begin` and `finish`, workers call `write`.

    Promises of every sink: a shard has exactly one writer and is written atomically; writing it twice changes
    nothing; an unfinished product cannot be mistaken for a finished one; `begin` finds the shards of an interrupted
    run of the same product and refuses those of another.
    """

    @property
    def product(self) -> Product:
        """What is being written."""
        ...

    @property
    def disk_copies(self) -> int:
        """How many times the compressed product lies on the disk at the peak."""
        ...

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Create the store, or resume it. Returns the indices of the shards that are finished already.

        Raises:
            OutputError: the path holds a finished product or an unfinished one of another run, and `overwrite` is
                false; or it cannot be written.
        """
        ...

    def write(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Store the pixels of one shard (cut at the edge of the extent) and the overview levels it owns.

        Raises:
            OutputError: the disk is full or the store cannot be written.
        """
        ...

    def finish(self) -> None:
        """Write the remaining overviews and metadata, then move the product to its path in one step."""
        ...


@runtime_checkable
class Recalls(Protocol):
    """A sink that knows at a glance whether it has a shard, so that a task that runs again need not render again.

    A worker may die between storing a shard and telling anybody.
    """

    def has(self, shard: tuple[int, int]) -> bool:
        """Whether a shard was stored since `begin`, or found there by it."""
        ...
