"""What is seen of a run while it lasts, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tilegen.cli.events import RunEvents, tell
from tilegen.cli.progress import Pace, RunProgress

if TYPE_CHECKING:
    from tilegen.tiling.product import Product
    from tilegen.tiling.reporter import Reporter
    from tilegen.tiling.schedule import Progress
    from tilegen.tiling.sinks.encoding import CogEncoding, ZarrEncoding


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Whom a run tells.

    Args:
        progress: after each shard.
        note: a sentence about the cluster.
    """

    progress: Callable[[Progress], None]
    note: Callable[[str], None]


@contextmanager
def watched(
    out: str,
    product: Product,
    encoding: CogEncoding | ZarrEncoding,
    *,
    quiet: bool,
    as_json: bool,
    page: Path | None,
    overwrite: bool,
) -> Iterator[Watch]:
    """Watch a run at `product` while the block lasts, and say how it ended.

    Args:
        encoding: how it is stored.
        quiet: show nothing.
        as_json: events instead of a bar or lines; quiet or not.
        page: where to keep a report, an HTML file with a JSON file beside it.

    Raises:
        InputError, OutputError: the report cannot be there.
    """
    from tilegen.tiling.reporter import Reporter

    reporter = None
    if page is not None:
        reporter = Reporter.open(page, Path(out).name, product, encoding.options, overwrite=overwrite)
    pace = Pace(total_px=product.num_pixels)
    if reporter is not None and reporter.earlier.seconds:
        earlier = reporter.earlier
        rate_px_s = earlier.pixels / earlier.seconds
        pace = replace(pace, earlier_px_s=rate_px_s, earlier_s=earlier.seconds)
    shown = RunEvents(pace) if as_json else RunProgress(pace, quiet=quiet)

    def progress(progress: Progress) -> None:
        shown(progress)
        if reporter is not None:
            reporter.add(progress)

    with _told(Path(out).name, product) if as_json else nullcontext(), _kept(reporter), shown:
        yield Watch(progress=progress, note=shown.note)


@contextmanager
def _told(name: str, product: Product) -> Iterator[None]:
    """Events of the beginning and the end."""
    pixels = [product.extent.height, product.extent.width]
    tell("begin", product=name, size_px=pixels, fingerprint=product.fingerprint)
    try:
        yield
    except BaseException as error:
        tell("end", status=_status(error), error=str(error))
        raise
    tell("end", status=_status(None))


@contextmanager
def _kept(reporter: Reporter | None) -> Iterator[None]:
    """A report of the whole run, whatever its end."""
    try:
        yield
    except BaseException as error:
        if reporter is not None:
            with suppress(OSError):  # the first error matters more
                reporter.end(_status(error))
        raise
    if reporter is not None:
        reporter.end(_status(None))


def _status(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
