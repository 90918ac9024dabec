"""Images per second of a training step, beside a plain eager StyleGAN2 with one style per image.

    pip install --no-deps --target baseline labml-nn
    PYTHONPATH=baseline python benchmarks/training.py --preset mini --crop-px 64 --batch 16

The baseline is the networks of labml-nn (MIT) as they are, of the same widths, with tilegen's crops, losses, optimisers
and average around them; "repaired" computes the same with two faster operations, "plain" is tilegen without what the
baseline does not do. All sides live in one run, take turns, and rest while another is measured. A turn is a step with
the R1 penalty and three without; rates are for one penalty in 16 steps. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import torch
from baselines.vector_stylegan2 import R1_INTERVAL, Baseline
from torch.utils.flop_counter import FlopCounterMode

from tilegen.data.dataset import PackedDataset
from tilegen.data.prepare import prepare_dataset
from tilegen.geometry.window import Window
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.training.config import TrainConfig
from tilegen.training.parallel import join, leave
from tilegen.training.run import configured
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

_TURN_STEPS = 4
"""A turn is so long, of which the first has a penalty: that costs a quarter of a whole interval's time."""

_NUM_CHIPS, _CHIP_CROPS = 4, 4
"""Made-up chips, and their edge in crops: what is in them does not change the speed."""

_PLAIN = {
    "lattice_weight": 0.0,
    "ada_target": 0.0,
    "shared_scales": (),
    "constant_share": 0.0,
    "width_octaves": 0.0,
    "layer_mixing": 0.0,
    "area_mixing": 0.0,
}
"""Settings of tilegen under which its step does no more than the baseline's."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to train: whose networks, in which dtype, on how many processes of how many threads."""

    name: str
    dtype: torch.dtype
    num_processes: int = 1
    num_threads: int = 1
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def config(self, data: Path, preset: str, crop_px: int, batch: int) -> TrainConfig:
        """The run of this side."""
        options = self.options | {"bfloat16": self.dtype is torch.bfloat16, "r1_interval": _TURN_STEPS}
        places = {"num_processes": self.num_processes, "batch": batch}
        return configured(data, preset=preset, crop_px=crop_px, **places, **options)


def sides(num_processes: int) -> list[Side]:
    """What is compared; with several processes, the baseline also as one process of so many threads."""
    ours = [
        Side(name="tilegen", dtype=torch.bfloat16, num_processes=num_processes),
        Side(name="plain", dtype=torch.bfloat16, num_processes=num_processes, options=_PLAIN),
        Side(name="plain", dtype=torch.float32, num_processes=num_processes, options=_PLAIN),
    ]
    if importlib.util.find_spec("labml_nn") is None:
        click.echo("There is no baseline: install it as the first lines of this file say.", err=True)
        return ours
    theirs = [
        Side(name="repaired", dtype=torch.bfloat16, num_processes=num_processes),
        Side(name="repaired", dtype=torch.float32, num_processes=num_processes),
        Side(name="baseline", dtype=torch.float32, num_processes=num_processes),
    ]
    if num_processes > 1:
        theirs.append(Side(name="baseline", dtype=torch.float32, num_threads=num_processes))
    return ours + theirs


def tilegen_step(config: TrainConfig, dataset: PackedDataset, rank: int, device: str) -> Callable[[], object]:
    """A step of `tilegen train`; the only place that knows how one is taken."""
    return Trainer(TrainState.new(config, torch.device(device)), dataset, rank).step


def serve(link: Connection, side: Side, config: TrainConfig, data: Path, rank: int, rendezvous: str) -> None:
    """A process of a side: takes as many steps as `link` says and answers with their seconds, until told None."""
    device = link.recv()
    torch.set_num_threads(side.num_threads)
    join(rank, side.num_processes, rendezvous, torch.device(device))
    dataset = PackedDataset.open(data, split="train")
    if side.name in ("baseline", "repaired"):
        step: Callable[[], object] = Baseline(config, dataset, rank, device, repaired=side.name == "repaired").step
    else:
        step = tilegen_step(config, dataset, rank, device)
    while (num_steps := link.recv()) is not None:
        link.send([seconds(step, device) for _ in range(num_steps)])
    leave()


def seconds(step: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall and CPU seconds of a step."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


class Group:
    """The processes of one side, which wait to be told."""

    def __init__(self, side: Side, config: TrainConfig, data: Path, rendezvous: str, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.links = []
        for rank in range(side.num_processes):
            here, there = context.Pipe()
            arguments = (there, side, config, data, rank, rendezvous)
            context.Process(target=serve, args=arguments, daemon=True).start()
            there.close()
            self.links.append(here)
        self.tell(device)

    def tell(self, message: object) -> None:
        """A number starts so many steps, None ends the processes."""
        for link in self.links:
            link.send(message)

    def turn(self) -> tuple[float, float]:
        """Wall seconds, and CPU seconds of all processes together, of a mean step, one in 16 with a penalty."""
        self.tell(_TURN_STEPS)
        answers = [link.recv() for link in self.links]
        wall = [step[0] for step in answers[0]]
        cpu = [sum(process[i][1] for process in answers) for i in range(_TURN_STEPS)]
        return mean_step(wall), mean_step(cpu)


def mean_step(times: list[float]) -> float:
    """Of a turn, whose first step has a penalty."""
    return (times[0] + (R1_INTERVAL - 1) * statistics.mean(times[1:])) / R1_INTERVAL


def packed_texture(folder: Path, crop_px: int) -> Path:
    """A packed dataset of a few made-up chips."""
    edge_px = _CHIP_CROPS * crop_px
    for number in range(_NUM_CHIPS):
        write_image(folder / "chips" / f"{number}.png", textured_pixels(edge_px, edge_px, seed=number))
    out = folder / "texture.safetensors"
    prepare_dataset([folder / "chips"], out, val_fraction=0.0, resolution_m=0.5)
    return out


def report_work(config: TrainConfig, data: Path, with_baseline: bool) -> None:
    """Print what the networks of each side compute for one image, forward; multiplication and addition are two."""
    crop_px, state, dataset = config.discriminator.crop_px, TrainState.new(config), PackedDataset.open(data)
    crop = torch.zeros(4, config.discriminator.num_bands, crop_px, crop_px)
    start = config.generator.cell_px // 2
    window = Window.from_size(crop_px, crop_px, row0=start, col0=start)
    calls = {"tilegen": (lambda: state.generator((0, 1, 2, 3), window), lambda: state.discriminator(crop))}
    if with_baseline:
        other = Baseline(config, dataset, 0, "cpu", repaired=False)
        calls["baseline"] = (lambda: other.images(len(crop)), lambda: other.discriminator(crop))
    for name, functions in calls.items():
        gflop = []
        for function in functions:
            with FlopCounterMode(display=False) as counter:
                function()
            gflop.append(counter.get_total_flops() / len(crop) / 1e9)
        click.echo(f"{name:<10} convolutions and products of one image: G {gflop[0]:.3f} GFLOP, D {gflop[1]:.3f} GFLOP")


def report_rates(times: dict[Side, list[tuple[float, float]]], batch: int) -> None:
    """Print a row per side; ratios are to the faster baseline."""
    baselines = [side for side in times if side.name == "baseline"]
    best = min(baselines, key=lambda side: statistics.median(wall for wall, _ in times[side]), default=None)
    click.echo(
        f"{'side':<10} {'dtype':<9} {'processes':>9} {'threads':>7} {'images/s':>9} {'CPU s/kimg':>11} "
        f"{'x baseline':>18} {'x, CPU time':>18}"
    )
    for side, turns in times.items():
        wall, cpu = (statistics.median(column) / batch for column in zip(*turns, strict=True))
        ratios = [spread(times[best], turns, part) if best else "" for part in (0, 1)]
        click.echo(
            f"{side.name:<10} {str(side.dtype)[6:]:<9} {side.num_processes:9} {side.num_threads:7} "
            f"{1 / wall:9.1f} {1000 * cpu:11.1f} {ratios[0]:>18} {ratios[1]:>18}"
        )


def spread(reference: list[tuple[float, float]], measured: list[tuple[float, float]], part: int) -> str:
    """How many times as fast as the reference: median of the rounds, lowest and highest."""
    ratios = [a[part] / b[part] for a, b in zip(reference, measured, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


@click.command()
@click.option("--preset", default="mini", show_default=True)
@click.option("--crop-px", default=64, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--rounds", "num_rounds", default=7, show_default=True)
@click.option("--processes", "num_processes", default=2, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(preset: str, crop_px: int, batch: int, num_rounds: int, num_processes: int, device: str) -> None:
    compared = sides(num_processes)
    with tempfile.TemporaryDirectory() as temporary:
        data = packed_texture(Path(temporary), crop_px)
        configs = {side: side.config(data, preset, crop_px, batch) for side in compared}
        report_work(configs[compared[0]], data, with_baseline=compared[-1].name == "baseline")
        groups = {
            side: Group(side, config, data, str(Path(temporary) / f"rendezvous{number}"), device)
            for number, (side, config) in enumerate(configs.items())
        }
        times: dict[Side, list[tuple[float, float]]] = {side: [] for side in compared}
        for number in range(num_rounds + 1):
            for side in compared if number % 2 else reversed(compared):
                turn = groups[side].turn()
                if number > 0:  # the first round warms up
                    times[side].append(turn)
        for group in groups.values():
            group.tell(None)
    report_rates(times, batch)


if __name__ == "__main__":
    main()
