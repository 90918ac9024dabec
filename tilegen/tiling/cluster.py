"""Connections to Dask clusters: one of our own on this machine, or one that somebody else started."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
import dask.config
from dask.base import annotate
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster, Security
from distributed.comm.core import connect
from distributed.utils import LoopRunner, silence_logging_cmgr
from distributed.versions import VersionMismatchWarning

from tilegen.errors import InputError, ScheduleError
from tilegen.tiling.performance import check_bokeh, check_bokeh_of_scheduler, performance_page
from tilegen.tiling.task import STORING_AT_ONCE
from tilegen.tiling.workers import GPU, check_workers, gpu_workers

_LONGEST_CONNECT_S = 15.0
_LONGEST_QUOTE = 200
_NOBODY_HINT = "Start one with `dask scheduler`, or leave --scheduler out to use this machine."
_TLS_HINT = "Is one there, and do Dask's settings name its authority and a certificate it trusts? See docs/clusters.md."
_LOG_LEVEL = logging.CRITICAL + 1  # what a user must know is raised; the rest are Dask's own affairs, with tracebacks
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

WORKER_ENVIRONMENT = {
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
"""Of every worker process, from its start. What starts workers elsewhere should set it too: they are faster with it."""


def cluster(
    scheduler: str | None,
    num_workers: int,
    *,
    device: str = "cpu",
    processes: bool = True,
    dashboard: bool = False,
    page: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> AbstractContextManager[Client]:
    """The cluster at the address `scheduler`, or if that is None one of `num_workers` processes on this machine.

    Args:
        device: of the world that is to be drawn. A world on CUDA goes to workers with the resource GPU alone.
        processes: False has local workers be threads of this process: for a job that is done before processes have
            started.
        dashboard: tell where Dask's dashboard is; that of a local cluster is opened, for this machine alone.
        page: where to write Dask's performance report.
        tell: is given one line for the dashboard, and one for versions that differ without harm.

    Raises:
        ScheduleError: nobody answers at the address, or it has no workers, or they do not fit. Asked at once, before
            anything is written.
        InputError: bokeh, which Dask draws with, is not installed.
    """
    if page is not None:
        check_bokeh("--performance-report")
    if scheduler is None and dashboard:
        check_bokeh("--dashboard")
    if scheduler is None:
        return _local_cluster(num_workers, processes=processes, dashboard=dashboard, page=page, tell=tell)
    with _remote_cluster(scheduler) as client:
        check_workers(client, device=device, tell=tell)
        if page is not None:
            check_bokeh_of_scheduler(client)
        if dashboard:
            _tell_of_dashboard(client, tell)
    return _remote_cluster(scheduler, device=device, page=page)


def device_on(scheduler: str, device: str) -> str:
    """Where the cluster at an address draws a world: "auto" is CUDA if any worker has the resource GPU.

    Raises:
        InputError: no such device, or one GPU of many, which is for the cluster to choose.
        ScheduleError: nobody answers at the address, or it has no workers.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise InputError(f"--device {device} does not go with --scheduler. Choose auto, cpu or cuda.")
    if device != "auto":
        return device
    with _remote_cluster(scheduler) as client:
        return "cuda" if gpu_workers(client) else "cpu"


@contextmanager
def _local_cluster(
    num_workers: int, *, processes: bool, dashboard: bool, page: Path | None, tell: Callable[[str], None]
) -> Iterator[Client]:
    """Single-threaded workers, stopped at the end.

    Raises:
        ScheduleError: they do not start.
    """
    try:
        # The allocator reads its environment when a process starts: Dask's `env` would come too late.
        with _signals_later(), dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}):
            local = LocalCluster(
                n_workers=num_workers,
                threads_per_worker=1,
                processes=processes,
                # What the scheduler serves over HTTP stays on this machine, at a port nobody needs.
                scheduler_kwargs={"dashboard": dashboard, "dashboard_address": "127.0.0.1:0"},
                silence_logs=_LOG_LEVEL,
                security=Security(require_encryption=False),  # whatever clusters of several machines are told
            )
            client = Client(local)
    except (OSError, RuntimeError) as error:
        raise ScheduleError(f"Cannot start {num_workers} local workers: {in_one_line(error)}. Try fewer.") from None
    try:
        if dashboard:
            _tell_of_dashboard(client, tell)
        # A worker that dies twice in 15 s would not be replaced any more, as it is away when Dask looks for it.
        with dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}), _described(client, page):
            yield client
    finally:
        with _signals_later():
            client.close()
            local.close()


@contextmanager
def _remote_cluster(address: str, *, device: str = "cpu", page: Path | None = None) -> Iterator[Client]:
    """A cluster that somebody else started, left running at the end. What is submitted inside goes where it can run.

    Raises:
        ScheduleError: nobody answers there, or it has no workers.
    """
    # A task that stores what it has rendered keeps its share of the GPU, by Dask's rules: there are enough for all.
    share = 1 / (1 + STORING_AT_ONCE)
    resources = {"resources": {GPU: share}} if device.startswith("cuda") else {}
    with silence_logging_cmgr(_LOG_LEVEL), _connected(address) as client:
        if not client.nthreads():
            raise ScheduleError(f"The Dask scheduler at {address} has no workers. Start some with `dask worker`.")
        with annotate(**resources), _described(client, page):
            yield client


def _described(client: Client, page: Path | None) -> AbstractContextManager[None]:
    return nullcontext() if page is None else performance_page(client, page)


def _connected(address: str) -> Client:
    """A client of the scheduler at `address`.

    Raises:
        ScheduleError: nobody answers there, or not in confidence.
    """
    loop = LoopRunner()
    try:
        # Dask tells of versions that differ in a table of its own; `check_workers` says what matters of it.
        with warnings.catch_warnings(action="ignore", category=VersionMismatchWarning):
            loop.start()
            loop.run_sync(_knock, address)
            return Client(address, timeout=_connect_s())
    except (OSError, ValueError, TypeError, MemoryError) as error:
        hint = _TLS_HINT if address.startswith("tls://") else _NOBODY_HINT
        raise ScheduleError(f"No Dask scheduler answers at {address!r} ({in_one_line(error)}). {hint}") from None
    finally:
        loop.stop()


def _tell_of_dashboard(client: Client, tell: Callable[[str], None]) -> None:
    if "dashboard" in client.scheduler_info(n_workers=-1)["services"]:
        tell(f"Dashboard: {client.dashboard_link}")


async def _knock(address: str) -> None:
    """Raise unless something at `address` answers as Dask does. Clients themselves would wait for that for ever."""
    seconds = _connect_s()
    encryption = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=seconds, **encryption), seconds + 1)
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
