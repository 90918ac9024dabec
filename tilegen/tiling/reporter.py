"""Keeps the report of a run in two files while it goes on: a page for people, and JSON beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.errors import InputError, OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.report import Attempt, RunReport
from tilegen.tiling.report_page import report_page
from tilegen.tiling.schedule import Progress

_EVERY_S = 15.0


class Reporter:
    """The report of one attempt at a product, and of those before it."""

    def __init__(self, page: Path, product: Product, earlier: RunReport) -> None:
        self.earlier = earlier
        self._page, self._product = page, product
        self._attempt = Attempt(began=datetime.now(UTC).isoformat(timespec="seconds"))
        self._started_s, self._due_s = time.monotonic(), _EVERY_S

    @classmethod
    def open(cls, page: Path, name: str, product: Product, encoding: Mapping[str, str], *, overwrite: bool) -> Reporter:
        """The reporter of the next attempt at `product`; goes on with what the files say of earlier ones.

        Args:
            page: the HTML file; the JSON file has the same name otherwise.
            name: of the product, without its folder.
            encoding: the options of its encoding.
            overwrite: replace the report of something else, or of a product that was finished.

        Raises:
            InputError: the page does not end in .html, or its folder does not exist.
            OutputError: there is a file that is not the report of this product, unfinished.
        """
        new, found = RunReport.of(name, product, encoding), _read(page.with_suffix(".json"))
        goes_on = found is not None and found.is_of_same_run(new) and not found.is_finished
        checked_page("--report", page, overwrite=overwrite or goes_on)
        if (data := page.with_suffix(".json")).exists() and not (overwrite or goes_on):
            raise OutputError(f"{data} exists. Give another name or --overwrite.")
        return cls(page, product, found if found is not None and goes_on else new)

    def add(self, progress: Progress) -> None:
        """One more shard; the files are renewed now and then."""
        window = None if progress.latest is None else self._product.shard_window(progress.latest.shard)
        self._attempt = self._attempt.plus(progress, 0 if window is None else window.height * window.width)
        if progress.seconds >= self._due_s:
            self._due_s = progress.seconds + _EVERY_S
            with contextlib.suppress(OutputError):  # no reason to stop; if it still is so at the end, it is said
                self._save()

    def end(self, status: str) -> None:
        """The attempt is over: "finished", "interrupted" or "failed". Nothing is written of one that did nothing.

        Raises:
            OutputError: the files cannot be written.
        """
        seconds = time.monotonic() - self._started_s
        self._attempt = dataclasses.replace(self._attempt, status=status, seconds=seconds)
        if status == "finished" or self._attempt.workers:
            self._save()

    def _save(self) -> None:
        report = dataclasses.replace(self.earlier, attempts=(*self.earlier.attempts, self._attempt))
        write_atomically(self._page.with_suffix(".json"), json.dumps(to_dict(report), indent=1).encode())
        write_atomically(self._page, report_page(report).encode())


def checked_page(option: str, page: Path | None, *, overwrite: bool) -> Path | None:
    """`page`, if an HTML file may be written there.

    Raises:
        InputError: it does not end in .html, or its folder does not exist. OutputError: it exists already.
    """
    if page is None:
        return None
    if page.suffix.lower() != ".html" or not page.absolute().parent.is_dir():
        raise InputError(f"{option} {page}: give the name of a .html file in a folder that exists.")
    if page.exists() and not overwrite:
        raise OutputError(f"{page} exists. Give another name or --overwrite.")
    return page


def _read(path: Path) -> RunReport | None:
    """The report at `path`; None if there is none, or something else."""
    try:
        values = json.loads(path.read_bytes())
        return from_dict(RunReport, values) if isinstance(values, dict) else None
    except (OSError, ValueError, RecursionError):
        return None
