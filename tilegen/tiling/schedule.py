"""Shards to workers: a Dask cluster, a bounded number of tasks in flight, and nothing that grows with the extent."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any

import dask
import dask.config
from dask.utils import parse_timedelta
from distributed import Client, Future, LocalCluster, as_completed
from distributed.comm.core import connect
from distributed.scheduler import KilledWorker
from distributed.utils import LoopRunner, silence_logging_cmgr

from tilegen.errors import ScheduleError, TilegenError
from tilegen.tiling.render import RendererSource, opened, render_window
from tilegen.tiling.sinks.protocol import Sink

_TASKS_PER_THREAD = 2
_LONGEST_CONNECT_S = 15.0
_RETRIES = 2
_LONGEST_QUOTE = 200
_LOG_LEVEL = logging.CRITICAL  # what a user must know is raised; the rest are Dask's own affairs, with tracebacks
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOST = (
    "The connection to the Dask scheduler is lost{}. What is finished is kept: run the same command again to resume."
)

_WORKER_ENVIRONMENT = {
    # One thread per process: more processes scale better than more threads, and the bytes do not depend on either.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Tiles allocate the same buffers again and again: keep them on the heap, in huge pages (1.4 times as fast here).
    # Dask trims the heap after every free by default; setting that alone would map each buffer anew (2.5 times slower).
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
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
    """The cluster at the address `scheduler`, or if that is None one of `num_workers` processes on this machine.

    Raises:
        ScheduleError: nobody answers at the address, or it has no workers. Asked at once, before anything is written.
    """
    if scheduler is None:
        return _local_cluster(num_workers)
    with _remote_cluster(scheduler):
        return _remote_cluster(scheduler)


@contextmanager
def _local_cluster(num_workers: int) -> Iterator[Client]:
    """Single-threaded worker processes, stopped at the end.

    Raises:
        ScheduleError: they do not start.
    """
    try:
        # The allocator reads its environment when a process starts: Dask's `env` would come too late.
        with _signals_later(), dask.config.set({"distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT}):
            local = LocalCluster(
                n_workers=num_workers,
                threads_per_worker=1,
                processes=True,
                # No dashboard; what else the scheduler serves over HTTP stays on this machine, at a port nobody needs.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=_LOG_LEVEL,
            )
            client = Client(local)
    except (OSError, RuntimeError) as error:
        raise ScheduleError(f"Cannot start {num_workers} local workers: {_in_one_line(error)}. Try fewer.") from None
    try:
        yield client
    finally:
        with _signals_later():
            client.close()
            local.close()


@contextmanager
def _remote_cluster(address: str) -> Iterator[Client]:
    """A cluster that somebody else started, left running at the end.

    Raises:
        ScheduleError: nobody answers there, or it has no workers.
    """
    with silence_logging_cmgr(_LOG_LEVEL):
        loop = LoopRunner()
        try:
            loop.start()
            loop.run_sync(_knock, address)
            client = Client(address, timeout=_connect_s())
        except (OSError, ValueError, TypeError, MemoryError) as error:
            raise ScheduleError(
                f"No Dask scheduler answers at {address!r} ({_in_one_line(error)}). Start one with `dask scheduler`, "
                "or leave --scheduler out to use this machine."
            ) from None
        finally:
            loop.stop()
        with client:
            if not client.nthreads():
                raise ScheduleError(f"The Dask scheduler at {address} has no workers. Start some with `dask worker`.")
            yield client


async def _knock(address: str) -> None:
    """Raise unless something at `address` answers as Dask does. Clients themselves would wait for that for ever."""
    seconds = _connect_s()
    comm = await asyncio.wait_for(connect(address, timeout=seconds), seconds + 1)
    await comm.close()


def _connect_s() -> float:
    """How long to wait for a scheduler: as Dask is told to, within reason."""
    return min(_LONGEST_CONNECT_S, float(parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))))


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back to the end of the block.

    Threads that the block starts, and their processes, never see them: a terminal sends Ctrl-C to the workers as well,
    but it is the client who stops them.
    """
    resource_tracker.ensure_running()  # its start would let the signals through again, in the thread that caused it
    received: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, lambda *got: received.append(got[0])) for number in _STOP_SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in received[:1]:
            signal.raise_signal(number)


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
        raise ScheduleError(_LOST.format(f" ({_in_one_line(error)})")) from None
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
        f"Shard {shard} failed {_RETRIES + 1} times ({_in_one_line(error)}). "
        "What is finished is kept: run the same command again to resume."
    )


def _in_one_line(error: BaseException) -> str:
    """The type of an error and the beginning of what it says."""
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said[:_LONGEST_QUOTE]}" if said else type(error).__name__
