"""Render on machines that SSH reaches: a scheduler on the first, worker processes on all.

    python pipelines/cluster_ssh.py --host alpha --host beta world.zarr --size 100000x100000

What follows the options of this file goes to `tilegen generate`. The hosts need tilegen, Python and the checkpoint at
the same paths as this machine (or --python), keys instead of passwords, and the folder of the product on a disk that
all of them share; this machine must reach the first host. Needs asyncssh: `pip install tilegen[ssh]`.

Tried with an SSH server on one machine, as two hosts of loopback, with keys; not with machines that are really apart.
"""

from __future__ import annotations

import logging

import click
import dask.config
from distributed import SSHCluster

from tilegen.cli.main import main as tilegen
from tilegen.tiling.cluster import WORKER_ENVIRONMENT


def ssh_cluster(hosts: list[str], *, workers: int, python: str | None, port: int, key: str | None) -> SSHCluster:
    # Dask hands its settings on to the hosts. No dashboard: it would be open to everybody there.
    with dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}):
        return SSHCluster(
            [hosts[0], *hosts],
            connect_options={"port": port, **({"client_keys": [key]} if key else {})},
            worker_options={"nthreads": 1, "n_workers": workers},
            scheduler_options={"port": 0, "host": hosts[0], "dashboard": False},
            remote_python=python,
            silence_logs=logging.ERROR,
        )


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--host", "hosts", multiple=True, required=True, help="Once for each host.")
@click.option("--per-host", type=click.IntRange(1), default=1, show_default=True, help="Worker processes of each host.")
@click.option("--python", help="Path of Python there.  [default: the one here]")
@click.option("--port", default=22, show_default=True, help="Of the SSH servers.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Private key.  [default: the usual ones]")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True)
def main(
    hosts: tuple[str, ...], *, per_host: int, python: str | None, port: int, key: str | None, words: tuple[str, ...]
) -> None:
    with ssh_cluster(list(hosts), workers=per_host, python=python, port=port, key=key) as cluster:
        tilegen(["generate", *words, "--scheduler", cluster.scheduler_address], prog_name="tilegen")


if __name__ == "__main__":
    main()
