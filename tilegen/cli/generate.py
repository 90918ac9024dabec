"""`tilegen generate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tilegen.cli.formats import encoding_options, storage_options
from tilegen.cli.neighbours import checked_neighbours
from tilegen.cli.options import ScaleSeed, Seconds, default_workers, once_each
from tilegen.cli.where import Where, say, split_options, where_options

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("out", type=click.Path())
@where_options
@click.option("--seed", type=int, default=0, show_default=True, help="Which world, 0 to 2**64 - 1.")
@click.option(
    "--scale-seed",
    "scale_seeds",
    type=ScaleSeed(),
    multiple=True,
    help="Seed of one scale, such as region=5: another region, all else the same.",
)
@click.option("--model", default="default", show_default=True, help="'default', a checkpoint, or a training run.")
@click.option("--truncation-psi", type=float, default=1.0, show_default=True, help="Below 1: less varied.")
@click.option("--workers", type=click.IntRange(1, 256), help="Local processes.  [default: one per core, one for a GPU]")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use this Dask cluster instead of local workers.")
@click.option("--dashboard", is_flag=True, help="Print the address of Dask's dashboard; local workers open one.")
@click.option("--performance-report", "page", type=_FILE, help="Also Dask's own report of the run, an HTML file.")
@click.option("--report", "report_page", type=_FILE, help="Also a report, FILE.html and FILE.json, over all attempts.")
@click.option("--log-json", is_flag=True, help="Events on stderr, a JSON object a line, instead of progress.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--engine", default="auto", show_default=True, help="auto, compiled or eager.")
@storage_options
@click.option("--preview", type=_FILE, help="Also a PNG of at most 2048 px.")
@click.option("--stac", is_flag=True, help="Also a STAC item, OUT.stac.json.")
@click.option("--shard-timeout", type=Seconds(), help="Give a shard that takes longer to another worker, too.")
@click.option("--worker-timeout", type=Seconds(), default=300.0, help="Stop when no worker was there for so long.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--resume", is_flag=True, help="Only go on with an unfinished product; never begin one.")
@click.option("--overwrite", is_flag=True, help="Replace an existing product and preview.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def generate(  # noqa: PLR0913  one argument per option
    out: str,
    *,
    seed: int,
    scale_seeds: tuple[tuple[str, int], ...],
    model: str,
    truncation_psi: float,
    workers: int | None,
    scheduler: str | None,
    dashboard: bool,
    page: Path | None,
    report_page: Path | None,
    log_json: bool,
    device: str,
    dtype: str,
    engine: str,
    preview: Path | None,
    stac: bool,
    shard_timeout: float | None,
    worker_timeout: float,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Render a window of an endless world to OUT, a GeoTIFF (.tif) or a Zarr store (.zarr), or to s3://BUCKET/NAME.

    A run that was stopped goes on where it was when the same command is given again.

    Example:  tilegen generate world.tif --size 20000x20000
    """
    from tilegen.cli.watch import watched
    from tilegen.errors import InputError
    from tilegen.tiling.cluster import cluster, device_on
    from tilegen.tiling.flight import Patience
    from tilegen.tiling.plan import check_budget, plan_render
    from tilegen.tiling.reporter import checked_page
    from tilegen.tiling.schedule import run_shards
    from tilegen.tiling.sinks import open_sink
    from tilegen.tiling.sinks.encoding import encoding_of
    from tilegen.tiling.sinks.remote.address import is_url
    from tilegen.world import open_world

    if scheduler is not None:
        if workers is not None:
            raise InputError("--workers are processes of this machine, --scheduler has its own. Leave one of them out.")
        device = device_on(scheduler, device)
    where, storage = split_options(choices)
    place = Where(**where).place()
    world = open_world(
        model,
        seed=seed,
        scale_seeds=once_each("--scale-seed", scale_seeds),
        **place.grid,
        truncation_psi=truncation_psi,
        device=device,
        dtype=dtype,
        engine=engine,
        drawn_here=scheduler is None,
    )
    product = place.product(world, chunk_px=storage["chunk_px"], shard_px=storage["shard_px"])
    options = encoding_options(storage)
    sink, encoding = open_sink(out, product, options), encoding_of(out, options)
    if resume:
        _require_unfinished(out, overwrite=overwrite)
    say(place.notes(product), quiet=quiet, as_json=log_json)
    workers = workers or (1 if world.config.off_cpu else default_workers())  # one process keeps a GPU busy
    # A plan needs no GPU, and this machine may have none.
    planned = world.config if scheduler is None else dataclasses.replace(world.config, device="cpu", engine="eager")
    plan = plan_render(
        product,
        planned.open(),
        copies=sink.disk_copies,
        compressed_share=encoding.compressed_share(product),
        measure=dry_run and scheduler is None,
    )
    if dry_run:
        click.echo(plan.describe(workers))
    workers = min(workers, plan.num_shards)
    check_budget(plan, None if is_url(out) else Path(out), 0 if scheduler else workers)
    if dry_run:
        return
    beside = checked_neighbours(out, preview=preview, has_item=stac, overwrite=overwrite)
    page = checked_page("--performance-report", page, overwrite=overwrite)
    with watched(out, product, encoding, quiet=quiet, as_json=log_json, page=report_page, overwrite=overwrite) as watch:
        connection = cluster(
            scheduler,
            workers,
            device=device,
            processes=plan.num_shards > 1,
            dashboard=dashboard,
            page=page,
            tell=watch.note,
        )
        run_shards(
            connection,
            world.config,
            sink,
            overwrite=overwrite,
            patience=Patience(shard_s=shard_timeout, workers_s=worker_timeout),
            report=watch.progress,
        )
    beside.save()
    click.echo(f"{out}: {product.shape[2]}x{product.shape[1]} pixels of {world}")


def _require_unfinished(out: str, *, overwrite: bool) -> None:
    """Pass if there is something to resume at `out`; whether it is of the same run, the sink asks."""
    from tilegen.errors import InputError
    from tilegen.tiling.sinks import require_unfinished

    if overwrite:
        raise InputError("--resume goes on with a product, --overwrite throws it away. Leave one of them out.")
    require_unfinished(out)
