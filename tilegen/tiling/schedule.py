"""Shards to workers: a Dask cluster, a bounded number of tasks in flight, and nothing that grows with the extent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import Client, Future, LocalCluster, as_completed

from tilegen.errors import ScheduleError, TilegenError
from tilegen.tiling.render import RendererSource, opened, render_window
from tilegen.tiling.sinks.protocol import Sink

_TASKS_PER_WORKER = 2
_CONNECT_S = 15
_RETRIES = 2

_WORKER_ENVIRONMENT = {
    # One thread per process: more processes scale better than more threads, and the bytes do not depend on either.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Dask trims the heap after every free; tiles allocate the same buffers again at once.
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


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


def cluster(scheduler: str | None, num_workers: int) -> AbstractContextManager[Client]:
    """The cluster at the address `scheduler`, or if that is None one of `num_workers` processes on this machine."""
    return _local_cluster(num_workers) if scheduler is None else _remote_cluster(scheduler)


@contextmanager
def _local_cluster(num_workers: int) -> Iterator[Client]:
    """Single-threaded worker processes, stopped at the end."""
    with (
        LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            env=_WORKER_ENVIRONMENT,
        ) as local,
        Client(local) as client,
    ):
        yield client


@contextmanager
def _remote_cluster(address: str) -> Iterator[Client]:
    """A cluster that somebody else started, left running at the end.

    Raises:
        ScheduleError: nobody answers there, or it has no workers.
    """
    try:
        client = Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise ScheduleError(
            f"No Dask scheduler answers at {address} ({type(error).__name__}). Start one with `dask scheduler`, "
            "or leave --scheduler out to use this machine."
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise ScheduleError(f"The Dask scheduler at {address} has no workers. Start some with `dask worker`.")
        yield client


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
    run = sink.product.fingerprint[:12]

    def submit(shard: tuple[int, int]) -> Future[Any]:
        key = f"shard-{run}-{shard[0]}-{shard[1]}"
        return client.submit(write_shard, source, sink, shard, key=key, pure=False, retries=_RETRIES)

    num_workers = max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
    running = {submit(shard) for shard in islice(remaining, _TASKS_PER_WORKER * num_workers)}
    completed = as_completed(running)
    try:
        for future in completed:
            running.discard(future)
            yield _result(future)
            for shard in islice(remaining, 1):
                running.add(following := submit(shard))
                completed.add(following)
    finally:
        client.cancel(list(running))


def _result(future: Future[Any]) -> tuple[int, int]:
    """The index of a finished shard.

    Raises:
        TilegenError: what the task said.
        ScheduleError: anything else that went wrong in it.
    """
    error = future.exception()
    if error is None:
        shard: tuple[int, int] = future.result()
        return shard
    if isinstance(error, TilegenError):
        raise error
    raise ScheduleError(
        f"{future.key} failed {_RETRIES + 1} times ({type(error).__name__}: {error}). "
        "What is finished is kept: run the same command again to resume."
    )
