"""Render in pods of Kubernetes: a scheduler and workers that the operator of dask-kubernetes starts, and stops.

    python pipelines/cluster_kubernetes.py --image registry/tilegen:0.1.0 --workers 50 s3://bucket/world.zarr --size ...
    python pipelines/cluster_kubernetes.py --image ... --workers 8 --gpu s3://bucket/world.zarr --size ... --device cuda

What follows the options of this file goes to `tilegen generate`. The image holds this version of tilegen and Dask. The
product goes where both the pods and this machine can write, such as a bucket; `--secret` has the credentials of the
pods. `--manifest` prints the resource as YAML and stops. Needs dask-kubernetes, its operator in the cluster, and a
kubeconfig: `pip install tilegen[kubernetes]`.

Tried: the manifest fits the schema of the operator, dask-kubernetes 2026.3. Not tried: a cluster; none was at hand.
"""

from __future__ import annotations

from typing import Any

import click
import yaml
from dask_kubernetes.operator import KubeCluster, make_cluster_spec
from distributed import Client

from tilegen.cli.main import main as tilegen
from tilegen.tiling.cluster import WORKER_ENVIRONMENT
from tilegen.tiling.workers import GPU


def cluster_spec(name: str, *, image: str, workers: int, memory: str, gpu: bool, secret: str | None) -> dict[str, Any]:
    """A `DaskCluster` resource. A worker is a pod of one core or one GPU; the scheduler needs neither."""
    label = ["--resources", f"{GPU}=1"] if gpu else []
    spec: dict[str, Any] = make_cluster_spec(
        name=name,
        image=image,
        n_workers=workers,
        env=dict(WORKER_ENVIRONMENT),
        worker_command=["dask-worker", "--nthreads", "1", *label],
    )
    (worker,) = spec["spec"]["worker"]["spec"]["containers"]
    limits = {"memory": memory, **({"nvidia.com/gpu": "1"} if gpu else {})}
    worker["resources"] = {"requests": {"cpu": "1", **limits}, "limits": limits}
    if secret is not None:
        worker["envFrom"] = [{"secretRef": {"name": secret}}]
    return spec


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--name", default="tilegen", show_default=True, help="Of the cluster of pods.")
@click.option("--namespace", help="Of Kubernetes.  [default: that of the kubeconfig]")
@click.option("--image", required=True)
@click.option("--workers", type=click.IntRange(1), default=4, show_default=True)
@click.option("--memory", default="3Gi", show_default=True, help="Of a worker.")
@click.option("--gpu", is_flag=True, help="One for each worker.")
@click.option("--secret", help="Whose values become environment variables of the workers, such as AWS_ACCESS_KEY_ID.")
@click.option("--manifest", is_flag=True, help="Print the resource and stop.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def main(name: str, *, namespace: str | None, manifest: bool, words: tuple[str, ...], **options: Any) -> None:
    spec = cluster_spec(name, **options)
    if manifest:
        click.echo(yaml.safe_dump(spec))
        return
    with KubeCluster(custom_cluster_spec=spec, namespace=namespace) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(1)
        tilegen(["generate", *words, "--scheduler", cluster.scheduler_address], prog_name="tilegen")


if __name__ == "__main__":
    main()
