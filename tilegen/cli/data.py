"""`tilegen data`: from real imagery to a dataset that the training reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tilegen.cli.fetch import fetch
from tilegen.cli.progress import terminal_bar


@click.group()
def data() -> None:
    """Make training data."""


data.add_command(fetch)


@data.group()
def prepare() -> None:
    """Pack chips into one dataset file."""


def _packing_options(command: Callable[..., None]) -> Callable[..., None]:
    """What all kinds of sources have in common."""
    percentiles: dict[str, Any] = {"type": (float, float), "default": (2.0, 98.0), "show_default": True}
    options = [
        click.option("--out", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write."),
        click.option("--min-px", default=64, show_default=True, help="Smallest rows and columns of a chip."),
        click.option("--stretch", "stretch_percent", **percentiles, help="Percentiles that become 0 and 255."),
        click.option("--val-fraction", default=0.1, show_default=True, help="Share of the chips kept for validation."),
        click.option("--strict", is_flag=True, help="Stop at the first bad chip, instead of leaving bad chips out."),
        click.option("--overwrite", is_flag=True, help="Replace an existing file, and its report."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@prepare.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@_packing_options
@click.option("--bands", "num_bands", default=3, show_default=True, help="Bands of every chip, alpha not counted.")
@click.option("--licence", help='Of the imagery, such as "CC BY-SA 4.0"; stored with it.')
@click.option("--attribution", help="Whom to name as the source of the imagery; stored with it.")
@click.option("--resolution-m", type=float, help="Ground size of a pixel, metres; stored with it.")
@click.option("--report", "report_folder", type=click.Path(path_type=Path), help="Folder for a report with pictures.")
def images(sources: tuple[Path, ...], **options: Any) -> None:
    """Pack images of any folders, as they are.

    A SOURCE is a folder (with all folders in it), an image (GeoTIFF, JPEG, PNG, WebP) or a .zip archive of images.
    8-bit chips stay as they are; deeper ones are stretched, by one stretch for each folder.

    Example: tilegen data prepare images chips.zip --out chips.safetensors --resolution-m 0.3
    """
    from tilegen.data.prepare import prepare_dataset

    _packed(prepare_dataset, sources, **options)


@prepare.command()
@click.argument("root", type=click.Path(path_type=Path))
@_packing_options
@click.option("--rounds", metavar="SN2,SN3,...", help="Only these rounds.")
@click.option("--aoi", "aois", multiple=True, metavar="NAME", help="Only this AOI: name, number or city. Repeatable.")
@click.option("--product", help="Folder name of the product, such as MUL-PanSharpen.  [default: one in RGB]")
@click.option("--res", "res_m", default=0.5, show_default=True, help="Ground size of a pixel, metres.")
@click.option(
    "--report", "report_folder", type=click.Path(path_type=Path), help="Folder.  [default: <stem of --out>-report]"
)
def spacenet(root: Path, rounds: str | None, aois: tuple[str, ...], **options: Any) -> None:
    """Pack SpaceNet as it was unpacked below ROOT.

    All chips get one ground resolution, each AOI one stretch, and training and validation share no ground. Labels of
    buildings and roads are packed too. A report shows what went in, what was left out, and why.

    Example: tilegen data prepare spacenet SN2_buildings --aoi Vegas --out vegas.safetensors --res 0.5
    """
    from tilegen.data.spacenet.prepare import prepare_spacenet

    _packed(prepare_spacenet, root, rounds=rounds.split(",") if rounds else None, aois=aois or None, **options)


def _packed(prepare: Callable[..., Any], *sources: Any, **options: Any) -> None:
    """Run `prepare` with a progress bar, and say what came of it."""
    with terminal_bar() as bar:
        task = bar.add_task("Packing chips", total=None)
        report = prepare(
            *sources, **options, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    click.echo(report)
    if report.card.rejects:
        click.echo(f"{len(report.card.rejects)} left out. With --strict, a bad chip stops the packing.", err=True)
