"""The recipes of pipelines/ that start clusters: each as far as one machine without their schedulers can try it."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from click.testing import CliRunner
from distributed import Client

from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.tiling.cluster import WORKER_ENVIRONMENT
from tilegen.tiling.workers import gpu_workers

FOLDER = Path(__file__).parent.parent.parent / "pipelines"


def recipe(name: str):
    spec = spec_from_file_location(name, FOLDER / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Several GPUs


@pytest.mark.cluster
def test_each_gpu_has_a_worker_that_sees_no_other():
    with recipe("cluster_gpus").gpu_cluster(["2", "GPU-a1b2"]) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["2", "GPU-a1b2"]
        assert gpu_workers(client) == sorted(client.nthreads())
        assert set(client.run(os.getenv, "GLIBC_TUNABLES").values()) == {WORKER_ENVIRONMENT["GLIBC_TUNABLES"]}


@pytest.mark.cluster
def test_a_recipe_hands_its_words_to_the_command(tmp_path):
    """The workers have the label, and this world does not need the GPU that they have not."""
    save_random_checkpoint(model := tmp_path / "nano.safetensors")
    words = ["--gpus", "0,1", "a.tif", "--size", "300x200", "--shard", "128", "--chunk", "64", "--model", model]
    command = [sys.executable, FOLDER / "cluster_gpus.py", *words, "--device", "cpu", "--log-json"]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("a.tif: 300x200 pixels of World(")
    # Workers that a recipe started say on stderr, too, what Dask has to say when they end on a busy machine.
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    shards = [event for event in events if event["event"] == "shard"]
    assert (len(shards), len({event["worker"] for event in shards})) == (6, 2)


# SLURM


def job_script(*words: str) -> list[str]:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    result = CliRunner().invoke(recipe("cluster_slurm").main, [*words, "--script"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.splitlines()


@pytest.mark.cluster
def test_a_job_of_slurm_is_a_host_full_of_workers():
    lines = job_script("--cores", "24", "--memory", "48GiB", "--walltime", "02:00:00", "--queue", "normal")
    assert {"#SBATCH -p normal", "#SBATCH --cpus-per-task=24", "#SBATCH --mem=48G", "#SBATCH -t 02:00:00"} <= set(lines)
    assert "export GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in lines
    command = lines[-1] or lines[-2]
    assert "--nthreads 1 " in command
    assert "--nworkers 24 " in command
    assert f"--lifetime {2 * 3600 - 240}s " in command
    assert "GPU" not in "".join(lines)


@pytest.mark.cluster
def test_a_job_of_slurm_with_gpus_has_a_worker_for_each():
    lines = job_script("--gpus", "4", "--memory", "64GiB")
    assert "#SBATCH --gres=gpu:4" in lines
    command = lines[-1] or lines[-2]
    assert "--nworkers 4 " in command
    assert "--resources GPU=1 " in command


# Kubernetes


@pytest.mark.parametrize("gpu", [False, True])
def test_a_manifest_of_kubernetes_is_understood_by_its_client(gpu):
    """A round trip through the client's own models: they drop what they do not know."""
    pytest.importorskip("dask_kubernetes", reason="dask-kubernetes is not installed")
    kubernetes = pytest.importorskip("kubernetes.client")
    spec = recipe("cluster_kubernetes").cluster_spec(
        "tilegen", image="registry/tilegen:0.1.0", workers=5, memory="3Gi", gpu=gpu, secret="bucket"
    )
    assert spec["spec"]["worker"]["replicas"] == 5
    client = kubernetes.ApiClient()
    for part in ("worker", "scheduler"):
        pod = json.loads(json.dumps(spec["spec"][part]["spec"]))
        model = client.deserialize(json.dumps(pod), "V1PodSpec", "application/json")
        understood = client.sanitize_for_serialization(model)
        assert understood == without_nulls(pod)
    (worker,) = spec["spec"]["worker"]["spec"]["containers"]
    assert ("GPU=1" in worker["args"]) == ("nvidia.com/gpu" in worker["resources"]["limits"]) == gpu
    (scheduler,) = spec["spec"]["scheduler"]["spec"]["containers"]
    assert scheduler["resources"] is None


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value
