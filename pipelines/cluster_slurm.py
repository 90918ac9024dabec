"""Render in jobs of SLURM: the scheduler runs here, on a login node, and every job is a host full of workers.

    python pipelines/cluster_slurm.py --jobs 20 --queue normal --walltime 04:00:00 world.zarr --size 200000x200000
    python pipelines/cluster_slurm.py --jobs 4 --gpus 1 --queue gpu world.zarr --size 200000x200000 --device cuda

What follows the options of this file goes to `tilegen generate`. Workers leave a few minutes before their job ends, and
a new job takes their place. The product lies on a disk that all nodes share. `--script` prints the script of a job and
stops. Needs dask-jobqueue: `pip install tilegen[slurm]`.

Tried with SLURM 22.05 and one node: two jobs, of which one was cancelled and replaced. Not tried: several nodes, GPUs.
"""

from __future__ import annotations

import click
from dask_jobqueue import SLURMCluster
from distributed import Client

from tilegen.cli.main import main as tilegen
from tilegen.tiling.cluster import WORKER_ENVIRONMENT
from tilegen.tiling.workers import GPU

LEAVE_EARLY_S = 240


def seconds_of(walltime: str) -> int:
    """HH:MM:SS in seconds."""
    hours, minutes, seconds = map(int, walltime.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def slurm_cluster(
    *, cores: int, memory: str, walltime: str, queue: str | None, account: str | None, gpus: int, interface: str | None
) -> SLURMCluster:
    lifetime_s = max(seconds_of(walltime) - LEAVE_EARLY_S, 60)
    label = ["--resources", f"{GPU}=1"] if gpus else []
    return SLURMCluster(
        cores=gpus or cores,
        processes=gpus or cores,  # one thread each; a worker on a GPU has it for itself
        memory=memory,
        walltime=walltime,
        queue=queue,
        account=account,
        interface=interface,
        job_cpu=cores,
        job_extra_directives=[f"--gres=gpu:{gpus}"] if gpus else [],
        job_script_prologue=[f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()],
        worker_extra_args=[*label, "--lifetime", f"{lifetime_s}s", "--lifetime-stagger", "60s"],
        scheduler_options={"dashboard": False},
    )


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--cores", type=click.IntRange(1), default=16, show_default=True, help="Of a job.")
@click.option("--memory", default="32GiB", show_default=True, help="Of a job.")
@click.option("--walltime", default="01:00:00", show_default=True, help="Of a job, HH:MM:SS.")
@click.option("--queue", help="Partition.")
@click.option("--account")
@click.option("--gpus", default=0, show_default=True, help="Of a job; it has one worker for each.")
@click.option("--interface", help="Network interface between the nodes, such as ib0.")
@click.option("--script", is_flag=True, help="Print the script of a job and stop.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def main(jobs: int, *, script: bool, words: tuple[str, ...], **options: object) -> None:
    with slurm_cluster(**options) as cluster:
        if script:
            click.echo(cluster.job_script())
            return
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # so that a job that ends is replaced
        with Client(cluster) as client:
            client.wait_for_workers(1)
        tilegen(["generate", *words, "--scheduler", cluster.scheduler_address], prog_name="tilegen")


if __name__ == "__main__":
    main()
