"""Render rate of one tile on one thread, beside the rate of the same network's bare convolutions.

    python benchmarks/engine.py --model default

The baseline is what the convolutions alone take: same shapes, same dtype, channels last, measured in turn with the
tile in the same run. Medians. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import click
import torch
import torch.nn.functional as F

from tilegen.geometry.window import Window
from tilegen.model.checkpoint import load_generator, resolve_checkpoint
from tilegen.model.generator import Generator
from tilegen.world import TILE_PX


def bare_convolutions(generator: Generator, window: Window, dtype: torch.dtype) -> Callable[[], None]:
    """A function that runs every 3x3 convolution of one tile and nothing else."""
    plan, calls = generator.plan(window), []
    for layer in generator.synthesis.layers:
        shape = plan[f"mod{layer.name}"].shape
        weight = layer.weight.to(dtype)
        x = torch.randn(1, weight.shape[1], *shape, dtype=dtype).to(memory_format=torch.channels_last)
        calls.append((x, weight, layer.name.endswith("up")))

    def run() -> None:
        for x, weight, up in calls:
            if up:
                F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1)
            else:
                F.conv2d(x, weight)

    return run


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


@click.command()
@click.option("--model", default="default", show_default=True)
@click.option("--repeats", default=9, show_default=True)
@torch.no_grad()
def main(model: str, repeats: int) -> None:
    torch.set_num_threads(1)
    generator, _ = load_generator(resolve_checkpoint(model))
    window = Window.from_size(TILE_PX, TILE_PX)
    click.echo(f"{'dtype':<10} {'tile s':>8} {'Mpx/s':>7} {'bare convolutions s':>20} {'bare / tile':>12}")
    for dtype in (torch.float32, torch.bfloat16):
        bare = bare_convolutions(generator, window, dtype)

        def tile(dtype: torch.dtype = dtype) -> object:
            return generator((0,), window, dtype=dtype)

        pairs = [(seconds(tile), seconds(bare)) for _ in range(repeats + 2)][2:]
        tile_s, bare_s = (statistics.median(column) for column in zip(*pairs, strict=True))
        rate = TILE_PX**2 / tile_s / 1e6
        click.echo(f"{str(dtype)[6:]:<10} {tile_s:8.3f} {rate:7.2f} {bare_s:20.3f} {bare_s / tile_s:12.2f}")


if __name__ == "__main__":
    main()
