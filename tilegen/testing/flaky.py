"""A sink whose store refuses now and then, or always, as a bad disk or a lost mount does."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tilegen.atomic import explained
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.protocol import Sink


@dataclass(frozen=True, kw_only=True)
class FlakySink:
    """Refuses the first attempts at every n-th shard, whoever makes them. Implements `Sink`.

    Args:
        sink: stores what is not refused.
        folder: shared by client and workers; counts attempts.
        number: `errno` of the refusals.
        every: every n-th shard, row by row, beginning with the first.
        times: how many attempts at such a shard are refused.
    """

    sink: Sink
    folder: str
    number: int
    every: int = 1
    times: int = 1

    @property
    def product(self) -> Product:
        """That of the sink."""
        return self.sink.product

    @property
    def disk_copies(self) -> int:
        """Those of the sink."""
        return self.sink.disk_copies

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """As the sink does."""
        return self.sink.begin(overwrite=overwrite)

    def write(self, shard: tuple[int, int], pixels: UInt8[np.ndarray, "bands rows cols"]) -> None:
        """As the sink does, unless this attempt is to be refused."""
        Path(self.folder, f"attempt-{shard[0]}-{shard[1]}-{uuid.uuid4().hex}").touch()
        if self.product.shard_indices.index(shard) % self.every == 0 and self.attempts(shard) <= self.times:
            with explained(Path("/store")):
                raise OSError(self.number, os.strerror(self.number))
        self.sink.write(shard, pixels)

    def attempts(self, shard: tuple[int, int]) -> int:
        """How often somebody began to write a shard."""
        return len(list(Path(self.folder).glob(f"attempt-{shard[0]}-{shard[1]}-*")))

    def finish(self) -> None:
        """As the sink does."""
        self.sink.finish()
