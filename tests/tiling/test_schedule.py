"""Scheduling: the same bytes whoever works, and whoever dies; every fault ends in one sentence and a run to resume."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import zarr
from distributed import Client

from tilegen.errors import OutputError, ScheduleError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.testing.client import run_on
from tilegen.testing.disks import fill
from tilegen.testing.faults import ControlledSource
from tilegen.testing.generators import CoordinateSource
from tilegen.testing.idle import BusySource, IdleSink
from tilegen.testing.processes import wait_until
from tilegen.testing.sinks import address_pixels, contents, write_product
from tilegen.tiling.cluster import cluster
from tilegen.tiling.plan import plan_render
from tilegen.tiling.product import Product
from tilegen.tiling.schedule import Progress, run_shards
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world

pytestmark = pytest.mark.cluster
EXTENT = Window.from_size(150, 133, row0=-70, col0=300)
TILE_PX = 32


def make_product(extent: Window = EXTENT, *, chunk_px: int = 16, shard_px: int = 64) -> Product:
    return Product(
        extent=extent,
        georef=GeoReference(crs="EPSG:32633", res=0.5),
        band_names=("red", "green", "blue"),
        provenance={"seed": 7},
        chunk_px=chunk_px,
        shard_px=shard_px,
    )


@pytest.fixture(scope="module")
def one_worker():
    """A cluster that gives a task up when it has cost one worker, instead of four."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), cluster(None, 1) as client:
        yield client


def read_pixels(path: Path) -> np.ndarray:
    if path.suffix == ".zarr":
        return np.asarray(zarr.open_group(path, mode="r")["image"][...])
    with rasterio.open(path) as tiff:
        return tiff.read()


def reference(folder: Path, name: str, product: Product) -> Path:
    """The product of one process and a plain loop."""
    folder.mkdir()
    write_product(open_sink(folder / name, product))
    return folder / name


def peak_memory(pid: int) -> int:
    """Largest resident set of a process since it began, in bytes."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) << 10


# The same bytes


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_neither_workers_nor_layout_change_the_product(two_workers, one_worker, tmp_path, name):
    """Same layout, same bytes; another layout, the same pixels. Tiles and shards do not line up here."""
    wanted = contents(reference(tmp_path / "plain", name, make_product()))
    for number, client in enumerate((two_workers, one_worker)):
        path = tmp_path / f"{number}-{name}"
        run_on(client, CoordinateSource(tile_px=TILE_PX), open_sink(path, make_product()))
        assert contents(path) == wanted
    for chunk_px, shard_px, tile_px in ((16, 16, 32), (32, 128, 32), (64, 256, 50)):
        path = tmp_path / f"{shard_px}-{name}"
        sink = open_sink(path, make_product(chunk_px=chunk_px, shard_px=shard_px))
        run_on(two_workers, CoordinateSource(tile_px=tile_px), sink)
        np.testing.assert_array_equal(read_pixels(path), address_pixels(EXTENT))


def test_progress_counts_every_shard(two_workers, tmp_path):
    seen: list[Progress] = []
    run_on(two_workers, CoordinateSource(), open_sink(tmp_path / "a.zarr", make_product()), report=seen.append)
    assert [progress.done for progress in seen] == list(range(1, 10))
    assert {(progress.total, progress.resumed) for progress in seen} == {(9, 0)}
    assert [progress.seconds for progress in seen] == sorted(progress.seconds for progress in seen)


@pytest.mark.parametrize(("cpu_s", "most", "least"), [(0.04, 8, 4), (0.0, 20, 9)], ids=["long", "short"])
def test_few_tasks_are_known_at_any_time(two_workers, cpu_s, most, least):
    """Two for each of two workers if they are long, up to eight if they are short; and those just done."""
    product, known = make_product(Window.from_size(256, 256), shard_px=16), []
    source = BusySource(cpu_s=cpu_s, tile_px=16)
    run_on(two_workers, source, IdleSink(product=product), report=lambda _: known.append(len(two_workers.futures)))
    assert len(known) == 256
    assert least <= max(known) <= most
    wait_until(lambda: not two_workers.futures)


def test_two_runs_of_one_world_share_a_cluster(two_workers, tmp_path):
    """A scheduler has one result per key: equal shards of two products must not have the same."""
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    with ThreadPoolExecutor() as pool:
        sinks = [open_sink(path, make_product()) for path in paths]
        list(pool.map(lambda sink: run_on(two_workers, CoordinateSource(), sink), sinks))
    assert contents(paths[0]) == contents(paths[1])


def test_a_finished_run_needs_no_cluster(tmp_path):
    """All shards are there; only the end is missing."""
    sink = open_sink(tmp_path / "a.tif", make_product())
    sink.begin(overwrite=False)
    for shard in sink.product.shard_indices:
        sink.write(shard, address_pixels(sink.product.shard_window(shard)))
    run_shards(cluster(None, 1), CoordinateSource(), sink)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), address_pixels(EXTENT))


def test_a_worker_needs_no_more_memory_than_planned(one_worker, tmp_path):
    """With the network of the bundled weights; the plan is cautious, not absurd."""
    save_random_checkpoint(tmp_path / "mini.safetensors", GENERATOR_PRESETS["mini"])
    world = open_world(str(tmp_path / "mini.safetensors"), device="cpu")
    product = world.product(Window.from_size(512, 1024))
    plan = plan_render(product, world.renderer, copies=2, compressed_share=0.75, measure=False)
    run_on(one_worker, world.config, open_sink(tmp_path / "a.tif", product))
    (pid,) = one_worker.run(os.getpid).values()
    peak_bytes = peak_memory(pid)
    assert peak_bytes < plan.worker_bytes < 2 * peak_bytes


# Faults


def test_a_killed_worker_costs_nothing_but_time(two_workers, controls, tmp_path):
    """Killed in the middle of a tile, with SIGKILL; its shard is begun again elsewhere."""
    path = tmp_path / "a.tif"
    controls.hold()
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_on, two_workers, ControlledSource(controls=controls), open_sink(path, make_product()))
        wait_until(lambda: len(controls.begun()) == 2)
        os.kill(next(iter(two_workers.run(os.getpid).values())), signal.SIGKILL)
        controls.release()
        run.result(timeout=60)
    assert contents(path) == contents(reference(tmp_path / "plain", "a.tif", make_product()))
    begun = controls.begun()
    assert len(begun) > len(set(begun))


def test_an_error_in_a_task_is_one_sentence_and_a_run_to_resume(one_worker, controls, tmp_path):
    path, product = tmp_path / "a.zarr", make_product()
    source = ControlledSource(controls=controls)
    broken = Window.from_size(TILE_PX, TILE_PX, row0=64, col0=384)  # in the last row of shards, and in one alone
    controls.harm(broken, "error")
    with pytest.raises(ScheduleError) as refusal:
        run_on(one_worker, source, open_sink(path, product))
    assert str(refusal.value) == (
        "Shard (2, 1) failed 3 times (RuntimeError: The paint is dry). "
        "What is finished is kept: run the same command again to resume."
    )
    assert not path.exists()
    assert controls.begun().count("64-384") == 3
    # Once it is healed, the rest is done and nothing that was finished is done again.
    controls.heal()
    seen: list[Progress] = []
    run_on(one_worker, source, open_sink(path, product), report=seen.append)
    assert seen[0].resumed >= 1
    assert len(seen) == 9 - seen[0].resumed
    assert controls.begun().count("-64-320") == 1  # inside the first shard
    assert contents(path) == contents(reference(tmp_path / "plain", "a.zarr", product))


def test_what_kills_its_workers_is_given_up(one_worker, controls, tmp_path):
    path = tmp_path / "a.tif"
    controls.harm(Window.from_size(TILE_PX, TILE_PX, row0=-32, col0=320), "death")
    with pytest.raises(ScheduleError, match=r"^Every worker that rendered shard \(\d, \d\) died, .* fewer --workers"):
        run_on(one_worker, ControlledSource(controls=controls), open_sink(path, make_product()))
    assert not path.exists()


def test_what_a_sink_says_in_a_worker_reaches_the_user(two_workers, tmp_path):
    """Here it cannot say much: everything it had is deleted under its hands."""
    path = tmp_path / "a.tif"

    def vandalise(progress: Progress) -> None:
        shutil.rmtree(tmp_path / "a.tif.partial", ignore_errors=True)

    with pytest.raises(OutputError, match=r"a\.tif\.partial"):
        run_on(two_workers, CoordinateSource(), open_sink(path, make_product()), report=vandalise)
    assert not path.exists()


def test_an_existing_product_is_refused_before_any_worker_starts(tmp_path):
    path = tmp_path / "a.tif"
    write_product(open_sink(path, make_product()))
    before = contents(path)
    with pytest.raises(OutputError, match="exists"):
        run_shards(cluster(None, 1), CoordinateSource(), open_sink(path, make_product()))
    assert contents(path) == before


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("1m")


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_disk_that_fills_up_is_one_sentence_and_a_run_to_resume(two_workers, small_disk, tmp_path, name):
    path, product = small_disk / name, make_product()
    with pytest.raises(OutputError, match=r"^The disk is full at .*\. Free some space and run the same command again"):
        run_on(
            two_workers,
            CoordinateSource(),
            open_sink(path, product),
            report=lambda progress: fill(small_disk / "filler"),
        )
    assert not path.exists()
    (small_disk / "filler").unlink()
    run_on(two_workers, CoordinateSource(), open_sink(path, product))
    assert contents(path) == contents(reference(tmp_path / "plain", name, product))


INTERRUPTED_AT_THE_START = """
import os, signal, threading, time
import psutil
from tilegen.tiling.cluster import cluster

def interrupt():
    while not any("spawn_main" in " ".join(child.cmdline()) for child in psutil.Process().children()):
        time.sleep(0.01)
    os.killpg(0, signal.SIGINT)

if __name__ == "__main__":
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with cluster(None, 1):
            print("entered")
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_a_signal_that_comes_while_a_cluster_starts_comes_later(tmp_path):
    """Interrupted there, Dask would leave a heap of tracebacks. The workers do not see the signal at all."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED_AT_THE_START)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, start_new_session=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


# Clusters of others


@pytest.fixture(params=["mute", "nonsense", "nobody"])
def no_scheduler(request):
    """The address of something that is no Dask scheduler."""
    with socket.socket() as server, dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        server.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if request.param == "nobody":
            yield address
            return
        server.listen()
        if request.param == "nonsense":
            threading.Thread(target=talk_nonsense, args=(server,), daemon=True).start()
        yield address


def talk_nonsense(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_an_address_where_no_scheduler_answers_is_one_sentence(no_scheduler):
    with pytest.raises(ScheduleError, match=rf"^No Dask scheduler answers at '{no_scheduler}' \(.*\)\. Start one with"):
        cluster(no_scheduler, 1)


@pytest.mark.parametrize(
    "address",
    ["", "nowhere", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:port", "http://127.0.0.1:8786", "tls://a:1"],
)
def test_an_address_that_is_none_is_one_sentence(address):
    with pytest.raises(ScheduleError, match=r"^No Dask scheduler answers at "):
        cluster(address, 1)


@pytest.fixture
def started(tmp_path):
    """Starts Dask's own commands, and stops them at the end."""
    running: list[subprocess.Popen] = []

    def start(command: str, *arguments: str) -> subprocess.Popen:
        with (tmp_path / f"{command}.log").open("wb") as log:
            words = [sys.executable, "-m", f"distributed.cli.dask_{command}", *arguments, "--no-dashboard"]
            running.append(subprocess.Popen(words, stdout=log, stderr=log))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_cluster_of_somebody_else(started, controls, tmp_path):
    """Without workers, with one, and with a scheduler that dies in the middle of a run."""
    card = tmp_path / "scheduler.json"
    scheduler = started("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(card))
    wait_until(lambda: card.exists() and card.read_bytes())  # it is there before it is written
    address = json.loads(card.read_text())["address"]
    with pytest.raises(ScheduleError, match=rf"^The Dask scheduler at {address} has no workers\. Start some with"):
        cluster(address, 1)
    started("worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path / "scratch"))
    with Client(address) as client:
        client.wait_for_workers(1, timeout=60)
    source = ControlledSource(controls=controls)
    run_shards(cluster(address, 1), source, open_sink(tmp_path / "a.tif", make_product()))
    assert contents(tmp_path / "a.tif") == contents(reference(tmp_path / "plain", "a.tif", make_product()))
    path = tmp_path / "b.tif"
    with pytest.raises(ScheduleError, match=r"^The connection to the Dask scheduler is lost.*run the same command"):
        run_shards(cluster(address, 1), source, open_sink(path, make_product()), report=lambda _: scheduler.kill())
    assert not path.exists()
