"""Connections to Dask clusters: one of our own on this machine, or one that somebody else started."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import resource_tracker
from typing import Any

import dask
import dask.config
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster
from distributed.comm.core import connect
from distributed.utils import LoopRunner, silence_logging_cmgr

from tilegen.errors import ScheduleError

_LONGEST_CONNECT_S = 15.0
_LONGEST_QUOTE = 200
_LOG_LEVEL = logging.CRITICAL  # what a user must know is raised; the rest are Dask's own affairs, with tracebacks
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

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
        raise ScheduleError(f"Cannot start {num_workers} local workers: {in_one_line(error)}. Try fewer.") from None
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
                f"No Dask scheduler answers at {address!r} ({in_one_line(error)}). Start one with `dask scheduler`, "
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


def in_one_line(error: BaseException) -> str:
    """The type of an error and the beginning of what it says."""
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said[:_LONGEST_QUOTE]}" if said else type(error).__name__
