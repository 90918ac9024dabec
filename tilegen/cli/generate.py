"""`tilegen generate`."""

from __future__ import annotations

from pathlib import Path

import click

from tilegen.cli.options import Origin, ScaleSeed, Size, default_workers, once_each


@click.command()
@click.argument("out", type=click.Path())
@click.option("--size", type=Size(), required=True, help="Pixels, such as 20000x20000.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which world, 0 to 2**64 - 1.")
@click.option(
    "--scale-seed",
    "scale_seeds",
    type=ScaleSeed(),
    multiple=True,
    help="Seed of one scale, such as region=5: another region, all else the same.",
)
@click.option("--model", default="default", show_default=True, help="'default', a checkpoint, or a training run.")
@click.option("--crs", default="EPSG:3857", show_default=True, help="CRS of the world's grid.")
@click.option("--origin", type=Origin(), default=(0.0, 0.0), help="Upper left corner in the CRS.  [default: 0,0]")
@click.option("--res", type=float, help="Pixel size in units of the CRS.  [default: that of the training imagery]")
@click.option("--truncation-psi", type=float, default=1.0, show_default=True, help="Below 1: less varied.")
@click.option("--workers", type=click.IntRange(1, 256), help="Local worker processes.  [default: one per core]")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use this Dask cluster instead of local workers.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--chunk", "chunk_px", type=int, default=512, show_default=True, help="Zarr chunk or COG tile, pixels.")
@click.option("--shard", "shard_px", type=int, default=2048, show_default=True, help="Pixels a task writes, a side.")
@click.option("--preview", type=click.Path(dir_okay=False, path_type=Path), help="Also a PNG of at most 2048 px.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--overwrite", is_flag=True, help="Replace an existing product and preview.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def generate(  # noqa: PLR0913  one argument per option
    out: str,
    *,
    size: tuple[int, int],
    seed: int,
    scale_seeds: tuple[tuple[str, int], ...],
    model: str,
    crs: str,
    origin: tuple[float, float],
    res: float | None,
    truncation_psi: float,
    workers: int | None,
    scheduler: str | None,
    device: str,
    dtype: str,
    preview: Path | None,
    dry_run: bool,
    overwrite: bool,
    quiet: bool,
    **layout: int,
) -> None:
    """Render a window of an endless world to OUT, a GeoTIFF (.tif) or a Zarr store (.zarr).

    A run that was stopped goes on where it was when the same command is given again.

    Example:  tilegen generate world.tif --size 20000x20000
    """
    from tilegen.cli.progress import ProgressLine
    from tilegen.tiling.cluster import cluster
    from tilegen.tiling.plan import check_budget, plan_render
    from tilegen.tiling.preview import checked_preview, save_preview
    from tilegen.tiling.schedule import run_shards
    from tilegen.tiling.sinks import open_sink
    from tilegen.world import open_world

    world = open_world(
        model,
        seed=seed,
        scale_seeds=once_each("--scale-seed", scale_seeds),
        crs=crs,
        res=res,
        truncation_psi=truncation_psi,
        device=device,
        dtype=dtype,
    )
    product = world.product(world.window_at(*origin, *size), chunk_px=layout["chunk_px"], shard_px=layout["shard_px"])
    sink = open_sink(out, product)
    workers = workers or default_workers()
    plan = plan_render(product, world.renderer, copies=sink.disk_copies, measure=dry_run)
    if dry_run:
        click.echo(plan.describe(workers))
    check_budget(plan, Path(out), 0 if scheduler else workers)
    if dry_run:
        return
    png = checked_preview(preview, overwrite=overwrite)
    progress = ProgressLine(product.extent.height * product.extent.width, quiet=quiet)
    run_shards(cluster(scheduler, workers), world.config, sink, overwrite=overwrite, report=progress)
    if png is not None:
        save_preview(Path(out), png)
    click.echo(f"{out}: {product.shape[2]}x{product.shape[1]} pixels of {world}")
