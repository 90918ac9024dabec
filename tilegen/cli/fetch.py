"""`tilegen data fetch`: downloading training data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tilegen.cli.options import Limit
from tilegen.cli.progress import terminal_bar

if TYPE_CHECKING:
    from tilegen.data.spacenet.bucket import RemoteFile


@click.group()
def fetch() -> None:
    """Download training data."""


@fetch.command()
@click.argument("out", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--rounds", metavar="SN2,SN3,...", help="Only these rounds.")
@click.option("--aoi", "aois", multiple=True, metavar="NAME", help="Only this AOI: name, number or city. Repeatable.")
@click.option("--list", "list_only", is_flag=True, help="List the archives and their sizes, and stop.")
@click.option("--extract", is_flag=True, help="Unpack the archives as well.")
@click.option("--max-gib", type=Limit(), default=100.0, show_default=True, help="Most to download.")
@click.option("--endpoint", metavar="URL", help="S3 server that has the bucket.  [default: Amazon's]")
@click.option("--overwrite", is_flag=True, help="Replace files and folders that are something else.")
def spacenet(
    out: Path | None,
    rounds: str | None,
    aois: tuple[str, ...],
    list_only: bool,
    endpoint: str | None,
    max_gib: float,
    **options: bool,
) -> None:
    """Download archives of SpaceNet to the folder OUT, from its public bucket; no account is needed.

    Run the same command again after an interruption, and it goes on. SpaceNet's licence is CC BY-SA 4.0.

    Example: tilegen data fetch spacenet spacenet --rounds SN2 --aoi Vegas --extract
    """
    from tilegen.data.spacenet.bucket import open_bucket
    from tilegen.data.spacenet.catalogue import find_archives
    from tilegen.data.spacenet.fetch import Fetch

    if out is None and not list_only:
        raise click.UsageError("Give OUT, the folder to download to, or --list.")
    with open_bucket(endpoint) as bucket:
        files = find_archives(bucket, rounds=rounds.split(",") if rounds else None, aois=aois)
        if out is None or list_only:
            _list(files)
            return
        with _progress() as (progress, say):
            run = Fetch(
                bucket=bucket,
                out=out,
                unpack=options["extract"],
                overwrite=options["overwrite"],
                progress=progress,
                say=say,
            )
            run.check_space(files, int(max_gib * 2**30))
            for file in files:
                fetched = run.archive(file)
                click.echo(
                    f"{fetched.path}  {'was there' if fetched.was_there else 'fetched'}, checked by {fetched.checked}"
                )


def _list(files: list[RemoteFile]) -> None:
    from tilegen.amounts import amount

    for file in files:
        click.echo(f"{amount(file.num_bytes):>10}  {file.key}")
    click.echo(f"{amount(sum(file.num_bytes for file in files)):>10}  in {len(files)} archives")


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str, int, int], None], Callable[[str], None]]]:
    """A bar with speed and time to go, on a terminal only, and a way to say a sentence beside it."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True)
    with terminal_bar(*columns, TransferSpeedColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("Listing", total=None)
        doing = ""

        def show(what: str, done: int, total: int) -> None:
            nonlocal doing
            if what != doing:  # begin anew, so that the speed is that of this work
                doing = what
                bar.reset(task, description=what, total=total, completed=done)
            bar.update(task, completed=done, total=total)

        yield show, lambda text: click.echo(text, err=True)
