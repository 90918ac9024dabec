"""`tilegen export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tilegen.cli.formats import encoding_only, encoding_options
from tilegen.cli.options import default_workers


@click.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path())
@click.option("--chunk", "chunk_px", type=int, help="Zarr chunk or COG tile, pixels.  [default: as it is]")
@click.option("--shard", "shard_px", type=int, help="Pixels a task writes, a side.  [default: as it is, or 2048]")
@encoding_only
@click.option("--aoi", "aoi_name", metavar="FILE[:LAYER]", help="The AOI of IN, where IN does not repeat it.")
@click.option("--workers", type=click.IntRange(1, 256), help="Local worker processes.  [default: one per core]")
@click.option("--log-json", is_flag=True, help="Events on stderr, a JSON object a line, instead of progress.")
@click.option("--overwrite", is_flag=True, help="Replace an existing product.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def export(  # noqa: PLR0913  one argument per option
    source: str,
    out: str,
    *,
    chunk_px: int | None,
    shard_px: int | None,
    workers: int | None,
    log_json: bool,
    overwrite: bool,
    quiet: bool,
    aoi_name: str | None,
    **choices: Any,
) -> None:
    """Write the product IN (.tif, .zarr) to OUT in another format or layout; nothing is rendered again.

    OUT is what `tilegen generate` would have written there. Both may be at s3://BUCKET/NAME. An export that was
    stopped goes on where it was when the same command is given again.

    Example:  tilegen export world.zarr world.tif
    """
    from tilegen.cli.watch import watched
    from tilegen.errors import InputError
    from tilegen.tiling.cluster import cluster
    from tilegen.tiling.plan import check_budget, plan_render
    from tilegen.tiling.schedule import run_shards
    from tilegen.tiling.sinks import open_sink
    from tilegen.tiling.sinks.encoding import encoding_of
    from tilegen.tiling.sinks.remote.address import is_url
    from tilegen.tiling.stored import open_stored

    if _is_same(source, out):
        raise InputError(f"{out} is what would be read. Give OUT another name.")
    product, pixels = open_stored(source, chunk_px=chunk_px, shard_px=shard_px, aoi_name=aoi_name)
    options = encoding_options(choices)
    sink, encoding = open_sink(out, product, options), encoding_of(out, options)
    plan = plan_render(
        product,
        pixels.open(),
        copies=sink.disk_copies,
        compressed_share=encoding.compressed_share(product),
        measure=False,
    )
    workers = min(workers or default_workers(), plan.num_shards)
    check_budget(plan, None if is_url(out) else Path(out), workers)
    with watched(out, product, encoding, quiet=quiet, as_json=log_json, page=None, overwrite=overwrite) as watch:
        connection = cluster(None, workers, processes=plan.num_shards > 1, tell=watch.note)
        run_shards(connection, pixels, sink, overwrite=overwrite, report=watch.progress)
    _, rows, cols = product.shape
    click.echo(f"{out}: {cols}x{rows} pixels of {source}")


def _is_same(source: str, out: str) -> bool:
    """Whether two names are those of one thing."""
    return source.rstrip("/") == out.rstrip("/") or os.path.realpath(source) == os.path.realpath(out)
