"""Render rate of one tile on one thread: compiled and eager engine, beside the roof and beside a naive twin.

    python benchmarks/engine.py --model default --preset S

The roof is what the network's bare convolutions alone take: same shapes, same dtype, channels last. The naive twin is
the same network as one writes it first: float32, channels first, style maps by `interpolate`. All are measured in
turns in the same run; medians. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from tilegen.fields.counter import Stream, plain_normal_plane
from tilegen.geometry.footprint import UPCONV3, UPSAMPLE2
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import load_generator, resolve_checkpoint
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.model.engine import open_engine
from tilegen.model.generator import Generator, SynthesisInputs
from tilegen.model.modulation import demodulation, weight_gain
from tilegen.model.resample import site_latents, upsampled
from tilegen.renderer import TILE_PX

CPU = torch.device("cpu")


def bare_convolutions(generator: Generator, window: Window, dtype: torch.dtype) -> Callable[[], None]:
    """A function that runs every 3x3 convolution of one tile and nothing else."""
    plan, calls = generator.plan(window), []
    for layer in generator.synthesis.layers:
        shape = plan[f"mod{layer.name}"].shape
        x = torch.randn(1, layer.weight.shape[1], *shape, dtype=dtype).to(memory_format=torch.channels_last)
        weight = layer.weight.transpose(0, 1) if layer.up else layer.weight
        calls.append((x, weight.to(dtype).contiguous(memory_format=torch.channels_last), layer.up))

    def run() -> None:
        for x, weight, up in calls:
            if up:
                F.conv_transpose2d(x, weight, stride=2, padding=1)
            else:
                F.conv2d(x, weight)

    return run


class NaiveTwin:
    """The network of `generator` in float32 and channels first; every map is an image of all its channels."""

    def __init__(self, generator: Generator) -> None:
        self.synthesis = generator.synthesis

    def __call__(self, inputs: SynthesisInputs) -> Tensor:
        plan, network = inputs.plan, self.synthesis
        x, image = network.content(inputs.content) + network.const[:, None, None], None
        for number, layer in enumerate(network.layers):
            reads, writes = plan[f"mod{layer.name}"], plan[f"conv{layer.name}"]
            weight = layer.weight * weight_gain(layer.weight)
            x = x * self.spread(layer.affine(self.sites(inputs, layer.level - layer.up, reads)), reads)
            if layer.up:
                x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1)
                taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
                kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)
                x = F.conv2d(x, kernel, groups=x.shape[1])[..., *writes.within(UPCONV3.made(reads))]
            else:
                x = F.conv2d(x, weight)
            x = x * self.spread(demodulation(weight, layer.affine(self.sites(inputs, layer.level, writes))), writes)
            x = x + plain_normal_plane((0,), Stream.NOISE, number, writes, CPU) * layer.noise_strength[:, None, None]
            x = F.leaky_relu(x + layer.bias[:, None, None], 0.2) * 2**0.5
            if number and number % 2 == 0:
                image = self.joined(inputs, x, image, network.to_image[number // 2 - 1])
        assert image is not None
        return image

    def joined(self, inputs: SynthesisInputs, x: Tensor, image: Tensor | None, to_image: torch.nn.Module) -> Tensor:
        level, plan = to_image.level, inputs.plan
        writes = plan[f"rgb{level}"]
        x = x[..., *writes.within(plan[f"conv{level}"])]
        part = to_image.conv(x * self.spread(to_image.affine(self.sites(inputs, level, writes)), writes))
        if image is None:
            return part
        return part + upsampled(image)[..., *writes.within(UPSAMPLE2.made(plan[f"rgb{level - 1}"]))]

    @staticmethod
    def sites(inputs: SynthesisInputs, level: int, window: Window) -> Tensor:
        return site_latents(inputs.w, inputs.plan["sites"], level, window)

    @staticmethod
    def spread(grid: Tensor, window: Window) -> Tensor:
        """Off by a fraction of a site, as `interpolate` knows no phase: for the clock, not for the eye."""
        return F.interpolate(grid.permute(0, 3, 1, 2).contiguous(), size=window.shape, mode="bilinear")


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    function()
    return clock() - started


def medians(
    functions: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Seconds of each, measured in turns."""
    rounds = [{name: seconds(function, clock) for name, function in functions.items()} for _ in range(repeats + 1)][1:]
    return {name: statistics.median(measured[name] for measured in rounds) for name in functions}


def ceilings() -> str:
    """What this core copies and multiplies at most."""
    block, matrix = torch.empty(1 << 26, dtype=torch.uint8), torch.randn(1024, 1024)
    target, half = torch.empty_like(block), matrix.bfloat16()
    work: dict[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(block),
        "float32": lambda: matrix @ matrix,
        "bfloat16": lambda: half @ half,
    }
    took = medians(work, 9)
    rates = {name: 2 * 1024**3 / took[name] / 1e9 for name in ("float32", "bfloat16")}
    copied = 2 * block.numel() / took["copy"] / 1e9
    return f"ceilings  copy {copied:.1f} GB/s, " + ", ".join(
        f"{name} products {rate:.0f} GFLOP/s" for name, rate in rates.items()
    )


@click.command()
@click.option("--model", "models", multiple=True, help="A checkpoint.  [default: default]")
@click.option("--preset", "presets", multiple=True, help="A preset with random weights.  [default: S]")
@click.option("--tile", "tile_px", default=TILE_PX, show_default=True)
@click.option("--repeats", default=7, show_default=True)
@click.option("--cpu-time", is_flag=True, help="Processor seconds, for machines that others use as well.")
@torch.no_grad()
def main(models: tuple[str, ...], presets: tuple[str, ...], tile_px: int, repeats: int, cpu_time: bool) -> None:
    torch.set_num_threads(1)
    clock = time.thread_time if cpu_time else time.perf_counter
    networks = {name: load_generator(resolve_checkpoint(name))[0] for name in models or ("default",)}
    networks |= {name: Generator(GENERATOR_PRESETS[name]).eval() for name in presets or ("S",)}
    window = Window.from_size(tile_px, tile_px)
    click.echo(ceilings())
    click.echo(
        f"{'network':<10} {'dtype':<9} {'naive':>7} {'eager':>7} {'compiled':>9} {'roof':>7}  Mpx/s"
        f" {'compiled/roof':>15} {'/naive':>7} {'/eager':>7}"
    )
    for name, generator in networks.items():
        naive_s = 0.0
        for dtype in (torch.float32, torch.bfloat16):
            took = medians(contestants(generator, window, dtype), repeats, clock)
            naive_s = took.setdefault("naive", naive_s)
            rate = {key: tile_px**2 / value / 1e6 for key, value in took.items()}
            click.echo(
                f"{name:<10} {str(dtype)[6:]:<9} {rate['naive']:7.2f} {rate['eager']:7.2f} {rate['compiled']:9.2f} "
                f"{rate['roof']:7.2f}        {rate['compiled'] / rate['roof']:15.2f} "
                f"{rate['compiled'] / rate['naive']:7.1f} {rate['compiled'] / rate['eager']:7.1f}"
            )


def contestants(generator: Generator, window: Window, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """What is measured in turns; the naive twin knows float32 only."""

    def whole(paint: Callable[[SynthesisInputs], object]) -> Callable[[], object]:
        return lambda: paint(generator.inputs((0,), window))

    work = {engine: whole(open_engine(engine, generator, dtype)) for engine in ("eager", "compiled")}
    work["roof"] = bare_convolutions(generator, window, dtype)
    if dtype == torch.float32:
        work["naive"] = whole(NaiveTwin(generator))
    return work


if __name__ == "__main__":
    main()
