"""One task: a shard is rendered and stored on a worker, and the client hears of it.

Where a GPU renders, a task that has rendered gives up its thread before it stores: the next one renders meanwhile. So
rendering, compression and waiting for a disk or a store go on side by side, and the slowest of them sets the time.
On a CPU they share a core, and a worker does one thing after the other: when it is killed, one shard is lost.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Worker, get_worker, secede

from tilegen.errors import StoreError
from tilegen.tiling.render import RendererSource, is_off_cpu, opened, render_window
from tilegen.tiling.sinks.protocol import Recalls, Sink

_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.EREMOTEIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""What disks and mounts say when another attempt may succeed; a full or read-only disk stays so."""

_PAUSES_S = (0.1, 1.0, 5.0)

STORING_AT_ONCE = 3
"""Shards that a process stores at a time. With all of them taken, a task keeps its thread: nothing more is rendered."""

_STORING = threading.BoundedSemaphore(STORING_AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What a task says of the shard that it wrote.

    Args:
        shard: (row, col) of the shard.
        worker: address of the worker, as Dask knows it.
        work_s: seconds that rendering and writing took there; waiting for a turn is not included.
        retries: how often this task began to write again.
    """

    shard: tuple[int, int]
    worker: str
    work_s: float
    retries: int = 0


def write_shard(source: RendererSource, sink: Sink, shard: tuple[int, int], topic: str) -> ShardReport:
    """Render one shard and store it. Pure and idempotent, so retries and duplicates do no harm.

    The client hears when it begins, and how it ended, as events of `topic`; they arrive before the task is known to be
    done. So it need not fetch the result, which would be lost with the worker.

    Raises:
        OutputError: the store refuses. StoreError: it does so for a reason that may pass, and did not.
    """
    worker, work_s, retries = get_worker(), 0.0, 0
    # Whoever wrote it before may have died before it could say so.
    if not (isinstance(sink, Recalls) and sink.has(shard)):
        _tell(worker, topic, {"event": "begun", "shard": shard})
        work_s, retries = _rendered_and_written(source, sink, shard)
    report = ShardReport(shard=shard, worker=worker.address, work_s=work_s, retries=retries)
    _tell(worker, topic, {"event": "written", **vars(report)})
    return report


def _rendered_and_written(source: RendererSource, sink: Sink, shard: tuple[int, int]) -> tuple[float, int]:
    """Do the work. Returns the seconds it took, and how often writing was begun again."""
    started = time.monotonic()
    pixels = render_window(opened(source), sink.product.shard_window(shard), sink.product.aoi)
    pixels = pixels.astype(sink.product.dtype, copy=False)
    rendering_s = time.monotonic() - started
    with _turn_to_store(source):
        started, retries = time.monotonic(), 0
        while not _is_written(sink, shard, pixels, may_fail=retries < len(_PAUSES_S)):
            time.sleep(_PAUSES_S[retries])
            retries += 1
        return rendering_s + time.monotonic() - started, retries


@contextmanager
def _turn_to_store(source: RendererSource) -> Iterator[None]:
    """Where another device renders, wait until it is this task's turn, and let the next one have the thread."""
    if not is_off_cpu(source):
        yield
        return
    with _STORING:
        secede()
        yield


def _tell(worker: Worker, topic: str, said: dict[str, Any]) -> None:
    """An event of the scheduler; msgpack makes lists of tuples."""
    worker.log_event(topic, {**said, "worker": worker.address})


def _is_written(sink: Sink, shard: tuple[int, int], pixels: Any, *, may_fail: bool) -> bool:
    """Whether the store took the shard; False if it did not, for a reason that may pass, and `may_fail`."""
    try:
        sink.write(shard, pixels)
    except OSError as error:
        if not may_pass(error):
            raise
        if not may_fail:
            raise StoreError(f"{str(error).rstrip('.')}, {len(_PAUSES_S) + 1} times in a row.") from error
        return False
    return True


def may_pass(error: BaseException | None) -> bool:
    """Whether an error of a store, or what it came from, is one that another attempt may not meet."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError):
            return True
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno in _PASSING
        error = error.__cause__
    return False
