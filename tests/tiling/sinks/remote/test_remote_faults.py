"""Servers that fail, go away and come back, and processes that are killed: the product ends with the same bytes."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest

from tilegen.errors import OutputError
from tilegen.testing.generators import CoordinateSource
from tilegen.testing.s3_server import BrokenWay
from tilegen.testing.sinks import address_pixels, address_product, write_product, write_shards
from tilegen.tiling.cluster import cluster
from tilegen.tiling.schedule import run_shards
from tilegen.tiling.sinks import open_sink

pytestmark = pytest.mark.cluster
SUFFIXES = [".zarr", ".tif"]
ONE_IN_HASTE = [".tif", pytest.param(".zarr", marks=pytest.mark.slow)]
SOURCE = CoordinateSource(tile_px=64)
USER = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@pytest.fixture
def product():
    """25 shards."""
    return address_product(270, 270, row0=-128, col0=320)


@pytest.fixture
def undisturbed(tmp_path, product):
    """The objects that a product must end with: the files of one process and a plain loop, on a disk."""

    def files_of(suffix):
        folder = tmp_path / "undisturbed"
        folder.mkdir()
        write_product(open_sink(folder / f"a{suffix}", product))
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    return files_of


@pytest.fixture(scope="module")
def way(s3_url):
    """What is between all processes and the server."""
    with BrokenWay(server=s3_url).open() as way:
        yield way


@pytest.fixture(scope="module")
def workers(way):
    with pytest.MonkeyPatch.context() as variables:
        for name, value in {**USER, "AWS_ENDPOINT_URL": way.url}.items():
            variables.setenv(name, value)
        with cluster(None, 2) as client:
            yield client


@pytest.fixture
def write(workers, way, environment, bucket, product):
    """Runs to the end on the workers, as long as there are some."""

    def run(suffix, report):
        environment(AWS_ENDPOINT_URL=way.url)
        sink = open_sink(f"s3://{bucket}/a{suffix}", product)
        way.seen.clear()
        try:
            run_shards(contextlib.nullcontext(workers), SOURCE, sink, report=report)
        finally:
            way.every = 0

    return run


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_request_in_ten_that_fails_costs_no_shard(write, way, contents_of, undisturbed, suffix):
    """Answers of 503 and 500, and connections that end in mid-request: obstore asks again."""
    way.every = 10
    retries = []
    write(suffix, lambda progress: retries.append(progress.retries))
    assert len(way.seen) > 100
    assert retries[-1] == 0
    assert contents_of() == undisturbed(suffix)


@pytest.mark.parametrize("suffix", ONE_IN_HASTE)
def test_a_server_that_goes_away_for_a_while_is_waited_for(write, way, contents_of, undisturbed, suffix):
    def report(progress):
        if progress.done == 10:
            way.restart(after_s=1.0)  # all connections break, and for a second nobody answers

    write(suffix, report)
    assert contents_of() == undisturbed(suffix)


@pytest.mark.parametrize("suffix", ONE_IN_HASTE)
def test_a_killed_worker_leaves_nothing_half_written(write, workers, contents_of, undisturbed, suffix):
    def report(progress):
        if progress.done in {3, 12}:
            os.kill(min(workers.run(os.getpid).values()), signal.SIGKILL)

    write(suffix, report)
    assert contents_of() == undisturbed(suffix)


def test_a_right_that_is_taken_away_ends_the_run_at_once(write, way, bucket, environment, product):
    def report(progress):
        way.refused = re.compile("PUT") if progress.done == 3 else way.refused

    try:
        with pytest.raises(OutputError, match=rf"denies access to s3://{bucket}/a\.zarr"):
            write(".zarr", report)
    finally:
        way.refused = None
    assert len(open_sink(f"s3://{bucket}/a.zarr", product).begin(overwrite=False)) >= 3


CLIENT = """
import sys
from tilegen.testing.sinks import address_pixels, address_product, write_shards
from tilegen.tiling.sinks import open_sink
product = address_product(270, 270, row0=-128, col0=320)
sink = open_sink(sys.argv[1], product)
done = sink.begin(overwrite=False)
pixels = address_pixels(product.extent)
for shard in sorted(set(product.shard_indices) - done):
    write_shards(sink, pixels, [shard])
    print(*shard, flush=True)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_client_is_resumed_with_the_same_bytes(s3, bucket, contents_of, undisturbed, product, suffix):
    """SIGKILL while the next shard is being written, twice over; what was done is not done again."""
    url, said = f"s3://{bucket}/a{suffix}", set()
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", CLIENT, url], stdout=subprocess.PIPE, text=True) as process:
            for _, line in zip(range(6), process.stdout, strict=False):
                said.add(tuple(map(int, line.split())))
            process.kill()
    assert f"a{suffix}" not in contents_of()
    assert "a.zarr/zarr.json" not in contents_of()
    sink = open_sink(url, product)
    done = sink.begin(overwrite=False)
    assert said <= done
    write_shards(sink, address_pixels(product.extent), set(product.shard_indices) - done)
    sink.finish()
    assert contents_of() == undisturbed(suffix)
