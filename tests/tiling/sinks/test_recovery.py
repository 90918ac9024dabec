"""Kills and full disks, for every sink that writes to disk: the run goes on, and ends with the same bytes."""

import subprocess
import sys

import numpy as np
import pytest

from tilegen.errors import OutputError
from tilegen.testing.disks import grow
from tilegen.testing.sinks import address_pixels, address_product, write_product, write_shards
from tilegen.tiling.sinks import open_sink

WRITER = """
import sys
from pathlib import Path
from tilegen.testing.sinks import address_pixels, address_product, write_shards
from tilegen.tiling.sinks import open_sink
product = address_product(400, 400)
sink = open_sink(sys.argv[1], product)
done = sink.begin(overwrite=False)
pixels = address_pixels(product.extent)
for shard in sorted(set(product.shard_indices) - done):
    write_shards(sink, pixels, [shard])
    print(*shard, flush=True)
"""


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_killed_writer_is_resumed_with_the_same_bytes(tmp_path, suffix, tree_digest):
    """SIGKILL while the next shard is being written, three times over; then to the end."""
    product = address_product(400, 400)
    (tmp_path / "straight").mkdir()
    (tmp_path / "killed").mkdir()
    straight, killed = (tmp_path / name / f"x{suffix}" for name in ("straight", "killed"))
    write_product(open_sink(straight, product))
    said: set[tuple[int, int]] = set()
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(killed)], stdout=subprocess.PIPE, text=True)
        with process:
            for _, line in zip(range(11), process.stdout, strict=False):
                said.add(tuple(map(int, line.split())))
            process.kill()
    sink = open_sink(killed, product)
    done = sink.begin(overwrite=False)
    assert said <= done
    write_shards(sink, address_pixels(product.extent), set(product.shard_indices) - done)
    sink.finish()
    assert tree_digest(killed.parent) == tree_digest(straight.parent)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(small_disk, suffix, tmp_path, tree_digest):
    product = address_product(400, 400)
    noise = np.random.default_rng(0).integers(1, 256, product.shape, dtype=np.uint8)
    sink = open_sink(small_disk / f"x{suffix}", product)
    sink.begin(overwrite=False)
    with pytest.raises(OutputError, match=r"The disk is full at .*run the same command again"):
        write_shards(sink, noise, product.shard_indices)
    assert not sink.path.exists()
    grow(small_disk, "16m")
    done = sink.begin(overwrite=False)
    assert 0 < len(done) < len(product.shard_indices)
    write_shards(sink, noise, set(product.shard_indices) - done)
    sink.finish()
    (tmp_path / "elsewhere").mkdir()
    write_product(open_sink(tmp_path / "elsewhere" / f"x{suffix}", product), noise)
    assert tree_digest(small_disk) == tree_digest(tmp_path / "elsewhere")


# Things of the user's that look a little like ours


def test_a_zarr_store_of_somebody_else_is_never_replaced(tmp_path):
    sink = open_sink(tmp_path / "x.zarr", address_product(40, 40))
    write_product(sink)
    (sink.path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="is not a Zarr store of tilegen"):
        sink.begin(overwrite=True)
    (sink.path / "thesis.txt").unlink()
    sink.begin(overwrite=True)
    (sink.path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(OutputError, match="is not a Zarr store of tilegen"):
        sink.begin(overwrite=True)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize(
    ("name", "text"), [("mine.tmp", "precious"), ("manifest.json", '{"kind": "unfinished tilegen product"}')]
)
def test_a_folder_in_the_way_is_never_taken_for_ours(tmp_path, suffix, name, text):
    sink = open_sink(tmp_path / f"x{suffix}", address_product(40, 40))
    folder = tmp_path / f"x{suffix}.partial"
    folder.mkdir()
    (folder / name).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is in the way and was not made by tilegen"):
            sink.begin(overwrite=overwrite)
    assert (folder / name).read_text() == text
