"""Faults, made for real: whatever dies, hangs or breaks, the product ends with the bytes of an undisturbed run."""

import errno
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import psutil
import pytest
from distributed import Client

from tilegen.errors import OutputError, ScheduleError
from tilegen.testing.client import client_product, run_on
from tilegen.testing.faults import ControlledSource
from tilegen.testing.flaky import FlakySink
from tilegen.testing.generators import CoordinateSource
from tilegen.testing.processes import Wire, wait_until
from tilegen.testing.sinks import address_product, contents, write_product
from tilegen.tiling.cluster import cluster
from tilegen.tiling.flight import Patience
from tilegen.tiling.schedule import run_shards
from tilegen.tiling.sinks import open_sink

pytestmark = pytest.mark.cluster
ZARR_AS_WELL = [".tif", pytest.param(".zarr", marks=pytest.mark.slow)]
TILE_PX = 64
"""Of the size of a shard, and on the same lattice: a tile that is begun is a shard that is begun."""


def make_product(rows: int = 400, cols: int = 400):
    return address_product(rows, cols, row0=-2 * TILE_PX, col0=5 * TILE_PX)


@pytest.fixture
def undisturbed(tmp_path):
    """The files that a product must end with: those of one process and a plain loop."""

    def files_of(suffix, product):
        folder = tmp_path / "undisturbed"
        folder.mkdir()
        write_product(open_sink(folder / f"a{suffix}", product))
        return contents(folder / f"a{suffix}")

    return files_of


@pytest.fixture
def source(controls):
    return ControlledSource(controls=controls, tile_px=TILE_PX)


def redone(controls) -> int:
    """How often a shard was begun again."""
    begun = controls.begun()
    return len(begun) - len(set(begun))


def pids(client) -> list[int]:
    return sorted(client.run(os.getpid).values())


# Workers that die, hang, come late or never


class Killer:
    """Kills workers at seeded moments: each time one that has written a shard, not one that is only just starting."""

    def __init__(self, client: Client, num_kills: int, every: int) -> None:
        self._client, self._num_kills, self._every = client, num_kills, every
        self._chance = random.Random(20)
        self._alive: set[str] = set()
        self._killed: set[str] = set()
        self._threads: list[threading.Timer] = []

    def __call__(self, progress) -> None:
        self._alive |= {progress.latest.worker} - self._killed
        if not self._alive or len(self._killed) == self._num_kills or progress.done < self._every * len(self._killed):
            return
        self.wait()
        worker, moment_s = self._chance.choice(sorted(self._alive)), self._chance.uniform(0, 0.05)
        pid = self._client.run(os.getpid, workers=[worker])[worker]
        self._threads.append(threading.Timer(moment_s, os.kill, (pid, signal.SIGKILL)))
        self._threads[-1].start()
        self._alive.remove(worker)
        self._killed.add(worker)

    @property
    def num_killed(self) -> int:
        return len(self._killed)

    def wait(self) -> None:
        """Until the last kill has happened."""
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize(
    ("suffix", "num_kills"),
    [(".tif", 3), *(pytest.param(suffix, 20, marks=pytest.mark.slow) for suffix in (".tif", ".zarr"))],
)
def test_a_killed_worker_costs_at_most_the_shard_it_was_at(
    two_workers, source, controls, undisturbed, tmp_path, suffix, num_kills
):
    """SIGKILL at random moments, most of them in the middle of a write."""
    product = make_product(60 * num_kills, 400)
    killer = Killer(two_workers, num_kills, every=6)
    path = tmp_path / f"a{suffix}"
    seen = []

    def report(progress):
        seen.append(progress)
        killer(progress)

    run_on(two_workers, source, open_sink(path, product), report=report)
    killer.wait()
    wait_until(lambda: len(two_workers.nthreads()) == 2)
    assert killer.num_killed == num_kills
    assert contents(path) == undisturbed(suffix, product)
    assert redone(controls) <= num_kills
    assert seen[-1].retries <= num_kills
    assert sorted(progress.latest.shard for progress in seen) == product.shard_indices


@pytest.mark.parametrize("suffix", ZARR_AS_WELL)
def test_a_worker_that_hangs_is_overtaken(two_workers, source, controls, undisturbed, tmp_path, suffix):
    """Stopped in the middle of a tile; its shard, and the one that waits behind it, go to the other worker."""
    product, path = make_product(), tmp_path / f"a{suffix}"
    seen = []
    controls.hold()
    with ThreadPoolExecutor() as pool:
        options = {"patience": Patience(shard_s=1.0), "report": seen.append}
        run = pool.submit(run_on, two_workers, source, open_sink(path, product), **options)
        wait_until(lambda: len(controls.begun()) == 2)
        stopped, pid = next(iter(two_workers.run(os.getpid).items()))
        os.kill(pid, signal.SIGSTOP)
        try:
            controls.release()
            run.result()
        finally:
            os.kill(pid, signal.SIGCONT)
    assert contents(path) == undisturbed(suffix, product)
    assert {progress.latest.worker for progress in seen} == two_workers.nthreads().keys() - {stopped}
    assert seen[-1].retries >= 1
    # What comes back to life finds its product finished, and leaves nothing behind.
    wait_until(lambda: not any(two_workers.processing().values()))
    assert not path.with_name(f"{path.name}.partial").exists()


def test_a_cluster_with_a_stopped_worker_can_be_left():
    with cluster(None, 1) as client:
        (pid,) = pids(client)
        os.kill(pid, signal.SIGSTOP)
    assert not psutil.pid_exists(pid)


def test_a_shard_that_nobody_finishes_ends_the_run(two_workers, source, controls, tmp_path):
    controls.hold()
    with pytest.raises(ScheduleError) as refusal:
        run_on(two_workers, source, open_sink(tmp_path / "a.tif", make_product(64, 64)), patience=Patience(shard_s=0.2))
    controls.release()
    assert str(refusal.value) == (
        "Shard (0, 0) was handed out 3 times, and no worker finished it within 0 s or more. What is finished is kept: "
        "run the same command again to resume, with a longer --shard-timeout if shards may take that long."
    )


def test_a_worker_that_joins_late_is_used(processes, source, controls, undisturbed, tmp_path):
    """While the first one is held up; both write shards of the product."""
    product, path = make_product(), tmp_path / "a.tif"
    _, address = processes.scheduler()
    processes.worker(address)
    with Client(address) as watcher:
        watcher.wait_for_workers(1, timeout=60)
    controls.hold()
    seen = []
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_shards, cluster(address, 1), source, open_sink(path, product), report=seen.append)
        wait_until(lambda: len(controls.begun()) == 1)
        processes.worker(address)
        wait_until(lambda: len(controls.begun()) == 2)
        controls.release()
        run.result()
    assert contents(path) == undisturbed(".tif", product)
    assert len({progress.latest.worker for progress in seen}) == 2


def test_a_cluster_whose_workers_are_all_gone_is_given_up_and_resumed(
    processes, source, controls, undisturbed, tmp_path
):
    product, path = make_product(), tmp_path / "a.zarr"
    _, address = processes.scheduler()
    worker = processes.worker(address)
    with Client(address) as watcher:
        watcher.wait_for_workers(1, timeout=60)
        with pytest.raises(ScheduleError) as refusal:
            run_shards(
                cluster(address, 1),
                source,
                open_sink(path, product),
                patience=Patience(workers_s=1.0),
                report=lambda progress: worker.kill(),
            )
        assert str(refusal.value) == (
            "The Dask cluster has had no workers for 1 s. What is finished is kept: run the same command again to "
            "resume once it has some."
        )
        processes.worker(address)
        watcher.wait_for_workers(1, timeout=60)
    run_shards(cluster(address, 1), source, open_sink(path, product))
    assert contents(path) == undisturbed(".zarr", product)
    assert redone(controls) <= 1


# Clients and schedulers that die, and wires that are cut


@pytest.mark.parametrize(
    ("suffix", "num_kills"),
    [(".tif", 2), *(pytest.param(suffix, 20, marks=pytest.mark.slow) for suffix in (".tif", ".zarr"))],
)
def test_a_killed_client_is_resumed(processes, controls, undisturbed, tmp_path, suffix, num_kills):
    """SIGKILL at random moments, again and again, and then to the end."""
    path, chance = tmp_path / f"a{suffix}", random.Random(num_kills)
    _, address = processes.scheduler()
    processes.worker(address)
    with Client(address) as watcher:
        watcher.wait_for_workers(1, timeout=60)
    for _ in range(num_kills):
        before, more = len(controls.begun()), chance.randint(1, 2)
        client = processes.client(path, controls, "--scheduler", address)
        wait_until(lambda before=before, more=more: len(controls.begun()) >= before + more)
        client.kill()
        client.wait()
    assert not path.exists()
    assert processes.client(path, controls, "--scheduler", address).wait() == 0
    assert contents(path) == undisturbed(suffix, client_product())
    assert redone(controls) <= num_kills


@pytest.mark.parametrize("num_kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_scheduler_is_one_sentence_and_a_run_to_resume(
    processes, source, controls, undisturbed, tmp_path, num_kills
):
    """With a new scheduler and a new worker each time."""
    product, path = make_product(), tmp_path / "a.tif"
    for left in range(num_kills, -1, -1):
        scheduler, address = processes.scheduler()
        worker = processes.worker(address)
        with Client(address) as watcher:
            watcher.wait_for_workers(1, timeout=60)
        sink = open_sink(path, product)
        if not left:
            run_shards(cluster(address, 1), source, sink)
            break
        # Dask tries for as long to reach the one that is gone.
        short = dask.config.set({"distributed.comm.timeouts.connect": "2s"})
        with short, pytest.raises(ScheduleError, match=r"^The connection to the Dask scheduler is lost.* to resume\.$"):
            run_shards(cluster(address, 1), source, sink, report=lambda progress, dying=scheduler: dying.kill())
        worker.kill()
    assert contents(path) == undisturbed(".tif", product)
    assert redone(controls) <= num_kills


def test_a_wire_that_breaks_for_a_moment_does_not_end_the_run(processes, source, controls, undisturbed, tmp_path):
    """Between client and scheduler: Dask forgets the tasks, and they are handed out again."""
    product, path = make_product(), tmp_path / "a.tif"
    _, address = processes.scheduler()
    processes.worker(address)
    with Client(address) as watcher:
        watcher.wait_for_workers(1, timeout=60)
    wire = Wire(address)
    seen = []

    def report(progress):
        seen.append(progress)
        if progress.done in {3, 20}:
            wire.cut()

    run_shards(cluster(wire.address, 1), source, open_sink(path, product), report=report)
    wire.close()
    assert contents(path) == undisturbed(".tif", product)
    assert [progress.done for progress in seen] == list(range(1, 50))


# Stores that refuse


@pytest.mark.parametrize("suffix", ZARR_AS_WELL)
def test_a_store_that_fails_one_write_in_fifty_is_written_to_again(two_workers, undisturbed, tmp_path, suffix):
    product, path = address_product(200, 800), tmp_path / f"a{suffix}"
    (tmp_path / "attempts").mkdir()
    sink = open_sink(path, product)
    flaky = FlakySink(sink=sink, folder=str(tmp_path / "attempts"), number=errno.EIO, every=50)
    seen = []
    run_on(two_workers, CoordinateSource(), flaky, report=seen.append)
    assert contents(path) == undisturbed(suffix, product)
    assert seen[-1].retries == 2
    assert [flaky.attempts(shard) for shard in product.shard_indices].count(2) == 2


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "The disk is full at /store. Free some space and run the same command again."),
        (errno.EDQUOT, "The disk is full at /store. Free some space and run the same command again."),
        (errno.EACCES, "Cannot write /store: Permission denied."),
        (errno.EROFS, "Cannot write /store: Read-only file system."),
    ],
)
def test_a_store_that_will_go_on_refusing_is_asked_once(two_workers, tmp_path, number, said):
    (tmp_path / "attempts").mkdir()
    sink = open_sink(tmp_path / "a.tif", address_product(64, 64))
    flaky = FlakySink(sink=sink, folder=str(tmp_path / "attempts"), number=number, times=99)
    with pytest.raises(OutputError) as refusal:
        run_on(two_workers, CoordinateSource(), flaky)
    assert str(refusal.value) == said
    assert flaky.attempts((0, 0)) == 1


@pytest.mark.slow
def test_a_store_that_never_comes_back_is_one_sentence(two_workers, tmp_path):
    """Asked again with longer and longer pauses, by one worker and another."""
    (tmp_path / "attempts").mkdir()
    sink = open_sink(tmp_path / "a.tif", address_product(64, 64))
    flaky = FlakySink(sink=sink, folder=str(tmp_path / "attempts"), number=errno.ESTALE, times=99)
    with pytest.raises(OutputError) as refusal:
        run_on(two_workers, CoordinateSource(), flaky)
    assert str(refusal.value) == "Cannot write /store: Stale file handle, 4 times in a row."
    assert flaky.attempts((0, 0)) == 12


def test_a_full_disk_is_told_at_once(two_workers, source, controls, disk_of):
    """A real one. Nobody tries the shard again, as nobody could."""
    disk = disk_of("700k")
    with pytest.raises(
        OutputError, match=r"^The disk is full at .*\. Free some space and run the same command again\.$"
    ):
        run_on(two_workers, source, open_sink(disk / "a.tif", make_product(1000, 1000)))
    assert redone(controls) == 0


# Clocks and rivals

JUMPING_CLOCK = """
import os, time
right = time.time
time.time = lambda: right() + 3600 * (os.path.exists("forward") - 2 * os.path.exists("back"))
from tilegen.testing.client import main
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def run_by_a_bad_clock(processes, controls, tmp_path):
    """Starts a run whose client, scheduler and workers have a wall clock that jumps by files that appear."""
    script = processes.folder / "jumping.py"
    script.write_text(JUMPING_CLOCK)
    return lambda path: processes.start(str(script), str(path), controls.folder, "--workers", "2")


@pytest.mark.slow
def test_a_clock_that_is_set_forward_does_not_matter(run_by_a_bad_clock, processes, controls, undisturbed, tmp_path):
    path = tmp_path / "a.tif"
    run = run_by_a_bad_clock(path)
    wait_until(lambda: len(controls.begun()) >= 2)
    (processes.folder / "forward").touch()
    assert run.wait() == 0
    assert contents(path) == undisturbed(".tif", client_product())
    assert redone(controls) == 0


@pytest.mark.slow
def test_a_clock_that_is_set_back_is_one_sentence_and_a_run_to_resume(
    run_by_a_bad_clock, processes, controls, undisturbed, tmp_path
):
    """Dask sends no message before the time that it remembers."""
    path = tmp_path / "a.tif"
    run = run_by_a_bad_clock(path)
    wait_until(lambda: len(controls.begun()) >= 2)
    (processes.folder / "back").touch()
    assert run.wait() == 1
    log = (processes.folder / "process-0.log").read_text()
    assert "The clock of this machine was set back by 2 h 00 min, and Dask stalls. What is finished is kept:" in log
    assert run_by_a_bad_clock(path).wait() == 0
    assert contents(path) == undisturbed(".tif", client_product())


@pytest.mark.parametrize("suffix", ZARR_AS_WELL)
def test_two_runs_do_not_write_one_product(processes, controls, two_workers, undisturbed, tmp_path, suffix):
    """The second is refused as long as the first one lives, and goes on with its work when it has been killed."""
    path, product = tmp_path / f"a{suffix}", client_product()
    controls.hold()
    first = processes.client(path, controls)
    wait_until(controls.begun)
    with pytest.raises(OutputError) as refusal:
        run_on(two_workers, CoordinateSource(), open_sink(path, product))
    assert str(refusal.value) == f"Another run is writing to {path}.partial. Wait for it, or give another path."
    with pytest.raises(OutputError, match=r"^Another run is writing to "):
        run_on(two_workers, CoordinateSource(), open_sink(path, product), overwrite=True)
    first.kill()
    first.wait()
    run_on(two_workers, CoordinateSource(), open_sink(path, product))
    assert contents(path) == undisturbed(suffix, product)
