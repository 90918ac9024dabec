"""What scheduling costs: a million tasks that do nothing, and shards that only burn processor time.

    python benchmarks/scheduling.py tasks --tasks 1000000
    python benchmarks/scheduling.py rates --workers 1 --workers 2 --workers 4

Both go through `run_shards` on a real local cluster; scheduler and client share one process.
Results: docs/benchmarks.md.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import psutil

from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.idle import BusySource, IdleSink
from tilegen.tiling.cluster import cluster
from tilegen.tiling.product import Product
from tilegen.tiling.schedule import Progress, run_shards

SHARD_PX = 16


def product_of(num_tasks: int) -> Product:
    """Two rows of shards."""
    return Product(
        extent=Window.from_size(2 * SHARD_PX, num_tasks // 2 * SHARD_PX),
        georef=GeoReference(crs="EPSG:3857", res=0.5),
        band_names=("grey",),
        provenance={"seed": 0},
        chunk_px=SHARD_PX,
        shard_px=SHARD_PX,
    )


def resident_mib() -> float:
    return psutil.Process().memory_info().rss / 2**20


@click.group()
def main() -> None:
    click.echo(f"{os.cpu_count()} cores, load {Path('/proc/loadavg').read_text().split()[0]} before")


@main.command()
@click.option("--tasks", default=1_000_000, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--lines", default=10, show_default=True)
def tasks(tasks: int, workers: int, lines: int) -> None:
    """Time and memory of tasks that do nothing."""
    last = [0, time.monotonic(), time.process_time()]
    click.echo(f"{'tasks':>9} {'ms per task':>12} {'CPU ms here':>12} {'MiB here':>9}")

    def report(progress: Progress) -> None:
        if progress.done == 1 or progress.done % max(tasks // lines, 1) == 0:
            now = [progress.done, time.monotonic(), time.process_time()]
            number, wall_s, cpu_s = (new - old for new, old in zip(now, last, strict=True))
            last[:] = now
            ms, cpu_ms = 1e3 * wall_s / number, 1e3 * cpu_s / number
            click.echo(f"{progress.done:9d} {ms:12.2f} {cpu_ms:12.2f} {resident_mib():9.1f}")

    run_shards(
        cluster(None, workers),
        BusySource(cpu_s=0.0, tile_px=SHARD_PX),
        IdleSink(product=product_of(tasks)),
        report=report,
    )


@main.command()
@click.option("--workers", multiple=True, type=int, default=(1, 2, 4), show_default=True)
@click.option("--tasks", default=200, show_default=True)
@click.option("--cpu-s", default=0.2, show_default=True, help="Processor time of a shard, seconds.")
def rates(workers: tuple[int, ...], tasks: int, cpu_s: float) -> None:
    """Shards per second, by the number of workers."""
    click.echo(f"{'workers':>7} {'shards per s':>13} {'processors used':>16}")
    for number in workers:
        marks: list[float] = []
        sink = IdleSink(product=product_of(tasks))
        run_shards(
            cluster(None, number),
            BusySource(cpu_s=cpu_s, tile_px=SHARD_PX),
            sink,
            report=lambda progress, marks=marks: marks.append(progress.seconds),
        )
        middle = marks[len(marks) // 10 : -len(marks) // 10]  # without the start and the end of the cluster
        rate = (len(middle) - 1) / (middle[-1] - middle[0])
        click.echo(f"{number:7d} {rate:13.2f} {rate * cpu_s:16.2f}")


if __name__ == "__main__":
    main()
