"""`tilegen bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tilegen.world import World

_WINDOW_PX = 256


@click.command()
@click.option("--model", default="default", show_default=True, help="'default', a checkpoint, or a training run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=7, show_default=True)
def bench(model: str, device: str, repeats: int) -> None:
    """How fast this machine draws: tiles as `generate` draws them, and small windows, one worker alone.

    Times are medians. Machines are shared: compare rows, and run it twice.

    Example:  tilegen bench
    """
    import torch

    from tilegen.errors import InputError
    from tilegen.model.arithmetic import chosen_device
    from tilegen.model.engine import ENGINES
    from tilegen.renderer import TILE_PX
    from tilegen.world import open_world

    device = chosen_device(device)
    open_world(model, device=device, engine="eager")  # what is wrong with the model is said once
    processor = torch.cuda.get_device_name(device) if device != "cpu" else torch.backends.cpu.get_cpu_capability()
    click.echo(f"{model} on {device} ({processor}), torch {torch.__version__}, one worker")
    click.echo(
        f"{'engine':<9} {'dtype':<9} {'Mpx/s':>7} {'tile ms':>8} {'window ms':>10}  20000x20000, two such workers"
    )
    for engine in ENGINES:
        for dtype in ("float32", "bfloat16"):
            try:
                world = open_world(model, device=device, dtype=dtype, engine=engine)
            except InputError as error:
                click.echo(f"{engine:<9} {dtype:<9} {error}")
                continue
            tile_s, window_s = _tile_s(world, repeats), _window_s(world, repeats)
            rate = TILE_PX**2 / tile_s / 1e6
            click.echo(
                f"{engine:<9} {dtype:<9} {rate:7.2f} {tile_s * 1e3:8.0f} {window_s * 1e3:10.0f}  {400 / rate / 2:.0f} s"
            )
    click.echo(
        f"window: {_WINDOW_PX} x {_WINDOW_PX} px anywhere, alone, as for looking (world.read(..., whole_tiles=False))"
    )


def _tile_s(world: World, repeats: int) -> float:
    tiles = (world.renderer.lattice.tile(3, col) for col in range(repeats + 1))
    return _median_s([partial(world.renderer.render_tile, tile) for tile in tiles])


def _window_s(world: World, repeats: int) -> float:
    from tilegen.geometry.window import Window

    # Far apart, at every phase of tiles and cells.
    places = (Window.from_size(_WINDOW_PX, _WINDOW_PX, row0=99991 * n, col0=-77773 * n) for n in range(repeats + 1))
    return _median_s([partial(world.read, place, whole_tiles=False) for place in places])


def _median_s(work: list[Callable[[], object]]) -> float:
    """Of all but the first, which warms up."""
    seconds = []
    for act in work:
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
