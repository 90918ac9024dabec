"""`tilegen data`: from real imagery to a dataset that the training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.group()
def data() -> None:
    """Make training data."""


@data.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write.")
@click.option("--bands", default=3, show_default=True, help="Bands of every chip, alpha not counted.")
@click.option("--min-px", default=64, show_default=True, help="Smallest rows and columns of a chip.")
@click.option(
    "--stretch",
    type=(float, float),
    default=(2.0, 98.0),
    show_default=True,
    help="Percentiles that become 0 and 255.",
)
@click.option("--val-fraction", default=0.1, show_default=True, help="Share of the chips kept for validation.")
@click.option("--skip-bad", is_flag=True, help="Leave bad chips out and list them, instead of stopping.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--licence", help='Of the imagery, such as "CC BY-SA 4.0"; stored with it.')
@click.option("--attribution", help="Whom to name as the source of the imagery; stored with it.")
@click.option("--resolution-m", type=float, help="Ground size of a pixel, metres; stored with it.")
def prepare(
    sources: tuple[Path, ...],
    bands: int,
    stretch: tuple[float, float],
    **options: Any,
) -> None:
    """Pack chips into one dataset file.

    A SOURCE is a folder (with all folders in it), an image (GeoTIFF, JPEG, PNG, WebP) or a .zip archive of images.
    8-bit chips stay as they are; deeper ones are stretched, by one stretch for each folder.

    Example: tilegen data prepare AOI_2_Vegas_Train/RGB-PanSharpen --out vegas.safetensors --resolution-m 0.3
    """
    from rich.console import Console
    from rich.progress import Progress

    from tilegen.data.prepare import prepare_dataset

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Packing chips", total=None)
        report = prepare_dataset(
            sources,
            num_bands=bands,
            stretch_percent=stretch,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **options,
        )
    click.echo(report)
