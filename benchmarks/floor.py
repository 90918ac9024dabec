"""A run against its floor: rendering alone, compressing and writing alone, and both as `tilegen generate` does it.

    python benchmarks/floor.py --size 8192x8192 --preset S --workers 2

The three run on one cluster of workers, in turns. Writing alone stores tiles of real entropy that were rendered once.
Where each worker has a core, rendering and writing share it, so the best that can be is their sum; where a GPU
renders, it is the larger of the two. Also prints what scheduling costs: a run that neither renders nor writes.
Results: docs/benchmarks.md.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from tilegen.cli.options import Size
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.renderer import TILE_PX
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.testing.idle import IdleSink
from tilegen.tiling.cluster import cluster
from tilegen.tiling.product import Product
from tilegen.tiling.render import RendererSource, TileRenderer
from tilegen.tiling.schedule import run_shards
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world


@dataclass(frozen=True, kw_only=True)
class PaintedOnce:
    """A renderer that paints a few tiles of another once, then gives them again. Implements `RendererSource`."""

    source: RendererSource
    blank: bool = False

    def open(self) -> TileRenderer:
        return PaintedOnceRenderer(self.source.open(), blank=self.blank)


class PaintedOnceRenderer:
    """Implements `TileRenderer`."""

    def __init__(self, renderer: TileRenderer, *, blank: bool) -> None:
        self.renderer, lattice = renderer, renderer.lattice
        shape = len(renderer.band_names), lattice.tile_px, lattice.tile_px
        self.tiles = (
            [np.ones(shape, np.uint8)] if blank else [renderer.render_tile(lattice.tile(0, col)) for col in range(4)]
        )

    @property
    def lattice(self) -> Lattice:
        return self.renderer.lattice

    @property
    def band_names(self) -> tuple[str, ...]:
        return self.renderer.band_names

    def halo_plan(self) -> HaloPlan:
        return self.renderer.halo_plan()

    def tile_bytes(self) -> int:
        return self.renderer.tile_bytes()

    def render_tile(self, tile: Window) -> NDArray[np.uint8]:
        return self.tiles[(tile.row0 + 3 * tile.col0) // self.lattice.tile_px % len(self.tiles)]


@click.command()
@click.option("--size", type=Size(), default=(8192, 8192), show_default="8192x8192")
@click.option("--model", default="default", show_default=True)
@click.option("--preset", help="A preset with random weights in place of --model.")
@click.option("--dtype", default="float32", show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--suffix", "suffixes", multiple=True, default=["tif", "zarr"], show_default=True)
def main(
    size: tuple[int, int], model: str, preset: str | None, dtype: str, workers: int, suffixes: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if preset:
            model = str(Path(folder, "model.safetensors"))
            save_random_checkpoint(Path(model), GENERATOR_PRESETS[preset])
        world = open_world(model, device="cpu", dtype=dtype)
        product = world.product(Window.from_size(*size))
        painted, blank = PaintedOnce(source=world.config), PaintedOnce(source=world.config, blank=True)
        small = replace(product, extent=Window.from_size(product.shard_px * workers, product.shard_px))
        tiles = product.extent.height * product.extent.width / TILE_PX**2
        with cluster(None, workers) as client:

            def run(source: RendererSource, suffix: str | None, what: Product = product) -> float:
                out = Path(folder, f"out.{suffix}")
                sink = open_sink(out, what) if suffix else IdleSink(product=what)
                started = time.perf_counter()
                run_shards(nullcontext(client), source, sink, overwrite=True)
                return time.perf_counter() - started

            for source in (world.config, painted, blank):  # load the weights, warm the allocator
                run(source, None, small)
            idle = run(blank, None)
            render = run(world.config, None)
            mpx = product.extent.height * product.extent.width / 1e6
            click.echo(
                f"scheduling {idle:.2f} s: {1e3 * idle / tiles:.2f} ms per tile, {idle / render:.1%} of rendering"
            )
            click.echo(
                f"rendering  {render:.1f} s: {mpx / render:.2f} Mpx/s, {workers} workers, {world.config.engine} {dtype}"
            )
            for suffix in suffixes:
                write, both = run(painted, suffix), run(world.config, suffix)
                click.echo(
                    f"{suffix:<10} writing {write:.1f} s, end to end {both:.1f} s: "
                    f"{both / max(render, write):.2f} x the larger, {both / (render + write):.2f} x the sum"
                )


if __name__ == "__main__":
    main()
