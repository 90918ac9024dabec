"""A cluster of three hosts, each a network namespace with its own address, and a cable that is pulled in mid-run."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest

from tilegen.geometry.window import Window
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world

pytestmark = pytest.mark.cluster
SCHEDULER, LEFT, RIGHT = HOSTS = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
# A dead peer is noticed after this long without an answer, instead of 30 s; Dask takes no less than 11.
SETTINGS = dict(os.environ, DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP="11s", OMP_NUM_THREADS="1")


class Network:
    """Hosts at a switch; the switch is a namespace too, so nothing of this machine changes."""

    def __init__(self) -> None:
        self._prefix = f"tilegen-{os.getpid()}"
        self._processes: list[subprocess.Popen] = []

    def build(self) -> None:
        switch = self._name("switch")
        self._ip("netns", "add", switch)
        self._ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        self._ip("-n", switch, "link", "set", "bridge", "up")
        for number, host in enumerate(HOSTS):
            name = self._name(host)
            self._ip("netns", "add", name)
            self._ip("-n", switch, "link", "add", f"port{number}", "type", "veth", "peer", "eth0", "netns", name)
            self._ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            self._ip("-n", name, "address", "add", f"{host}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                self._ip("-n", name, "link", "set", link, "up")

    def start(self, host: str, *words: object, **streams: object) -> subprocess.Popen:
        command = ["ip", "netns", "exec", self._name(host), sys.executable, "-m", *map(str, words)]
        self._processes.append(subprocess.Popen(command, env=SETTINGS, text=True, **streams))
        return self._processes[-1]

    def run(self, host: str, *words: str) -> None:
        command = ["ip", "netns", "exec", self._name(host), sys.executable, *words]
        subprocess.run(command, check=True, capture_output=True, timeout=200)

    def cut_off(self, host: str) -> None:
        self._ip("-n", self._name(host), "link", "set", "eth0", "down")

    def remove(self) -> None:
        """Processes first: a namespace lives as long as one of its processes."""
        for name in (*map(self._name, HOSTS), self._name("switch")):
            inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in inside.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for process in self._processes:
            process.communicate()
        for name in (*map(self._name, HOSTS), self._name("switch")):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def _name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def network():
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` here to make network namespaces with")
    made = Network()
    try:
        made.build()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
    yield made
    made.remove()


def generate(out: Path, model: Path, *words: str) -> list[str]:
    size = ["--size", "1536x1024", "--shard", "256", "--chunk", "64", "--device", "cpu"]
    return ["tilegen", "generate", str(out), *size, "--model", str(model), *words]


def draw_plainly(out: Path, model: Path) -> None:
    """The same product by one process and a loop."""
    world = open_world(str(model), device="cpu")
    sink = open_sink(out, world.product(Window.from_size(1024, 1536), chunk_px=64, shard_px=256))
    sink.begin(overwrite=False)
    for shard in sink.product.shard_indices:
        sink.write(shard, world.read(sink.product.shard_window(shard)))
    sink.finish()


def start_cluster(network: Network, log: BinaryIO, scratch: Path) -> str:
    """Address of a scheduler with a worker on each of two other hosts."""
    scheduler, quiet = f"tcp://{SCHEDULER}:8786", {"stdout": log, "stderr": log}
    network.start(SCHEDULER, "distributed.cli.dask_scheduler", "--host", SCHEDULER, "--no-dashboard", **quiet)
    for host in (LEFT, RIGHT):
        words = [scheduler, "--host", host, "--nthreads", 1, "--no-dashboard", "--no-nanny"]
        network.start(host, "distributed.cli.dask_worker", *words, "--local-directory", scratch / host, **quiet)
    wait = f"from distributed import Client; Client({scheduler!r}, timeout=60).wait_for_workers(2, timeout=150)"
    network.run(SCHEDULER, "-c", wait)
    return scheduler


def test_a_host_that_is_cut_off_costs_nothing_but_time(network, tmp_path):
    """Shards that it had are begun again on the other host, and the product has the bytes of one process."""
    save_random_checkpoint(model := tmp_path / "nano.safetensors")
    seen: list[str] = []
    with (tmp_path / "log").open("wb") as log:
        scheduler = start_cluster(network, log, tmp_path)
        words = generate(tmp_path / "a.tif", model, "--scheduler", scheduler, "--log-json")
        run = network.start(SCHEDULER, *words, stderr=subprocess.PIPE, stdout=log)
        is_cut = False
        for event in map(json.loads, run.stderr):
            if event["event"] == "shard":
                seen.append(urlsplit(event["worker"]).hostname)
            if not is_cut and set(seen) == {LEFT, RIGHT}:
                network.cut_off(RIGHT)
                is_cut = True
        assert run.wait(timeout=120) == 0
    assert len(seen) == 24
    assert set(seen[-6:]) == {LEFT}
    draw_plainly(tmp_path / "b.tif", model)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
