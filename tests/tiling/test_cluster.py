"""Clusters of others: who may draw, with which software, over which wire; and what Dask itself shows of a run."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import dask
import pytest

from tilegen.errors import InputError, ScheduleError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.faults import ControlledSource, Controls
from tilegen.testing.generators import CoordinateSource
from tilegen.tiling.cluster import cluster, device_on
from tilegen.tiling.product import Product
from tilegen.tiling.schedule import Progress, run_shards
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.workers import gpu_workers, require_version

needs_bokeh = pytest.mark.skipif(find_spec("bokeh") is None, reason="bokeh, which Dask draws with, is not installed")


def make_product(*, side_px: int = 128) -> Product:
    return Product(
        extent=Window.from_size(side_px, side_px),
        georef=GeoReference(crs="EPSG:32633", res=0.5),
        band_names=("red", "green", "blue"),
        provenance={"seed": 7},
        chunk_px=16,
        shard_px=32,
    )


def wait_until(is_so, *, seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


class Machines:
    """Dask's own commands, each in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen] = []

    def scheduler(self, *words: object, **settings: object) -> str:
        card = self._folder / f"scheduler-{len(self._running)}.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", card, *words, **settings)
        wait_until(lambda: card.exists() and card.read_text())
        return json.loads(card.read_text())["address"]

    def worker(self, address: str, *words: object, **settings: object) -> None:
        scratch = self._folder / f"scratch-{len(self._running)}"
        self._start("worker", address, "--nthreads", 1, "--no-nanny", "--local-directory", scratch, *words, **settings)

    def _start(self, command: str, *words: object, **settings: object) -> None:
        environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
        with (self._folder / f"{command}-{len(self._running)}.log").open("wb") as log:
            line = [sys.executable, "-m", f"distributed.cli.dask_{command}", *map(str, words), "--no-dashboard"]
            self._running.append(subprocess.Popen(line, stdout=log, stderr=log, env=environment))

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    made = Machines(tmp_path_factory.mktemp("machines"))
    yield made
    made.stop()


def has_workers(address: str, number: int) -> bool:
    with contextlib.suppress(ScheduleError), cluster(address, 1) as client:
        return len(client.nthreads()) == number
    return False


# Who draws


@pytest.mark.cluster
def test_a_world_on_cuda_goes_to_workers_with_gpus_alone(machines, tmp_path):
    """And one on the CPU to any; without such a worker the run is refused before anything is written."""
    address = machines.scheduler()
    machines.worker(address)
    wait_until(lambda: has_workers(address, 1))
    assert device_on(address, "auto") == "cpu"
    with pytest.raises(
        ScheduleError, match=r"^No worker of the cluster has the resource GPU\. Start one with `dask wo"
    ):
        cluster(address, 1, device="cuda")
    machines.worker(address, "--resources", "GPU=1")
    wait_until(lambda: has_workers(address, 2))
    assert device_on(address, "auto") == "cuda"
    assert device_on(address, "cpu") == "cpu"
    with cluster(address, 1) as client:
        everybody, with_gpu = set(client.nthreads()), set(gpu_workers(client))
    assert len(with_gpu) == 1
    for device, allowed in (("cuda", with_gpu), ("cpu", everybody)):
        seen: list[Progress] = []
        run_shards(
            cluster(address, 1, device=device),
            CoordinateSource(),
            open_sink(tmp_path / f"{device}.zarr", make_product()),
            report=seen.append,
        )
        assert {progress.latest.worker for progress in seen} == allowed


@pytest.mark.parametrize("device", ["cuda:1", "tpu", ""])
def test_a_cluster_is_not_told_which_gpu_to_use(device):
    with pytest.raises(InputError, match=rf"^--device {device} does not go with --scheduler\. Choose auto, cpu or cu"):
        device_on("tcp://127.0.0.1:9", device)


# With which software


@pytest.mark.parametrize(
    ("ours", "theirs", "same_build", "said"),
    [
        ("2.13.0+cpu", {"the worker at a": "2.13.0+cu126", "the worker at b": "2.13.0+cu126"}, True, None),
        ("2.13.0+cpu", {"the worker at a": "2.13.0", "the worker at b": "2.13.0+cu126"}, False, None),
        (
            "2.13.0+cpu",
            {"the worker at a": "2.13.0", "the worker at b": "2.13.0+cu126"},
            True,
            "The GPU workers have several builds of torch (2.13.0, 2.13.0+cu126): pixels could differ. "
            "Install the same one everywhere.",
        ),
        (
            "2.13.0+cpu",
            {"the scheduler": None},
            False,
            "The scheduler has no torch. Install torch 2.13.0 there.",
        ),
        (
            "2.13.0",
            {"the worker at a": "2.13.0", "the worker at b": "2.13.1", "the worker at c": "2.13.1"},
            False,
            "2 of 3 workers, such as the worker at b, have torch 2.13.1, and this machine 2.13.0: pixels could differ. "
            "Install the same version everywhere.",
        ),
    ],
)
def test_versions_that_may_paint_other_pixels_are_refused(ours, theirs, same_build, said):
    if said is None:
        require_version("torch", ours, theirs, same_build=same_build)
        return
    with pytest.raises(ScheduleError) as refusal:
        require_version("torch", ours, theirs, same_build=same_build)
    assert str(refusal.value) == said


def plant(folder: Path, package: str) -> Path:
    """Where a process that looks there first finds version 0.0.1 of a package."""
    metadata = folder / f"{package}-0.0.1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n")
    return folder


@pytest.mark.cluster
def test_a_worker_with_other_software_is_told_of_or_refused(machines, tmp_path):
    address, told = machines.scheduler(), []
    machines.worker(address, PYTHONPATH=plant(tmp_path / "numpy", "numpy"))
    wait_until(lambda: has_workers(address, 1))
    cluster(address, 1, tell=told.append)
    ours = version("numpy")
    assert told == [f"Versions differ between this machine and its workers: numpy {ours} here, 0.0.1 there."]
    machines.worker(address, PYTHONPATH=plant(tmp_path / "torch", "torch"))
    wait_until(lambda: refusal(address) is not None)
    assert re.fullmatch(
        r"1 of 2 workers, such as the worker at tcp://127\.0\.0\.1:\d+, have torch 0\.0\.1, and this machine \S+: "
        r"pixels could differ\. Install the same version everywhere\.",
        refusal(address),
    )


def refusal(address: str) -> str | None:
    try:
        cluster(address, 1)
    except ScheduleError as error:
        return str(error)
    return None


# Over which wire


def make_certificates(folder: Path) -> None:
    """Two authorities, and a certificate that each signed."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    for name in ("ours", "theirs"):
        openssl("req", "-x509", *new_key, "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-subj", f"/CN={name}")
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name} machine")
        authority = ["-CA", f"{name}-ca.pem", "-CAkey", f"{name}-ca.key", "-CAcreateserial"]
        openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.pem")


def tls_settings(folder: Path, *, trusted: str = "ours", shown: str = "ours") -> dict[str, object]:
    """What Dask is told of TLS: whom to trust, and what to show. The same for all three roles here."""
    roles = ("client", "scheduler", "worker")
    return {
        "distributed.comm.tls.ca-file": str(folder / f"{trusted}-ca.pem"),
        **{f"distributed.comm.tls.{role}.cert": str(folder / f"{shown}.pem") for role in roles},
        **{f"distributed.comm.tls.{role}.key": str(folder / f"{shown}.key") for role in roles},
    }


def as_environment(settings: dict[str, object]) -> dict[str, object]:
    return {"DASK_" + name.upper().replace(".", "__").replace("-", "_"): value for name, value in settings.items()}


@pytest.mark.cluster
@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make certificates with")
def test_a_cluster_speaks_tls_with_those_it_trusts(machines, tmp_path):
    make_certificates(tmp_path)
    environment = as_environment(tls_settings(tmp_path))
    address = machines.scheduler("--protocol", "tls", **environment)
    assert address.startswith("tls://")
    machines.worker(address, **environment)
    with dask.config.set(tls_settings(tmp_path)):
        wait_until(lambda: has_workers(address, 1))
        run_shards(cluster(address, 1), CoordinateSource(), open_sink(tmp_path / "a.zarr", make_product()))
    for settings in (
        tls_settings(tmp_path, trusted="theirs"),
        tls_settings(tmp_path, shown="theirs"),
        tls_settings(tmp_path, shown="missing"),
        {},
    ):
        with dask.config.set(settings), pytest.raises(ScheduleError) as refusal:
            cluster(address, 1)
        assert str(refusal.value).startswith(f"No Dask scheduler answers at '{address}' (")
        hint = "Is one there, and do Dask's settings name its authority and a certificate it trusts?"
        assert str(refusal.value).endswith(f"{hint} See docs/clusters.md.")


@pytest.mark.cluster
def test_local_workers_need_no_certificates():
    """Whatever the settings demand of clusters of several machines: theirs is a wire inside this one."""
    with dask.config.set({"distributed.comm.require-encryption": True}), cluster(None, 1) as client:
        assert client.submit(sum, (1, 2)).result() == 3


# What Dask shows


@pytest.mark.cluster
@needs_bokeh
def test_dask_shows_a_run_while_it_lasts_and_afterwards(tmp_path):
    told: list[str] = []
    page = tmp_path / "page.html"
    connection = cluster(None, 1, dashboard=True, page=page, tell=told.append)

    def look(progress: Progress) -> None:
        if progress.done == 1:
            (line,) = told
            with urlopen(line.removeprefix("Dashboard: "), timeout=30) as answer:
                assert b"bokeh" in answer.read()

    run_shards(connection, CoordinateSource(), open_sink(tmp_path / "a.zarr", make_product()), report=look)
    assert "Task Stream" in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "page.html"]


@pytest.mark.cluster
@needs_bokeh
def test_a_run_that_fails_has_a_page_too(machines, tmp_path):
    """On a cluster of somebody else, whose scheduler has bokeh."""
    machines.worker(address := machines.scheduler())
    wait_until(lambda: has_workers(address, 1))
    controls = Controls(folder=str(tmp_path))
    controls.harm(Window.from_size(32, 32), "error")
    page = tmp_path / "page.html"
    with pytest.raises(ScheduleError, match=r"^Shard \(0, 0\) failed"):
        run_shards(
            cluster(address, 1, page=page),
            ControlledSource(controls=controls),
            open_sink(tmp_path / "a.zarr", make_product(side_px=32)),
        )
    assert "Task Stream" in page.read_text()


@pytest.mark.skipif(find_spec("bokeh") is not None, reason="bokeh is installed")
@pytest.mark.parametrize("option", ["--dashboard", "--performance-report"])
def test_what_needs_bokeh_says_so(tmp_path, option):
    wanted = {"dashboard": True} if option == "--dashboard" else {"page": tmp_path / "page.html"}
    with pytest.raises(InputError, match=rf"^{option} needs bokeh\. Install it with `pip install bokeh`, or leave"):
        cluster(None, 1, **wanted)
