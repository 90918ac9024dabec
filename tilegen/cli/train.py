"""`tilegen train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.group()
def train() -> None:
    """Learn a generator from real imagery."""


@train.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="From `tilegen data prepare`.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@click.option("--preset", default="mini", show_default=True, help="nano, mini, tiny, S or paper.")
@click.option("--crop-px", type=int, default=64, show_default=True, help="Edge of a training crop.")
@click.option("--kimg", type=click.FloatRange(0, min_open=True), default=200.0, show_default=True)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after this time at the latest.")
@click.option("--batch", type=click.IntRange(1, 4096), default=16, show_default=True)
@click.option("--lr", type=float, default=0.002, show_default=True)
@click.option("--r1-gamma", type=float, default=0.2, show_default=True)
@click.option("--processes", "num_processes", type=click.IntRange(1, 64), help="[default: 2 if there are two cores]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--snapshot-minutes", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True)
def spacenet(data: Path, out: Path, **options: Any) -> None:
    """Train on a packed dataset until --kimg or --minutes, with a snapshot and a sample sheet now and then.

    The same command resumes a run that was stopped, and ends as if it had never been.

    Example:  tilegen train spacenet --data vegas.safetensors --out runs/vegas
    """
    from tilegen.training.loop import Schedule
    from tilegen.training.run import configured, run_training

    schedule = Schedule(
        kimg=options.pop("kimg"), minutes=options.pop("minutes"), snapshot_s=60 * options.pop("snapshot_minutes")
    )
    run_training(configured(data, **options), data, out, schedule, report=click.echo)
    click.echo(f"Checkpoint: {out / 'model.safetensors'}. Look at it: {out / 'sheets'}.")
