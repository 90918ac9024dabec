"""Who paints: few threads, a queue that ends, and one job for all who want the same block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "bands rows cols"]


class BusyError(Exception):
    """The queue is full. The server answers 503 and says when to come back."""


@dataclass(eq=False)
class _Job:
    task: asyncio.Task[np.ndarray] | None = None
    num_waiting: int = 0
    begun: bool = field(default=False)


class Painter:
    """Paints blocks for any number of requests. For one event loop.

    A block that several want is painted once. One that nobody waits for any more leaves the queue, unless it was
    begun: then it is finished, and handed to `keep` like the others.

    Args:
        paint: makes the pixels of a key; called in a thread.
        keep: is told of all that was painted.
        num_threads: how many are painted at a time.
        most_waiting: how many may be in the queue or under way.
    """

    def __init__(
        self,
        paint: Callable[..., Pixels],
        keep: Callable[[Hashable, Pixels], None],
        *,
        num_threads: int,
        most_waiting: int,
    ) -> None:
        self._paint, self._keep = paint, keep
        self._most_waiting = most_waiting
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="painter")
        # Waiting happens here and not in the pool, whose queue cannot be left.
        self._places = asyncio.Semaphore(num_threads)
        self._jobs: dict[Hashable, _Job] = {}
        self.num_painted = 0

    def __len__(self) -> int:
        return len(self._jobs)

    async def block(self, *key: int) -> Pixels:
        """The pixels of `key`, painted now.

        Raises:
            BusyError: the queue is full.
        """
        job = self._jobs.get(key)
        if job is None or job.task is None:
            if len(self._jobs) >= self._most_waiting:
                raise BusyError
            job = self._jobs[key] = _Job()
            job.task = asyncio.create_task(self._run(key, job))
        job.num_waiting += 1
        try:
            return await asyncio.shield(job.task)
        finally:
            job.num_waiting -= 1
            if not job.num_waiting and not job.begun:
                job.task.cancel()
                self._forget(key, job)  # now, so that who comes next begins afresh

    async def _run(self, key: tuple[int, ...], job: _Job) -> Pixels:
        try:
            async with self._places:
                job.begun = True
                pixels = await asyncio.get_running_loop().run_in_executor(self._pool, self._paint, *key)
            self.num_painted += 1
            self._keep(key, pixels)
            return pixels
        finally:
            self._forget(key, job)

    def _forget(self, key: tuple[int, ...], job: _Job) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def close(self) -> None:
        """Begin nothing more. What is under way ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
