"""What a run was like: how fast over time, who worked, what was begun again. Kept over all attempts at one product."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilegen.tiling.product import Product
from tilegen.tiling.schedule import Progress

_MOST_BINS = 120


@dataclass(frozen=True, kw_only=True)
class WorkerShare:
    """What one worker did: shards, their pixels, and the seconds it needed for them."""

    shards: int = 0
    pixels: int = 0
    work_s: float = 0.0

    def plus(self, other: WorkerShare) -> WorkerShare:
        """Both together."""
        return WorkerShare(
            shards=self.shards + other.shards, pixels=self.pixels + other.pixels, work_s=self.work_s + other.work_s
        )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One call of the command. The last attempt at a product finishes it.

    Args:
        began: UTC, ISO 8601.
        status: "running" until it is over, then "finished", "interrupted" or "failed"; of a process that was killed,
            "running" for ever.
        seconds: how long it lasted, or has lasted so far.
        retries: how often a shard was begun again.
        workers: who did what, by Dask's address of the worker.
        bin_s: length of a bin of `rate_px`, seconds.
        rate_px: pixels that were finished in each bin of the attempt's time.
    """

    began: str
    status: str = "running"
    seconds: float = 0.0
    retries: int = 0
    workers: dict[str, WorkerShare] = dataclasses.field(default_factory=dict)
    bin_s: float = 1.0
    rate_px: tuple[int, ...] = ()

    @property
    def pixels(self) -> int:
        """Pixels of the shards that it finished."""
        return sum(share.pixels for share in self.workers.values())

    @property
    def shards(self) -> int:
        """Shards that it finished."""
        return sum(share.shards for share in self.workers.values())

    def smoothed(self, shards_per_bin: float) -> Attempt:
        """With bins so long that each holds at least so many shards on average."""
        bin_s, rate_px = self.bin_s, self.rate_px
        while len(rate_px) > max(self.shards / shards_per_bin, 1):
            bin_s, rate_px = 2 * bin_s, _joined(rate_px)
        return dataclasses.replace(self, bin_s=bin_s, rate_px=rate_px)

    def plus(self, progress: Progress, pixels: int) -> Attempt:
        """With one more shard of so many pixels."""
        latest = progress.latest
        worker, work_s = (latest.worker, latest.work_s) if latest else ("", 0.0)
        share = self.workers.get(worker, WorkerShare()).plus(WorkerShare(shards=1, pixels=pixels, work_s=work_s))
        bin_s, rate_px = _binned(self.bin_s, self.rate_px, progress.seconds, pixels)
        return dataclasses.replace(
            self,
            seconds=progress.seconds,
            retries=progress.retries,
            workers={**self.workers, worker: share},
            bin_s=bin_s,
            rate_px=rate_px,
        )


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All attempts at one product. No path, no name of a user and no credential is in it.

    Args:
        product: name of the product, without its folder.
        fingerprint: SHA-256 over the extent, grid, layout and provenance of the product.
        encoding: the options of its encoding, as text; empty in reports of older versions.
        provenance: of the product.
        num_shards: shards that are drawn, in all.
        num_pixels: their pixels.
        attempts: in order.
    """

    product: str
    fingerprint: str
    provenance: dict[str, Any]
    num_shards: int
    num_pixels: int
    encoding: dict[str, str] = dataclasses.field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    format_version: int = 1

    @classmethod
    def of(cls, name: str, product: Product, encoding: Mapping[str, str]) -> RunReport:
        """The report of a product at which nobody has worked yet; `name` is without its folder."""
        return cls(
            product=name,
            fingerprint=product.fingerprint,
            provenance=dict(product.provenance),
            num_shards=product.num_shards,
            num_pixels=product.num_pixels,
            encoding=dict(encoding),
        )

    def is_of_same_run(self, other: RunReport) -> bool:
        """Whether both are of one product: of the same name and pixels, stored in the same way."""
        return (self.product, self.fingerprint, self.encoding) == (other.product, other.fingerprint, other.encoding)

    @property
    def is_finished(self) -> bool:
        """True once an attempt has finished the product."""
        return any(attempt.status == "finished" for attempt in self.attempts)

    @property
    def pixels(self) -> int:
        """Pixels that all attempts finished."""
        return sum(attempt.pixels for attempt in self.attempts)

    @property
    def retries(self) -> int:
        """How often a shard was begun again."""
        return sum(attempt.retries for attempt in self.attempts)

    @property
    def seconds(self) -> float:
        """How long all attempts lasted together."""
        return sum((attempt.seconds for attempt in self.attempts), start=0.0)


def _binned(bin_s: float, rate_px: tuple[int, ...], at_s: float, pixels: int) -> tuple[float, tuple[int, ...]]:
    """`rate_px` with `pixels` in the bin of `at_s`; bins are joined in pairs when they become too many."""
    while at_s >= bin_s * _MOST_BINS:
        bin_s, rate_px = 2 * bin_s, _joined(rate_px)
    index = int(at_s // bin_s)
    bins = [*rate_px, *[0] * (index + 1 - len(rate_px))]
    bins[index] += pixels
    return bin_s, tuple(bins)


def _joined(rate_px: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(rate_px[index : index + 2]) for index in range(0, len(rate_px), 2))
