"""Progress on stderr: a line with rate and time to go, or a bar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import rich.progress

    from tilegen.tiling.schedule import Progress

_FIRST_S, _EVERY_TTY_S, _EVERY_LOG_S = 2.0, 0.5, 15.0


class ProgressLine:
    """Prints progress to stderr: one living line on a terminal, a line now and then in a log, nothing when quiet."""

    def __init__(self, total_px: int, *, quiet: bool) -> None:
        self._total_px, self._quiet = total_px, quiet
        self._tty = sys.stderr.isatty()
        self._due_s = _FIRST_S

    def __call__(self, progress: Progress) -> None:
        """Report, if it is time to."""
        last = progress.done == progress.total
        if self._quiet or (progress.seconds < self._due_s and not (last and progress.seconds > _FIRST_S)):
            return
        from tilegen.amounts import duration

        self._due_s = progress.seconds + (_EVERY_TTY_S if self._tty else _EVERY_LOG_S)
        fresh_share = (progress.done - progress.resumed) / progress.total
        rate = self._total_px * fresh_share / progress.seconds / 1e6
        left = "" if last or not fresh_share else f", {duration(progress.left_s)} to go"
        line = f"{progress.done}/{progress.total} shards  {progress.done / progress.total:4.0%}  {rate:.2f} Mpx/s{left}"
        click.echo(f"\r{line:<70}" if self._tty else line, err=True, nl=last or not self._tty)


def terminal_bar(*columns: rich.progress.ProgressColumn) -> rich.progress.Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal. Rich's own columns by default."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
