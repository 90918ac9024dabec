"""`tilegen generate`: the whole way to a file, and every way to get it wrong."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
import safetensors.torch
import torch
import zarr
from PIL import Image

from tilegen.geometry.window import Window
from tilegen.world import open_world

TILE_PX = 512


@pytest.fixture
def words(model):
    """The beginning of a command that would work."""
    return ["--size", "100x80", "--model", model, "--workers", "1", "--device", "cpu"]


@pytest.fixture
def generate(run, model, scheduler, folder):
    """Runs `tilegen generate` on the cluster that all tests share."""

    def generated(out, size, *words):
        result = run(
            "generate", out, "--size", size, "--model", model, "--scheduler", scheduler, "--chunk", 64, "--shard", 128,
            "--device", "cpu", *words,
        )  # fmt: skip
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith(f"{out}: {size} pixels of World(seed=")
        return read(Path(out))

    return generated


def read(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".zarr":
        return np.asarray(zarr.open_group(path, mode="r")["image"][...])
    with rasterio.open(path) as tiff:
        return tiff.read()


# Products


@pytest.mark.cluster
def test_a_world_is_the_same_from_python_and_in_every_product(generate, model, folder):
    """Two windows that overlap, as COG and Zarr, with other layouts; paths with spaces and umlauts."""
    world = open_world(str(model), seed=7, crs="EPSG:32611", res=0.5, device="cpu")
    options = ["--seed", 7, "--crs", "EPSG:32611", "--res", 0.5, "--quiet"]
    preview = ["--shard", 256, "--preview", "klein ä.png"]
    left = generate("linke Hälfte.tif", "200x150", *options, "--origin", "-30,20", *preview)
    assert left.shape == (3, 150, 200)
    np.testing.assert_array_equal(left, world.read(Window.from_size(150, 200, row0=-40, col0=-60)))
    right = generate("右.zarr", "180x130", *options, "--origin", "0,10", "--chunk", 32, "--preview", "右.png")
    np.testing.assert_array_equal(right[:, :, :140], left[:, 20:, 60:])
    with rasterio.open("linke Hälfte.tif") as tiff:
        assert tuple(tiff.bounds) == (-30.0, -55.0, 70.0, 20.0)
        assert tiff.crs.to_epsg() == 32611
        assert tiff.tags()["seed"] == "7"
    for name, pixels in (("klein ä.png", left), ("右.png", right)):
        with Image.open(name) as image:
            np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), pixels)
    names = ["klein ä.png", "linke Hälfte.tif", "右.png", "右.zarr"]
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.cluster
def test_a_single_pixel_is_a_product(generate, model):
    """At the far corner of the globe."""
    options = ["--crs", "EPSG:4326", "--origin", "179.9,-89.9", "--res", 0.1, "--seed", 2**64 - 1]
    for name in ("a.tiff", "A.ZARR"):
        pixels = generate(name, "1x1", *options)
        world = open_world(str(model), seed=2**64 - 1, crs="EPSG:4326", res=0.1, device="cpu")
        np.testing.assert_array_equal(pixels, world.read(world.window_at(179.9, -89.9, 1, 1)))


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_finished_product_is_kept_unless_asked(generate, refused, words, scheduler, folder, name):
    first = generate(name, "100x80")
    cluster_words = [*words[:4], "--scheduler", scheduler]
    assert refused("generate", name, *cluster_words).endswith("exists. Give another name or --overwrite.")
    np.testing.assert_array_equal(read(folder / name), first)
    second = generate(name, "90x70", "--seed", 1, "--overwrite")
    assert second.shape == (3, 70, 90)
    np.testing.assert_array_equal(read(folder / name), second)
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_dry_run_tells_everything_and_writes_nothing(run, words, folder):
    result = run("generate", "a.tif", *words, "--origin", "-10,10", "--preview", "a.png", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    starts = ["extent", "ground", "bounds", "lattice", "memory", "disk", "time", "halo", "  sites"]
    for line, start in zip(result.stdout.splitlines(), starts, strict=False):
        assert line.startswith(start)
    for said in ("100 x 80 pixels, 3 bands", "tiles in 1 shards of 2048 px", "MiB per worker, 1 workers", "rgb3"):
        assert said in result.stdout
    assert list(folder.iterdir()) == []


def test_a_plan_knows_how_well_a_product_is_compressed(run, model):
    words = ["--size", "3000x3000", "--model", model, "--device", "cpu", "--dry-run"]
    said = {
        name: re.search(r"^disk +about ([\d.]+) MiB", run("generate", *name.split(), *words).stdout, re.MULTILINE)
        for name in ("a.tif", "a.tif --compress jpeg", "a.zarr")
    }
    disk_mib = {name: float(found[1]) for name, found in said.items()}
    assert 3 * disk_mib["a.tif --compress jpeg"] < disk_mib["a.tif"]
    assert disk_mib["a.zarr"] < disk_mib["a.tif"]  # which is on the disk twice


@pytest.mark.parametrize("size", ["100x80", "100X80", "100×80", "100,80", " 100 x 80 "])
def test_sizes_are_written_in_many_ways(run, model, size, folder):
    result = run("generate", "a.tif", "--size", size, "--model", model, "--device", "cpu", "--dry-run")
    assert "100 x 80 pixels" in result.stdout


# Bad input

NO_SIZES = ["20000", "axb", "-5x5", "1e9x1e9", "20000x20000x3", "٣x٣", "", "x", "5x", "1.5x2", "99999999999999x5"]


@pytest.mark.parametrize("size", NO_SIZES)
def test_what_is_no_size_is_refused(refused, size):
    assert f"{size!r} is no size. Give WIDTHxHEIGHT" in refused("generate", "a.tif", "--size", size, exit_code=2)


@pytest.mark.parametrize("size", ["0x10", "10x0", "1073741825x1", "1x999999999999"])
def test_a_side_out_of_range_is_refused(refused, size):
    said = refused("generate", "a.tif", "--size", size, exit_code=2)
    assert "each side must be from 1 to 1073741824 pixels" in said


@pytest.mark.parametrize("out", ["a.tif", "a.zarr"])
def test_an_absurd_size_is_refused_with_both_numbers(refused, words, out):
    said = refused("generate", out, *words, "--size", "1000000000x1000000000")
    assert "EiB of disk, " in said
    assert "iB. Ask for a smaller --size" in said


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--size", None, "How large? Give --size, --bounds, --like or --aoi."),
        ("--origin", "5", "'5' is no coordinate"),
        ("--origin", "a,b", "'a,b' is no coordinate"),
        ("--origin", "1,2,3", "'1,2,3' is no coordinate"),
        ("--origin", "", "'' is no coordinate"),
        ("--res", "wide", "'wide' is not a valid float"),
        ("--seed", "x", "'x' is not a valid integer"),
        ("--seed", "1.5", "'1.5' is not a valid integer"),
        ("--scale-seed", "region", "'region' is no seed of a scale"),
        ("--scale-seed", "region=-1", "'region=-1' is no seed of a scale"),
        ("--truncation-psi", "x", "'x' is not a valid float"),
        ("--dtype", "float16", "'float16' is not one of"),
        ("--workers", "0", "0 is not in the range"),
        ("--workers", "-1", "-1 is not in the range"),
        ("--workers", "many", "'many' is not a valid integer"),
        ("--chunk", "x", "'x' is not a valid integer"),
        ("--preview", ".", "'.' is a directory"),
        ("--colour", "red", "No such option '--colour'"),
    ],
)
def test_options_that_are_not_understood_are_refused(refused, option, value, said):
    words = [] if value is None else ["--size", "100x80", option, value]
    assert said in refused("generate", "a.tif", *words, exit_code=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--crs", "EPSG:999999"], "Unknown CRS 'EPSG:999999'"),
        (["--crs", "mars"], "Unknown CRS 'mars'"),
        (["--crs", ""], "Unknown CRS ''"),
        (["--origin", "nan,0"], "--origin (nan, 0.0) is not a coordinate"),
        (["--origin", "inf,0"], "--origin (inf, 0.0) is not a coordinate"),
        (["--origin", "0,1e300"], "--origin (0.0, 1e+300) is not a coordinate"),
        (["--res", "nan"], "--res must be a positive number"),
        (["--res", "inf"], "--res must be a positive number"),
        (["--res", "-1"], "--res must be a positive number"),
        (["--res", "0"], "--res must be a positive number"),
        (["--res", "1e-30"], "--res must be a positive number"),
        (["--crs", "EPSG:4326", "--res", "10"], "which is not on the globe"),
        (["--crs", "EPSG:4326", "--origin", "179.9999,0"], "which is not on the globe"),
        (["--crs", "EPSG:4326", "--origin", "0,91"], "which is not on the globe"),
        (["--seed", "-1"], "A seed is a whole number from 0 to 2**64 - 1, got -1"),
        (["--seed", str(2**64)], f"got {2**64}"),
        (["--truncation-psi", "nan"], "from 0 to 2, got nan"),
        (["--truncation-psi", "-1"], "from 0 to 2, got -1.0"),
        (["--device", "tpu"], "Unknown device 'tpu'"),
        (["--chunk", "100"], "--chunk must be a power of two of at least 16 pixels, got 100"),
        (["--chunk", "-512"], "--chunk must be a power of two"),
        (["--shard", "3000"], "--shard must be --chunk (512) times a power of two, got 3000. Try 2048"),
        (["--shard", "256"], "--shard must be --chunk (512) times a power of two, got 256"),
        (["--model", "nonesuch"], "No model 'nonesuch'"),
        (["--model", "."], "No model '.'"),
        (["--preview", "a.jpg"], "--preview a.jpg: give the name of a .png file"),
        (["--preview", "missing/a.png"], "--preview missing/a.png: give the name of a .png file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_values_that_cannot_be_used_are_refused(refused, words, options, said):
    assert said in refused("generate", "a.tif", *words, *options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(refused, words):
    assert "There is no CUDA device for --device cuda" in refused("generate", "a.tif", *words, "--device", "cuda")


def test_a_scheduler_that_does_not_answer_is_refused(refused, model, monkeypatch):
    """In a process of its own, as Dask reads its settings when it is imported."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    command = [
        sys.executable,
        "-m",
        "tilegen",
        "generate",
        "a.tif",
        "--size",
        "100x80",
        "--model",
        str(model),
        "--scheduler",
        "tcp://127.0.0.1:9",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: No Dask scheduler answers at 'tcp://127.0.0.1:9' (")
    assert not os.listdir()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("a.png", "a.png ends in '.png'. Give a name that ends in .tif, .tiff or .zarr"),
        ("a", "ends in ''"),
        ("", "ends in ''"),
        (".tif", "ends in ''"),
        ("a.tif.gz", "ends in '.gz'"),
        ("missing/a.tif", "missing does not exist. Create it"),
        ("missing/a.zarr", "missing does not exist. Create it"),
        ("/dev/null/a.tif", "/dev/null does not exist. Create it"),
        ("gs://bucket/a.tif", "gs:// is no object store that tilegen knows"),
        ("https://example.com/a.zarr", "https:// is no object store that tilegen knows"),
        ("file:///a.tif", "file:// is no object store that tilegen knows"),
        (f"{'x' * 300}.tif", "File name too long"),
    ],
    ids=lambda value: value[:20],
)
def test_a_path_that_cannot_be_written_is_refused(refused, words, out, said):
    assert said in refused("generate", out, *words)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
@pytest.mark.parametrize("kind", ["text", "empty", "folder", "link"])
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_what_is_in_the_way_is_not_touched(refused, words, folder, name, kind, overwrite):
    """Only products make way, and only for --overwrite."""
    out = folder / name
    match kind:
        case "text":
            out.write_text("my thesis")
        case "empty":
            out.touch()
        case "folder":
            out.mkdir()
            (out / "thesis.txt").write_text("my thesis")
        case "link":
            out.symlink_to(folder / "elsewhere")
    said = refused("generate", name, *words, *overwrite)
    assert "give another name" in said if overwrite else said.endswith("exists. Give another name or --overwrite.")
    if kind == "text":
        assert out.read_text() == "my thesis"


def test_a_preview_that_exists_is_kept(refused, words, folder):
    (folder / "a.png").write_text("my holidays")
    assert "a.png exists. Give another name" in refused("generate", "a.tif", *words, "--preview", "a.png")
    assert (folder / "a.png").read_text() == "my holidays"


@pytest.fixture
def locked(folder):
    """A folder that nobody may write to, not even root."""
    path = folder / "locked"
    path.mkdir()
    if os.geteuid():
        path.chmod(0o500)
        yield path
        path.chmod(0o700)
        return
    command = ["mount", "-t", "tmpfs", "-o", "ro,size=16m", "tmpfs", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("root may write everywhere, and mounting is not permitted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_folder_that_may_not_be_written_to_is_refused(refused, words, locked, name):
    assert refused("generate", locked / name, *words).startswith(f"Cannot write {locked / name}.partial: ")


# Checkpoints


class Intruder:
    """Leaves a file where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("intruded"),)


def write_checkpoint(kind: str, path: Path, model: Path) -> None:
    content = model.read_bytes()
    match kind:
        case "truncated":
            path.write_bytes(content[:-1000])
        case "cut in the header":
            path.write_bytes(content[:100])
        case "empty":
            path.touch()
        case "altered":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "foreign":
            safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
        case "of torch":
            torch.save({"weight": torch.zeros(3)}, path)
        case "a pickle":
            path.write_bytes(pickle.dumps(Intruder()))


@pytest.mark.parametrize(
    "kind", ["truncated", "cut in the header", "empty", "altered", "foreign", "of torch", "a pickle"]
)
def test_a_checkpoint_that_is_none_is_refused(refused, words, model, folder, kind):
    path = folder / "bad.safetensors"
    write_checkpoint(kind, path, model)
    assert "bad.safetensors" in refused("generate", "a.tif", *words, "--model", path)


# A run that is stopped


def processes_of(session: int) -> list[psutil.Process]:
    """What lives of the session that began with process `session`."""

    def belongs(process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    return [process for process in psutil.process_iter() if belongs(process)]


def wait_until(is_so, *, seconds: float = 90.0) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.cluster
def test_a_run_that_is_stopped_in_every_way_ends_as_if_it_had_not_been(folder, model):
    """Ctrl-C in a terminal, SIGTERM, SIGKILL. Each time: one line or none, no product, no process left behind."""
    out, partial = folder / "a.tif", folder / "a.tif.partial"
    command = [sys.executable, "-m", "tilegen", "generate", out.name, "--size", f"{4 * TILE_PX}x{3 * TILE_PX}"]
    command += ["--model", str(model), "--workers", "1", "--shard", str(TILE_PX), "--device", "cpu", "--quiet"]

    def num_finished() -> int:
        return len(list(partial.glob("shard-*.part")))

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    for number, to_all, exit_code in (
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGKILL, False, -signal.SIGKILL),
    ):
        before, process = num_finished(), start()
        wait_until(lambda process=process, before=before: num_finished() > before or process.poll() is not None)
        for _ in range(2):  # people are impatient
            (os.killpg if to_all else os.kill)(process.pid, number)
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (exit_code, "")
        if number != signal.SIGKILL:
            interrupted = "\nInterrupted. What is finished is kept: run the same command again to resume.\n"
            assert complained == interrupted
        assert "Traceback" not in complained
        assert not out.exists()
        wait_until(lambda process=process: not processes_of(process.pid))
        assert num_finished() > before
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert (done.stderr, [path.name for path in folder.iterdir()]) == ("", ["a.tif"])
    world = open_world(str(model), device="cpu")
    np.testing.assert_array_equal(read(out), world.read(Window.from_size(3 * TILE_PX, 4 * TILE_PX)))
