"""How long one waits: a small window in a warm process, and the first pixel of a command.

    python benchmarks/latency.py --model default

One thread. Windows lie anywhere, at every phase of tiles and cells. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from engine import seconds

from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.world import World, open_world

_WINDOW_PX = 256


def waits_ms(world: World, count: int, *, whole_tiles: bool) -> str:
    rng = np.random.default_rng(0)
    places = [
        Window.from_size(_WINDOW_PX, _WINDOW_PX, row0=int(r), col0=int(c))
        for r, c in rng.integers(0, 2**30, (count, 2))
    ]
    took = [1e3 * seconds(lambda place=place: world.read(place, whole_tiles=whole_tiles)) for place in places][2:]
    return f"{np.median(took):7.0f} {np.quantile(took, 0.95):7.0f}"


@click.command()
@click.option("--model", default="default", show_default=True)
@click.option("--preset", help="A preset with random weights in place of --model.")
@click.option("--count", default=30, show_default=True)
def main(model: str, preset: str | None, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if preset:
            model = str(Path(folder, "model.safetensors"))
            save_random_checkpoint(Path(model), GENERATOR_PRESETS[preset])
        click.echo(f"window of {_WINDOW_PX} px, warm: median and 95 % ms   whole tiles       the window alone")
        for dtype in ("float32", "bfloat16"):
            world = open_world(model, device="cpu", dtype=dtype)
            tiles, alone = (waits_ms(world, count, whole_tiles=whole) for whole in (True, False))
            click.echo(f"{world.config.engine:<10} {dtype:<34} {tiles} {alone:>22}")
        click.echo("tilegen generate, from the shell: s")
        for size in ("256x256", "2048x2048", "4096x4096"):
            for engine in ("compiled", "eager"):
                out = [str(Path(folder, f"{engine}.tif")), "--size", size, "--model", model, "--engine", engine]
                command = [sys.executable, "-m", "tilegen", "generate", *out, "--overwrite", "--quiet"]
                took = seconds(lambda command=command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
                click.echo(f"{size:<10} {engine:<9} {took:6.1f}")


if __name__ == "__main__":
    main()
