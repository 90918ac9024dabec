"""Shards to workers: a bounded number of tasks in flight, and nothing that grows with the extent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from tilegen.errors import ScheduleError, TilegenError
from tilegen.tiling.cluster import in_one_line
from tilegen.tiling.render import RendererSource, opened, render_window
from tilegen.tiling.sinks.protocol import Sink

_TASKS_PER_THREAD = 2
_RETRIES = 2
_LOST = (
    "The connection to the Dask scheduler is lost{}. What is finished is kept: run the same command again to resume."
)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is: shards done and in all, shards found done at the start, seconds since the start."""

    done: int
    total: int
    resumed: int
    seconds: float

    @property
    def left_s(self) -> float:
        """Estimated seconds to go; infinite before the first shard is done."""
        fresh = self.done - self.resumed
        return self.seconds / fresh * (self.total - self.done) if fresh else float("inf")


def write_shard(source: RendererSource, sink: Sink, shard: tuple[int, int]) -> tuple[int, int]:
    """One task: render one shard and store it. Pure and idempotent, so retries and duplicates do no harm."""
    sink.write(shard, render_window(opened(source), sink.product.shard_window(shard)))
    return shard


def run_shards(
    connection: AbstractContextManager[Client],
    source: RendererSource,
    sink: Sink,
    *,
    overwrite: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Write every shard of the sink's product that is not there yet, then finish the product.

    Args:
        connection: the cluster, entered once the sink has agreed to begin.
        source: opened once by each worker.
        report: called after each shard.

    Raises:
        OutputError: the sink refuses or cannot write.
        ScheduleError: the cluster cannot be reached, or a shard failed for good.
    """
    finished = sink.begin(overwrite=overwrite)
    shards = [shard for shard in sink.product.shard_indices if shard not in finished]
    total, started = len(sink.product.shard_indices), time.monotonic()

    def progress(done: int) -> Progress:
        return Progress(done=done, total=total, resumed=len(finished), seconds=time.monotonic() - started)

    if shards:
        with connection as client:
            for done, _ in enumerate(_results(client, source, sink, shards), start=len(finished) + 1):
                report(progress(done))
    sink.finish()


def _results(
    client: Client, source: RendererSource, sink: Sink, shards: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Indices of shards as they are done; a bounded number of tasks is in flight."""
    remaining = iter(shards)
    running: dict[Future[Any], tuple[int, int]] = {}
    completed = as_completed()

    def submit_more() -> None:
        """Two tasks for every thread that the cluster has by now."""
        limit = max(_TASKS_PER_THREAD * sum(client.nthreads().values()), 1)
        for shard in islice(remaining, max(limit - len(running), 0)):
            # Keys are unique, as a scheduler has one result per key and other runs may write the same shard elsewhere.
            key = f"shard-{shard[0]}-{shard[1]}-{uuid.uuid4().hex}"
            future = client.submit(write_shard, source, sink, shard, key=key, pure=False, retries=_RETRIES)
            running[future] = shard
            completed.add(future)

    try:
        submit_more()
        for future in completed:
            shard = running.pop(future)
            _require_success(future, shard)
            yield shard
            submit_more()
    except TilegenError:
        raise
    except OSError as error:
        raise ScheduleError(_LOST.format(f" ({in_one_line(error)})")) from None
    finally:
        if client.status == "running":
            client.cancel(list(running))


def _require_success(future: Future[Any], shard: tuple[int, int]) -> None:
    """Pass if the task is done.

    Raises:
        TilegenError: what the task said.
        ScheduleError: anything else that went wrong in it, or with the worker or the scheduler.
    """
    if future.status in {"cancelled", "lost"}:
        raise ScheduleError(_LOST.format(""))
    error = future.exception()
    if error is None:
        return
    if isinstance(error, TilegenError):
        raise error
    if isinstance(error, KilledWorker):
        raise ScheduleError(
            f"Every worker that rendered shard {shard} died, most likely for want of memory. What is finished is kept: "
            "run the same command again with fewer --workers to resume."
        )
    raise ScheduleError(
        f"Shard {shard} failed {_RETRIES + 1} times ({in_one_line(error)}). "
        "What is finished is kept: run the same command again to resume."
    )
