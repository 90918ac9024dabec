"""Shards in flight on a cluster: a bounded number of tasks, handed out again when they fail, hang or are lost."""

from __future__ import annotations

import queue
import statistics
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from tilegen.amounts import duration
from tilegen.errors import ScheduleError, StoreError, TilegenError
from tilegen.tiling.cluster import in_one_line
from tilegen.tiling.render import RendererSource, is_off_cpu
from tilegen.tiling.sinks.protocol import Sink
from tilegen.tiling.task import STORING_AT_ONCE, ShardReport, write_shard

_TASKS_PER_THREAD = 2
"""One that is at work, and one that waits; where a GPU renders, more are at work."""

_ROUND_TRIP_S = 0.03
"""From the end of a task until the one that takes its place is at work: 5 ms on one host, more on a busy network. Tasks
shorter than that are handed out further ahead, so that no thread waits for the next."""

_MOST_AHEAD = 6
"""So many more, whatever the length: docs/benchmarks.md, "Scheduling", has what it brings."""

_RETRIES = 2
_LOOK_EVERY_S = 1.0
_SHORTEST_LIMIT_S = 300.0
_LIMIT_IN_MEDIANS = 10.0
_MEDIAN_OF = 101
_LONGEST_STALL_S = 60.0
_RESUME = "What is finished is kept: run the same command again to resume"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a run waits for what may never come, by the monotonic clock.

    Args:
        shard_s: seconds that a worker may take for one shard before another one gets it, too. None: ten times the
            median of the shards that are finished, and at least five minutes.
        workers_s: seconds without a single worker after which the run ends.
    """

    shard_s: float | None = None
    workers_s: float = 300.0


DEFAULT_PATIENCE = Patience()


@dataclass(kw_only=True)
class _Attempts:
    """What became of one shard so far. `clock`: since when a worker has been at it, as far as we know."""

    clock: float | None = None
    has_begun: bool = False
    failures: int = 0
    overdue: int = 0


class Flight:
    """The tasks of one run that a cluster knows of: a few for each of its threads, whatever the number of shards.

    Args:
        shards: what is to be written; read as there is room.
        patience: when to stop waiting.
    """

    def __init__(
        self, client: Client, source: RendererSource, sink: Sink, shards: Iterable[tuple[int, int]], patience: Patience
    ) -> None:
        self._client, self._source, self._sink, self._patience = client, source, sink, patience
        self._remaining = iter(shards)
        self._tasks_per_thread = _TASKS_PER_THREAD + (STORING_AT_ONCE if is_off_cpu(source) else 0)
        self._outstanding: dict[tuple[int, int], _Attempts] = {}
        self._tasks: dict[Future[Any], tuple[int, int]] = {}
        self._written: dict[tuple[int, int], ShardReport] = {}
        self._lost: list[tuple[int, int]] = []
        self._news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._work_s: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._threads: dict[str, int] = {}
        self._looked = self._saw_workers = time.monotonic()
        self._offset_s = time.time() - time.monotonic()
        self._topic = f"tilegen-{uuid.uuid4().hex}"
        self.retries = 0
        """How often a shard was begun again so far."""

    def reports(self) -> Iterator[ShardReport]:
        """What is said of each shard, as they are done.

        Raises:
            TilegenError: what a task said.
            ScheduleError: the cluster or its workers are gone, or a shard cannot be done.
        """
        self._client.subscribe_topic(self._topic, self._news.put)
        try:
            self._look()
            while self._has_more():
                for news in self._heard():
                    if not isinstance(news, Future):
                        self._told(news[1])
                    elif (report := self._ended(news)) is not None:
                        yield report
                if time.monotonic() - self._looked >= _LOOK_EVERY_S:
                    self._look()
        finally:
            if self._client.status == "running":
                self._client.cancel(list(self._tasks))
                self._client.unsubscribe_topic(self._topic)

    def _has_more(self) -> bool:
        """Hand out what there is room for. Returns whether anything is left to wait for."""
        room = max(self._per_thread() * sum(self._threads.values()), 1) - len(self._tasks)
        for shard in islice(self._remaining, max(room, 0)):
            self._outstanding[shard] = _Attempts()
            self._hand_out(shard)
        return bool(self._outstanding)

    def _per_thread(self) -> int:
        """Tasks that are handed out for each thread."""
        if not self._work_s:
            return self._tasks_per_thread
        work_s = statistics.median(self._work_s)
        is_short = work_s * _MOST_AHEAD <= _ROUND_TRIP_S
        return self._tasks_per_thread + (_MOST_AHEAD if is_short else int(_ROUND_TRIP_S / work_s))

    def _hand_out(self, shard: tuple[int, int], *, rather_to: Iterable[str] = ()) -> None:
        # Keys are unique, as a scheduler has one result per key and other runs may write the same shard elsewhere.
        key = f"{self._key_of(shard)}-{uuid.uuid4().hex}"
        places = sorted(rather_to)
        where = {"workers": places, "allow_other_workers": True} if places else {}
        arguments = (self._source, self._sink, shard, self._topic)
        future = self._client.submit(write_shard, *arguments, key=key, pure=False, **where)
        self._tasks[future] = shard
        future.add_done_callback(self._news.put)

    def _key_of(self, shard: tuple[int, int]) -> str:
        """How the keys of all tasks of a shard begin."""
        return f"shard-{shard[0]}-{shard[1]}-{self._topic}"

    def _heard(self) -> Iterator[Any]:
        """All news there are; waits for the first, but no longer than until it is time to look again."""
        with suppress(queue.Empty):
            yield self._news.get(timeout=max(self._looked + _LOOK_EVERY_S - time.monotonic(), 0))
            while True:
                yield self._news.get_nowait()

    def _told(self, said: dict[str, Any]) -> None:
        """Take note of what a task tells while it runs."""
        shard = (said["shard"][0], said["shard"][1])
        attempts = self._outstanding.get(shard)
        if said["event"] == "begun":
            self.retries += attempts is None or attempts.has_begun
            if attempts is not None:
                attempts.has_begun, attempts.clock = True, time.monotonic()
        elif attempts is not None:
            self.retries += said["retries"]
            report = {"worker": said["worker"], "work_s": said["work_s"], "retries": said["retries"]}
            self._written[shard] = ShardReport(shard=shard, **report)

    def _ended(self, future: Future[Any]) -> ShardReport | None:
        """What to make of a task that has ended: a report if its shard is done by it."""
        shard = self._tasks.pop(future)
        attempts = self._outstanding.get(shard)
        if attempts is None:  # somebody else was faster
            return None
        if future.status in {"cancelled", "lost"}:
            self._lost.append(shard)
            return None
        if future.status == "error":  # `exception()` is a round trip through the event loop
            error = future.exception()
            attempts.failures += 1
            _raise_for_good(error, shard, attempts.failures)
            self._hand_out(shard)
            return None
        del self._outstanding[shard]
        report = self._written.pop(shard, None) or future.result()  # the latter if events were lost on their way
        self._work_s.append(report.work_s)
        return report

    def _look(self) -> None:
        """See to what nobody tells: who is there, what is lost, and who takes too long.

        Raises:
            ScheduleError: nobody is there any more.
        """
        self._looked = time.monotonic()
        self._require_steady_clock()
        if self._client.status == "connecting":
            return  # Dask tries for a while, and then closes the client
        if self._client.status != "running":
            raise ScheduleError(f"The connection to the Dask scheduler is lost. {_RESUME}.")
        with suppress(OSError):  # which the client will notice
            self._threads = self._client.nthreads()
            self._require_workers()
            self._replace_lost()
            self._replace_overdue()

    def _require_steady_clock(self) -> None:
        """Nothing here goes by the wall clock, but Dask does: set back by an hour, it may send nothing for an hour."""
        offset_s = time.time() - time.monotonic()
        back_s, self._offset_s = self._offset_s - offset_s, offset_s
        if back_s > _LONGEST_STALL_S:
            raise ScheduleError(
                f"The clock of this machine was set back by {duration(back_s)}, and Dask stalls. {_RESUME}."
            )

    def _require_workers(self) -> None:
        now = time.monotonic()
        if self._threads:
            self._saw_workers = now
        elif now - self._saw_workers >= self._patience.workers_s:
            waited = duration(self._patience.workers_s)
            raise ScheduleError(f"The Dask cluster has had no workers for {waited}. {_RESUME} once it has some.")

    def _replace_lost(self) -> None:
        """Hand out again what a scheduler forgot when the connection to it broke for a moment."""
        lost, self._lost = self._lost, []
        if lost:
            self._client.subscribe_topic(self._topic, self._news.put)
        for shard in lost:
            if shard in self._outstanding and shard not in self._tasks.values():
                self._hand_out(shard)

    def _replace_overdue(self) -> None:
        """Give the shards of workers that take too long to others as well, those that wait behind them included.

        Raises:
            ScheduleError: nobody has finished one of them in several attempts.
        """
        now, limit_s = time.monotonic(), self._limit_s()
        overdue = {
            shard
            for shard, attempts in self._outstanding.items()
            if attempts.clock is not None and now - attempts.clock > limit_s * 2**attempts.overdue
        }
        if not overdue:
            return
        held = {worker: set(self._shards_among(keys)) for worker, keys in self._client.processing().items()}
        stuck = {worker for worker, shards in held.items() if shards & overdue}
        behind = {shard for worker in stuck for shard in held[worker] if not self._outstanding[shard].has_begun}
        for shard in sorted(overdue | behind):
            attempts = self._outstanding[shard]
            if shard in overdue:
                attempts.overdue += 1
                attempts.clock = now
                _require_fewer(attempts.overdue, shard, limit_s)
            self._hand_out(shard, rather_to=self._threads.keys() - stuck)

    def _limit_s(self) -> float:
        """How long a worker may be at one shard; for ever, where nothing is known."""
        if self._patience.shard_s is not None:
            return self._patience.shard_s
        if not self._work_s:
            return float("inf")
        return max(_SHORTEST_LIMIT_S, _LIMIT_IN_MEDIANS * statistics.median(self._work_s))

    def _shards_among(self, keys: Iterable[Any]) -> Iterator[tuple[int, int]]:
        """The outstanding shards that tasks with these keys write."""
        for shard in self._outstanding:
            if any(str(key).startswith(self._key_of(shard)) for key in keys):
                yield shard


def _require_fewer(overdue: int, shard: tuple[int, int], limit_s: float) -> None:
    if overdue > _RETRIES:
        raise ScheduleError(
            f"Shard {shard} was handed out {overdue} times, and no worker finished it within {duration(limit_s)} or "
            f"more. {_RESUME}, with a longer --shard-timeout if shards may take that long."
        )


def _raise_for_good(error: BaseException, shard: tuple[int, int], failures: int) -> None:
    """Raise, unless it makes sense to try again.

    Raises:
        TilegenError: what the task said.
        ScheduleError: anything else that went wrong in it, or with the worker.
    """
    if isinstance(error, TilegenError) and not (isinstance(error, StoreError) and failures <= _RETRIES):
        raise error
    if isinstance(error, KilledWorker):
        raise ScheduleError(
            f"Every worker that rendered shard {shard} died, most likely for want of memory. What is finished is kept: "
            "run the same command again with fewer --workers to resume."
        )
    if failures > _RETRIES:
        raise ScheduleError(f"Shard {shard} failed {failures} times ({in_one_line(error)}). {_RESUME}.")
