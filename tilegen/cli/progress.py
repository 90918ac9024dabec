"""Progress on stderr: a bar on a terminal, a line now and then in a log, nothing when quiet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import rich.progress

    from tilegen.tiling.schedule import Progress

_FIRST_S, _EVERY_S = 2.0, 15.0
_EARLIER_COUNTS_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a run is, over all shards that it finished; a run that resumes begins with the rate of before.

    Args:
        total_px: pixels of all shards that are drawn.
        earlier_px_s: rate of the attempts before this one, pixels per second.
        earlier_s: for how long they had it. At most a minute of it counts, as this attempt may have other workers.
    """

    total_px: int
    earlier_px_s: float = 0.0
    earlier_s: float = 0.0

    def rate_px_s(self, progress: Progress) -> float:
        """Pixels per second. Shards that were found done count for nothing."""
        weight_s = min(self.earlier_s, _EARLIER_COUNTS_S)
        fresh_px = self.total_px * (progress.done - progress.resumed) / progress.total
        return (fresh_px + self.earlier_px_s * weight_s) / max(progress.seconds + weight_s, 1e-9)

    def left_s(self, progress: Progress) -> float:
        """Estimated seconds to go; infinite while no rate is known."""
        left_px = self.total_px * (progress.total - progress.done) / progress.total
        rate_px_s = self.rate_px_s(progress)
        return left_px / rate_px_s if rate_px_s else float("inf")


class RunProgress:
    """Shows a run on stderr while its block lasts."""

    def __init__(self, pace: Pace, *, quiet: bool) -> None:
        self._pace, self._quiet = pace, quiet
        self._due_s = _FIRST_S
        self._bar = _run_bar(quiet)

    def __enter__(self) -> RunProgress:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Move the bar, or print a line if it is time to."""
        rate = f"{self._pace.rate_px_s(progress) / 1e6:.2f} Mpx/s"
        if not self._bar.disable:
            (task,) = self._bar.task_ids or [self._bar.add_task("shards", total=progress.total, rate=rate, left="")]
            self._bar.update(task, completed=progress.done, rate=rate, left=self._left(progress))
        last = progress.done == progress.total
        if self._quiet or progress.seconds < _FIRST_S or not (last or progress.seconds >= self._due_s):
            return
        self._due_s = progress.seconds + _EVERY_S
        if last or self._bar.disable:
            left = f", {self._left(progress)}" if not last else ""
            share = f"{progress.done / progress.total:4.0%}"
            self.note(f"{progress.done}/{progress.total} shards  {share}  {rate}{left}")

    def note(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar.disable:
            click.echo(line, err=True)
        else:
            self._bar.refresh()
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _left(self, progress: Progress) -> str:
        from tilegen.amounts import duration

        left_s = self._pace.left_s(progress)
        return f"{duration(left_s)} to go" if left_s < float("inf") else ""


def terminal_bar(*columns: rich.progress.ProgressColumn) -> rich.progress.Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal. Rich's own columns by default."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _run_bar(quiet: bool) -> rich.progress.Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn

    fields = (TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[left]}"))
    bar = terminal_bar(MofNCompleteColumn(), TextColumn("shards"), BarColumn(), TaskProgressColumn(), *fields)
    bar.disable = bar.disable or quiet
    return bar
