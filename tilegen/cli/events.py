"""A run told as events on stderr, one JSON object a line, for machines that read logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tilegen.cli.progress import Pace

if TYPE_CHECKING:
    from tilegen.tiling.schedule import Progress


class RunEvents:
    """Tells of shards, of what is begun again, and of the cluster. Used like `RunProgress`."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._retries = pace, 0

    def __enter__(self) -> RunEvents:
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing to close."""

    def __call__(self, progress: Progress) -> None:
        """A shard is done; before that, shards were begun again."""
        if progress.retries > self._retries:
            tell("retry", retries=progress.retries)
            self._retries = progress.retries
        left_s = self._pace.left_s(progress)
        latest = progress.latest
        told = {} if latest is None else {"shard": latest.shard, "worker": latest.worker, "work_s": latest.work_s}
        tell(
            "shard",
            **told,
            done=progress.done,
            total=progress.total,
            resumed=progress.resumed,
            seconds=round(progress.seconds, 3),
            rate_px_s=round(self._pace.rate_px_s(progress)),
            left_s=round(left_s, 1) if left_s < float("inf") else None,
        )

    def note(self, line: str) -> None:
        """A sentence for people: where the dashboard is, or what differs among the workers."""
        tell("note", text=line)


def tell(event: str, **values: Any) -> None:
    """One line. Times are UTC, in ISO 8601."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    click.echo(json.dumps({"event": event, "time": now, **values}), err=True)
