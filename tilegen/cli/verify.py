"""`tilegen verify`."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilegen.cli.options import ProductPath

if TYPE_CHECKING:
    from tilegen.tiling.verify import Written
    from tilegen.world import World

_DECISIVE = ("rng_version", "prior")
_NOTABLE = ("software", "torch", "machine", "device", "engine", "tile_px")
_OPTIONS = ("seed", "scale_seeds", "truncation_psi", "device", "dtype", "engine")
"""Keys of the provenance that are options of `open_world`."""


class CannotVerify(click.ClickException):
    """Nothing was compared; exit code 1 is for products that differ."""

    exit_code = 2


@click.command()
@click.argument("path", metavar="PRODUCT", type=ProductPath(exists=True, path_type=Path))
@click.option("--tiles", "num_tiles", type=click.IntRange(min=1), help="How many tiles, at random.  [default: 8]")
@click.option("--all", "every", is_flag=True, help="All tiles, also those that an AOI leaves empty.")
@click.option("--sample-seed", type=int, help="Which tiles; the same number, the same tiles.  [default: by chance]")
@click.option("--tolerance", type=click.IntRange(0, 254), default=0, show_default=True, help="Code values to allow.")
@click.option("--model", default="default", show_default=True, help="The model that made it, if it is another one.")
@click.option("--aoi", "aoi_name", metavar="FILE[:LAYER]", help="The AOI it was made with, if it is large.")
@click.option("--device", help="auto, cpu, cuda or cuda:N.  [default: the kind that made it]")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def verify(  # noqa: PLR0913  one argument per option
    path: Path | str,
    *,
    num_tiles: int | None,
    every: bool,
    sample_seed: int | None,
    tolerance: int,
    model: str,
    aoi_name: str | None,
    device: str | None,
    quiet: bool,
) -> None:
    """Render tiles of PRODUCT (.tif, .zarr, also at s3://…) again and compare them with what it holds.

    Ends with 0 if all are the same, 1 if any differs, 2 if nothing could be compared. Products of another kind of
    device differ by one code value: --tolerance 1. Overviews are not compared. A lossy product is compared with what
    the same codec makes of the world's pixels; another version of the codec may need a --tolerance, too.

    Example:  tilegen verify world.tif --tiles 20
    """
    from tilegen.errors import TilegenError
    from tilegen.tiling.verify import open_written

    if every and num_tiles is not None:
        raise click.UsageError("--tiles and --all exclude each other.")
    sample_seed = secrets.randbits(32) if sample_seed is None else sample_seed
    try:
        written = open_written(path, aoi_name)
        world = _world_of(written, model, device)
        total = written.num_tiles(world.renderer.lattice)
        drawn = written.drawn_tiles(world.renderer.lattice)
    except (TilegenError, OSError) as error:
        raise CannotVerify(str(error)) from None
    wanted = min(num_tiles or 8, len(drawn))
    # A sample would mostly find that nothing is where nothing should be; --all looks there, too.
    numbers = range(total) if every else sorted(random.Random(sample_seed).sample(drawn, wanted))
    try:
        num_bad = _count_bad(written, world, numbers, tolerance=tolerance, quiet=quiet)
    except TilegenError as error:  # an object store that is not there any more
        raise CannotVerify(str(error)) from None
    chosen = "" if every or wanted == len(drawn) else f", --sample-seed {sample_seed}"
    same = "identical" if not tolerance else f"the same within {tolerance}"
    if written.lossy is not None:
        same += f" after {written.lossy.encoding.compression}, which loses a little"
    verdict = f"{num_bad} of {len(numbers)} tiles differ" if num_bad else f"{len(numbers)} tiles are {same}"
    click.echo(f"{path}: {verdict} ({total} in all{chosen}).")
    if num_bad:
        click.get_current_context().exit(1)


def _count_bad(written: Written, world: World, numbers: Collection[int], *, tolerance: int, quiet: bool) -> int:
    """Compare these tiles, and print a line for each that differs."""
    from tilegen.cli.progress import terminal_bar
    from tilegen.tiling.verify import compare_tiles

    num_bad = 0
    with terminal_bar() as bar:
        task = bar.add_task("tiles", total=len(numbers), visible=not quiet)
        for comparison in compare_tiles(written, world.renderer, numbers, tolerance=tolerance):
            bar.advance(task)
            if not comparison.is_same:
                num_bad += 1
                click.echo(f"{written.path}: {comparison}.")
    return num_bad


def _world_of(written: Written, model: str, device: str | None) -> World:
    """The world that a product says it shows; notes on stderr what may make it differ by rounding.

    Raises:
        InputError: the model is another one, or this tilegen draws other worlds.
    """
    from tilegen.errors import InputError
    from tilegen.tiling.finished import plain
    from tilegen.world import open_world

    said = written.provenance
    options: dict[str, Any] = {name: said[name] for name in _OPTIONS if name in said}
    if device is not None and device.partition(":")[0] != said.get("device"):
        options |= {"device": device, "engine": "auto"}  # an engine of one kind of device is not there on another
    elif device is not None:
        options["device"] = device
    world = open_world(model, **{"engine": "eager", **options})  # older products do not say, and knew no other
    if world.config.digest != said["model_digest"]:
        raise InputError(
            f"{written.path} was made with the model {said['model_digest'][:12]}, and {model!r} is "
            f"{world.config.digest[:12]}. Give the checkpoint that made it with --model."
        )
    here = {name: plain(value) for name, value in json.loads(json.dumps(world.provenance())).items()}
    for name in _DECISIVE:
        if said.get(name) != here[name]:
            raise InputError(
                f"{written.path} was made with another {name} ({said.get(name)}), which is {here[name]} here."
            )
    notes = [_note(name, said.get(name), here[name]) for name in _NOTABLE if said.get(name) != here[name]]
    if notes:
        click.echo(f"Rounding may differ: {', '.join(notes)}.", err=True)
    return world


def _note(name: str, there: Any, here: Any) -> str:
    return f"{name} {there} made it, {here} is here"
