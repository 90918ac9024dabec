"""Render with every GPU of this machine: a worker for each, which sees no other.

    python pipelines/cluster_gpus.py world.zarr --size 100000x100000

What follows the options of this file goes to `tilegen generate`. dask-cuda does the same and more (`dask cuda worker
ADDRESS --resources GPU=1`), but each of its versions demands one version of Dask, and not the one in constraints.txt.

Tried without a GPU: that each worker sees its own, has the resource and gets the tasks. Not tried: several real GPUs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import click
import dask.config
import torch
from distributed import Nanny, Scheduler, SpecCluster

from tilegen.cli.main import main as tilegen
from tilegen.tiling.cluster import WORKER_ENVIRONMENT
from tilegen.tiling.workers import GPU


def visible_gpus() -> list[str]:
    """As CUDA names them: those that the environment allows, or all."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return list(map(str, range(torch.cuda.device_count()))) if allowed is None else allowed.split(",")


def gpu_cluster(gpus: Sequence[str]) -> SpecCluster:
    local = {"host": "127.0.0.1", "dashboard": False}
    worker = {**local, "nthreads": 1, "resources": {GPU: 1}, "silence_logs": logging.ERROR}
    workers = {
        number: {"cls": Nanny, "options": {**worker, "env": {"CUDA_VISIBLE_DEVICES": gpu}}}
        for number, gpu in enumerate(gpus)
    }
    scheduler = {"cls": Scheduler, "options": {**local, "port": 0, "dashboard_address": "127.0.0.1:0"}}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}):
        return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.ERROR)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--gpus", help="Such as 0,2.  [default: all]")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True)
def main(gpus: str | None, words: tuple[str, ...]) -> None:
    chosen = gpus.split(",") if gpus else visible_gpus()
    if not chosen:
        raise click.ClickException("There is no CUDA device here. Run `tilegen generate` instead.")
    with gpu_cluster(chosen) as cluster:
        tilegen(["generate", *words, "--scheduler", cluster.scheduler_address], prog_name="tilegen")


if __name__ == "__main__":
    main()
