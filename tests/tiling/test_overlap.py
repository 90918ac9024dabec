"""A GPU renders on while shards are stored, and no further than what can be stored is held."""

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilegen.errors import OutputError
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer, CoordinateSource
from tilegen.testing.sinks import address_pixels, address_product
from tilegen.tiling.cluster import cluster
from tilegen.tiling.schedule import run_shards
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.sinks.cog import CogSink
from tilegen.tiling.sinks.protocol import Sink
from tilegen.tiling.task import STORING_AT_ONCE

pytestmark = pytest.mark.cluster
PATIENCE_S = 60.0
"""Of a test that fails; nothing here waits that long, or compares times."""


class Watch:
    """What the threads of one worker in this process are at."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.restart()

    def restart(self) -> None:
        self.rendered = self.storing = self.stored = self.most_held = self.most_storing = 0

    def note(self, **changes: int) -> None:
        with self.changed:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)
            self.most_held = max(self.most_held, self.rendered - self.stored)
            self.most_storing = max(self.most_storing, self.storing)
            self.changed.notify_all()

    def wait_until_rendered(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.rendered >= count, PATIENCE_S)


watch = Watch()


@pytest.fixture(autouse=True)
def _fresh_watch():
    watch.restart()


@dataclass(frozen=True, kw_only=True)
class WatchedSource:
    """Counts shards of one tile, painted as by a GPU: with a core left to store them."""

    off_cpu: bool = True

    def open(self) -> "WatchedRenderer":
        return WatchedRenderer(tile_px=64)


class WatchedRenderer(CoordinateRenderer):
    def render_tile(self, tile: Window) -> np.ndarray:
        pixels = super().render_tile(tile)
        watch.note(rendered=1)
        return pixels


class WatchedSink(CogSink):
    """A COG of which each shard is stored only when as many as `waits_for` were rendered."""

    waits_for = 0

    def write(self, shard: tuple[int, int], pixels: np.ndarray) -> None:
        watch.note(storing=1)
        try:
            assert watch.wait_until_rendered(self.waits_for)
            super().write(shard, pixels)
        finally:
            watch.note(storing=-1, stored=1)


class SinkThatNeedsTheNextShard(WatchedSink):
    waits_for = 2


class SinkThatNeedsAllThatFits(WatchedSink):
    waits_for = 1 + STORING_AT_ONCE


class SinkThatRefuses(WatchedSink):
    waits_for = 2

    def write(self, shard: tuple[int, int], pixels: np.ndarray) -> None:
        super().write(shard, pixels)
        if shard == (1, 0):
            raise OutputError("The disk is full.")


PRODUCT = address_product(256, 128, row0=0, col0=0)  # eight shards of one tile each


def run(sink: Sink, *, off_cpu: bool = True) -> None:
    """On one worker with one thread, in this process."""
    run_shards(cluster(None, 1, processes=False), WatchedSource(off_cpu=off_cpu), sink)


def plain_bytes(folder: Path) -> bytes:
    """The product of one shard after the other."""
    sink = open_sink(folder / "plain.tif", PRODUCT)
    run_shards(cluster(None, 1), CoordinateSource(tile_px=64), sink)
    return (folder / "plain.tif").read_bytes()


def test_the_next_shard_is_rendered_while_one_is_stored(tmp_path):
    """Each waits for the next to be rendered: a worker that does one thing after the other would stand still."""
    run(SinkThatNeedsTheNextShard(path=tmp_path / "a.tif", product=PRODUCT))
    assert (tmp_path / "a.tif").read_bytes() == plain_bytes(tmp_path)


def test_no_more_is_rendered_than_can_be_held(tmp_path):
    run(SinkThatNeedsAllThatFits(path=tmp_path / "a.tif", product=PRODUCT))
    assert watch.rendered == watch.stored == len(PRODUCT.shard_indices)
    assert watch.most_storing == STORING_AT_ONCE
    assert watch.most_held == 1 + STORING_AT_ONCE
    with rasterio.open(tmp_path / "a.tif") as tiff:
        np.testing.assert_array_equal(tiff.read(), address_pixels(PRODUCT.extent))


def test_what_goes_wrong_while_the_next_is_rendered_is_said(tmp_path):
    """And the run goes on from there."""
    with pytest.raises(OutputError, match=r"^The disk is full\.$"):
        run(SinkThatRefuses(path=tmp_path / "a.tif", product=PRODUCT))
    assert not (tmp_path / "a.tif").exists()
    run(CogSink(path=tmp_path / "a.tif", product=PRODUCT))
    assert (tmp_path / "a.tif").read_bytes() == plain_bytes(tmp_path)


def test_on_a_cpu_a_worker_has_one_shard_at_a_time(tmp_path):
    """Rendering and storing share its core: side by side they win little, and lose two shards when it is killed."""
    run(WatchedSink(path=tmp_path / "a.tif", product=PRODUCT), off_cpu=False)
    assert watch.most_held == watch.most_storing == 1
