"""Dask's own account of a run: a page of its task stream and profiles, drawn with bokeh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from distributed import Client, performance_report

from tilegen.atomic import write_atomically
from tilegen.errors import InputError, ScheduleError


def check_bokeh(option: str) -> None:
    """Pass if bokeh, with which Dask draws, is installed here.

    Raises:
        InputError: it is not.
    """
    if find_spec("bokeh") is None:
        raise InputError(f"{option} needs bokeh. Install it with `pip install bokeh`, or leave {option} out.")


def check_bokeh_of_scheduler(client: Client) -> None:
    """Pass if the scheduler, which draws the page, has bokeh.

    Raises:
        ScheduleError: it has not.
    """
    try:
        client.run_on_scheduler(version, "bokeh")
    except PackageNotFoundError:
        raise ScheduleError(
            "The scheduler has no bokeh. Install it there with `pip install bokeh`, or leave --performance-report out."
        ) from None


@contextmanager
def performance_page(client: Client, page: Path) -> Iterator[None]:
    """Write Dask's performance report of what happens inside to `page`, also of a run that fails.

    Raises:
        OutputError: the page cannot be written.
    """
    with client.as_current(), TemporaryDirectory() as folder:
        draft = Path(folder, page.name)
        report = performance_report(str(draft))
        report.__enter__()
        done = False
        try:
            yield
            done = True
        finally:
            # Of a run that failed, the cluster may be gone; why it failed matters more than the page.
            with nullcontext() if done else suppress(OSError):
                report.__exit__(None, None, None)
                write_atomically(page, draft.read_bytes())
