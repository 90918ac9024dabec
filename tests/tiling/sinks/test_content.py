"""A shard counts as finished if it holds the bytes that were written; damage of any kind is found and made good."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilegen.errors import StoreError
from tilegen.testing.sinks import address_pixels, address_product, contents, write_product, write_shards
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.sinks.zarr_ledger import Ledger

PRODUCT = address_product(150, 133)
SUFFIXES = [".tif", ".zarr"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """For each format, a folder with a product of which one shard of nine is missing."""
    folder = tmp_path_factory.mktemp("begun")
    for suffix in SUFFIXES:
        sink = open_sink(folder / f"a{suffix}", PRODUCT)
        sink.begin(overwrite=False)
        write_shards(sink, address_pixels(PRODUCT.extent), PRODUCT.shard_indices[:-1])
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    for suffix in SUFFIXES:
        write_product(open_sink(folder / f"a{suffix}", PRODUCT))
    return folder


def files_of(folder, suffix):
    """What holds shards and coordinates, or speaks of them."""
    partial = folder / f"a{suffix}.partial"
    found = [*partial.glob("*.part"), *partial.glob("done/*"), *partial.glob("store/**/*")]
    return sorted(path for path in found if path.is_file())


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def cut(path, bit):
    path.write_bytes(path.read_bytes()[: bit // 8 % path.stat().st_size])


def lengthen(path, bit):
    path.write_bytes(path.read_bytes() + bytes(1 + bit % 9))


def remove(path, bit):
    path.unlink()


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data(), bit=st.integers(0, 1 << 24), damage=st.sampled_from([flip, cut, lengthen, remove]))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_shard_that_is_damaged_is_written_again(begun, finished, tmp_path_factory, suffix, data, bit, damage):
    """Any bit of any file; a cut may be by one byte. Planted: sizes alone let every flipped bit of pixels through."""
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(begun / f"a{suffix}.partial", folder / f"a{suffix}.partial")
    damage(data.draw(st.sampled_from(files_of(folder, suffix))), bit)
    sink = open_sink(folder / f"a{suffix}", PRODUCT)
    done = sink.begin(overwrite=False)
    assert len(done) in {7, 8}  # coordinates belong to no shard
    assert done <= set(PRODUCT.shard_indices[:-1])
    write_shards(sink, address_pixels(PRODUCT.extent), [shard for shard in PRODUCT.shard_indices if shard not in done])
    sink.finish()
    assert contents(folder / f"a{suffix}") == contents(finished / f"a{suffix}")
    shutil.rmtree(folder)


def test_a_note_is_not_made_of_files_that_were_taken_away(begun, tmp_path):
    """A task of a run that was killed goes on for a moment, and the next run sweeps what nobody vouches for."""
    store = begun / "a.zarr.partial" / "store"
    ledger = Ledger(folder=tmp_path / "done", store=store)
    with pytest.raises(StoreError, match="was taken away"):
        ledger.note((0, 0), [Path("image/c/0/0/0"), Path("ovr_2x/image/c/0/9/9")])
    assert not (tmp_path / "done").exists() or not list((tmp_path / "done").iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_not_damaged_is_not_written_again(begun, tmp_path, suffix):
    shutil.copytree(begun / f"a{suffix}.partial", tmp_path / f"a{suffix}.partial")
    assert open_sink(tmp_path / f"a{suffix}", PRODUCT).begin(overwrite=False) == set(PRODUCT.shard_indices[:-1])


def test_what_a_killed_worker_was_writing_is_not_in_the_product(finished, tmp_path):
    """Zarr writes beside the place of a file, and a kill leaves that there."""
    sink = open_sink(tmp_path / "a.zarr", PRODUCT)
    sink.begin(overwrite=False)
    write_shards(sink, address_pixels(PRODUCT.extent), PRODUCT.shard_indices)
    chunk = tmp_path / "a.zarr.partial/store/image/c/0/0/0"
    chunk.with_name(f"0.{'0' * 32}.partial").write_bytes(b"half")
    sink.finish()
    assert contents(tmp_path / "a.zarr") == contents(finished / "a.zarr")
