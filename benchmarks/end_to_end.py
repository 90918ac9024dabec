"""Wall time and peak memory of `tilegen generate`, from nothing to a finished product.

    python benchmarks/end_to_end.py --size 5000x5000 --size 20000x20000 --suffix tif --suffix zarr

Runs the command as a user would and samples the resident memory of each of its processes (shared pages counted in
each) every 0.2 s. Prints one row per product, and memory as a ratio to the first size. Results: docs/benchmarks.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil

from tilegen.model.config import GENERATOR_PRESETS
from tilegen.testing.checkpoints import save_random_checkpoint

_SAMPLE_S = 0.2


def measured(command: list[str]) -> tuple[float, dict[str, int]]:
    """Seconds, and the peak resident bytes of each process by role."""
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for member in [process, *children(process)]:
            peaks[member.pid] = max(peaks.get(member.pid, 0), resident_bytes(member))
        time.sleep(_SAMPLE_S)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}.")
    workers = [peak for pid, peak in peaks.items() if pid != process.pid]
    return seconds, {"client": peaks[process.pid], "worker": max(workers, default=0)}


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def resident_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


@click.command()
@click.option("--size", "sizes", multiple=True, default=["2048x2048", "5000x5000"], show_default=True)
@click.option("--suffix", "suffixes", multiple=True, default=["tif", "zarr"], show_default=True)
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--model", default="default", show_default=True)
@click.option(
    "--preset", help="A preset with random weights in place of --model: nano for memory alone, as it is fast."
)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Leave the products in this folder.")
def main(
    sizes: tuple[str, ...], suffixes: tuple[str, ...], workers: int, model: str, preset: str | None, keep: Path | None
) -> None:
    folder = keep or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    if preset:
        model = str(folder / "model.safetensors")
        save_random_checkpoint(Path(model), GENERATOR_PRESETS[preset])
    click.echo(
        f"{'product':<24} {'seconds':>8} {'Mpx/s':>7} {'client MiB':>11} {'worker MiB':>11} {'x first':>8} {'MB':>8}"
    )
    for suffix in suffixes:
        first = None
        for size in sizes:
            out = folder / f"world-{size}.{suffix}"
            command = [
                sys.executable,
                "-m",
                "tilegen",
                "generate",
                str(out),
                "--size",
                size,
                "--quiet",
                "--model",
                model,
            ]
            seconds, peaks = measured([*command, "--workers", str(workers), "--overwrite"])
            width, height = (int(side) for side in size.split("x"))
            largest = max(peaks.values())
            first = first or largest
            mb = (
                sum(file.stat().st_size for file in ([out] if out.is_file() else out.rglob("*")) if file.is_file())
                / 1e6
            )
            click.echo(
                f"{out.name:<24} {seconds:8.1f} {width * height / seconds / 1e6:7.2f} {peaks['client'] / 2**20:11.0f} "
                f"{peaks['worker'] / 2**20:11.0f} {largest / first:8.2f} {mb:8.1f}"
            )
    if keep is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
