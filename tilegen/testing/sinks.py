"""SinkContract: what every sink promises, as tests; and pixels that carry their own address."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jaxtyping import UInt, UInt8

from tilegen.errors import OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.tiling.aoi import Aoi
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.protocol import Sink

CHUNK_PX, SHARD_PX = 16, 64
_BASE = 255


def contents(product: Path) -> dict[str, bytes]:
    """All files of a product, by their path below it."""
    files = [product] if product.is_file() else [file for file in product.rglob("*") if file.is_file()]
    return {str(file.relative_to(product)): file.read_bytes() for file in files}


def address_pixels(window: Window) -> UInt8[np.ndarray, "3 rows cols"]:
    """Three bands that spell the absolute row and column of each pixel, in 1..255: a misplaced tile shows.

    The first two bands are row and column modulo 255, the third mixes the multiples; unique within 4080 x 4080 pixels.
    """
    rows, cols = np.mgrid[window.row0 : window.row1, window.col0 : window.col1]
    multiples = 16 * (rows // _BASE % 16) + cols // _BASE % 16
    return (1 + np.stack([rows, cols, multiples]) % _BASE).astype(np.uint8)


def address_product(
    height: int, width: int, *, row0: int = -70, col0: int = 300, provenance: dict[str, Any] | None = None
) -> Product:
    """A small product in UTM with 16-px chunks and 64-px shards; by default its extent spans negative rows."""
    return Product(
        extent=Window.from_size(height, width, row0=row0, col0=col0),
        georef=GeoReference(crs="EPSG:32633", res=0.5),
        band_names=("red", "green", "blue"),
        provenance={"seed": 7, "model": {"digest": "00ff"}} if provenance is None else provenance,
        chunk_px=CHUNK_PX,
        shard_px=SHARD_PX,
    )


def two_corners(product: Product) -> Product:
    """`product` with an AOI of two parts, one with a hole: in the first of 3 x 3 shards, and in the last."""
    row0, col0 = product.extent.row0, product.extent.col0
    triangle = shapely.polygons([(5, 5), (55, 5), (5, 60)], holes=[[(10, 10), (25, 10), (10, 25)]])
    parts = shapely.multipolygons([triangle, shapely.box(130, 130, 131, 149)])
    res = product.georef.res
    polygon = shapely.transform(parts, lambda xy: np.add(xy, (col0, row0)) * (res, -res))
    return replace(product, aoi=Aoi(wkb=shapely.to_wkb(polygon), georef=product.georef))


def reference_levels(
    pixels: UInt8[np.ndarray, "bands rows cols"], num_levels: int
) -> list[UInt8[np.ndarray, "bands _ _"]]:
    """All levels of an image by masked means: the plain answer that sinks are compared with."""
    levels = [pixels]
    while len(levels) < num_levels:
        bands, rows, cols = levels[-1].shape
        padded = np.pad(levels[-1], ((0, 0), (0, rows % 2), (0, cols % 2)))
        blocks = padded.reshape(bands, -(-rows // 2), 2, -(-cols // 2), 2)
        means = np.ma.masked_equal(blocks, 0).mean(axis=(2, 4)).filled(0.0)
        levels.append(np.floor(means + 0.5).astype(np.uint8))
    return levels


def write_shards(sink: Sink, pixels: UInt[np.ndarray, "bands rows cols"], shards: Iterable[tuple[int, int]]) -> None:
    """Write some shards of `pixels`, which covers the extent of the product."""
    product = sink.product
    for shard in shards:
        sink.write(shard, pixels[:, *product.shard_window(shard).within(product.extent)])


def write_product(sink: Sink, pixels: UInt[np.ndarray, "bands rows cols"] | None = None) -> None:
    """Write a whole product, with its addresses for pixels unless others are given."""
    sink.begin(overwrite=False)
    pixels = address_pixels(sink.product.extent) if pixels is None else pixels
    write_shards(sink, pixels, sink.product.shard_indices)
    sink.finish()


# Odd sizes, one pixel more than a shard, less than a chunk, exactly a chunk, exactly a shard, a single pixel.
_sides = st.one_of(st.sampled_from([1, 15, 16, 17, 63, 64, 65, 129]), st.integers(1, 140))
_starts = st.one_of(st.integers(-200, 200), st.sampled_from([-(2**40), 2**40 - 1]))


class SinkContract(ABC):
    """Every sink passes these. Subclass, say how to open, read and digest, add nothing."""

    height, width = 150, 133

    @abstractmethod
    def open(self, folder: Path, product: Product) -> Sink:
        """The sink that writes `product` to the one place in `folder`; opened twice, it is the same place."""

    @abstractmethod
    def read(self, folder: Path) -> list[np.ndarray] | None:
        """All levels of the finished product in `folder`, or None where a user would see none."""

    @abstractmethod
    def digest(self, folder: Path) -> str:
        """Digest over every byte of the finished product in `folder`."""

    def product(self, **changes: Any) -> Product:
        """The product of most tests: 3 x 3 shards with remainders, five levels of which shards own three."""
        return address_product(self.height, self.width, **changes)

    def test_every_pixel_is_in_its_place_on_every_level(self, tmp_path: Path) -> None:
        """A tile in the wrong place would show a wrong address."""
        write_product(self.open(tmp_path, self.product()))
        self._assert_shows(tmp_path, address_pixels(self.product().extent))

    @given(height=_sides, width=_sides, row0=_starts, col0=_starts)
    @example(height=257, width=33, row0=-1, col0=0)
    @settings(max_examples=12, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
    def test_any_extent_comes_back(self, height: int, width: int, row0: int, col0: int) -> None:
        """Odd, tiny, negative and far extents included."""
        product = address_product(height, width, row0=row0, col0=col0)
        with tempfile.TemporaryDirectory() as folder:
            write_product(self.open(Path(folder), product))
            self._assert_shows(Path(folder), address_pixels(product.extent))

    def test_nodata_stays_nodata_and_bleeds_into_no_mean(self, tmp_path: Path) -> None:
        """A hole of whole shards, of whole chunks and of single pixels."""
        product = self.product()
        pixels = address_pixels(product.extent)
        pixels[:, :70, :70] = 0
        pixels[:, 100:133, 80:99] = 0
        pixels[1, 140, ::3] = 0
        write_product(self.open(tmp_path, product), pixels)
        self._assert_shows(tmp_path, pixels)

    def test_a_product_of_nothing_but_nodata_is_a_product(self, tmp_path: Path) -> None:
        """Sinks store nothing for it, and still know that it is done."""
        product = self.product()
        nothing = np.zeros(product.shape, np.uint8)
        sink = self.open(tmp_path, product)
        sink.begin(overwrite=False)
        write_shards(sink, nothing, product.shard_indices[:5])
        assert self.open(tmp_path, product).begin(overwrite=False) == set(product.shard_indices[:5])
        write_shards(sink, nothing, product.shard_indices[5:])
        sink.finish()
        self._assert_shows(tmp_path, nothing)

    def test_what_lies_outside_of_an_aoi_is_nodata_and_needs_no_shard(self, tmp_path: Path) -> None:
        """The product is finished without them, shows nodata there on all levels, and takes up as it was left."""
        product = two_corners(self.product())
        if product.aoi is None:
            raise AssertionError
        assert (product.shard_indices, product.num_shards) == ([(0, 0), (2, 2)], 2)
        pixels = np.where(product.aoi.mask(product.extent), address_pixels(product.extent), 0).astype(np.uint8)
        sink = self.open(tmp_path, product)
        sink.begin(overwrite=False)
        write_shards(sink, pixels, [(2, 2)])
        with pytest.raises(OutputError, match="1 of 2 shards are missing"):
            sink.finish()
        with pytest.raises(OutputError, match="another run"):
            self.open(tmp_path, self.product()).begin(overwrite=False)
        sink = self.open(tmp_path, product)
        assert sink.begin(overwrite=False) == {(2, 2)}
        write_shards(sink, pixels, [(0, 0)])
        sink.finish()
        self._assert_shows(tmp_path, pixels)

    def test_order_and_repetition_of_shards_change_no_byte(self, tmp_path: Path) -> None:
        """Retries and duplicates of tasks are harmless."""
        straight, shuffled = tmp_path / "straight", tmp_path / "shuffled"
        straight.mkdir()
        shuffled.mkdir()
        product = self.product()
        write_product(self.open(straight, product))
        sink = self.open(shuffled, product)
        sink.begin(overwrite=False)
        shards = product.shard_indices
        write_shards(sink, address_pixels(product.extent), [*shards[::-2], *shards, *shards[::-3]])
        sink.finish()
        assert self.digest(shuffled) == self.digest(straight)

    def test_an_interrupted_run_goes_on_where_it_was(self, tmp_path: Path) -> None:
        """The second run is told what is done, and ends with the same bytes as an undisturbed one."""
        straight, broken = tmp_path / "straight", tmp_path / "broken"
        straight.mkdir()
        broken.mkdir()
        product = self.product()
        write_product(self.open(straight, product))
        pixels, shards = address_pixels(product.extent), product.shard_indices
        first = self.open(broken, product)
        assert first.begin(overwrite=False) == set()
        write_shards(first, pixels, shards[2:6])
        second = self.open(broken, product)
        done = second.begin(overwrite=False)
        assert done == set(shards[2:6])
        write_shards(second, pixels, [shard for shard in shards if shard not in done])
        second.finish()
        assert self.digest(broken) == self.digest(straight)

    def test_an_unfinished_product_is_not_visible(self, tmp_path: Path) -> None:
        """Neither while it grows nor after a `finish` that came too early."""
        product = self.product()
        sink = self.open(tmp_path, product)
        sink.begin(overwrite=False)
        write_shards(sink, address_pixels(product.extent), product.shard_indices[:-1])
        assert self.read(tmp_path) is None
        with pytest.raises(OutputError, match="1 of 9 shards are missing"):
            sink.finish()
        assert self.read(tmp_path) is None

    def test_a_finished_product_is_kept_unless_asked(self, tmp_path: Path) -> None:
        """Neither the same product nor another one may take its place."""
        write_product(self.open(tmp_path, self.product()))
        before = self.digest(tmp_path)
        for product in (self.product(), self.product(provenance={"seed": 8})):
            with pytest.raises(OutputError, match=r"exists\. Give another .* or --overwrite\."):
                self.open(tmp_path, product).begin(overwrite=False)
        assert self.digest(tmp_path) == before

    def test_overwriting_ends_with_the_new_product_alone(self, tmp_path: Path) -> None:
        """And with the bytes it would have had anywhere else."""
        fresh, used = tmp_path / "fresh", tmp_path / "used"
        fresh.mkdir()
        used.mkdir()
        write_product(self.open(used, address_product(200, 90)))
        sink = self.open(used, self.product())
        assert sink.begin(overwrite=True) == set()
        write_shards(sink, address_pixels(sink.product.extent), sink.product.shard_indices)
        sink.finish()
        write_product(self.open(fresh, self.product()))
        assert self.digest(used) == self.digest(fresh)

    def test_an_unfinished_product_of_another_run_is_refused(self, tmp_path: Path) -> None:
        """Its shards must not end in this product; with `overwrite` they are thrown away."""
        pixels = address_pixels(self.product().extent)
        sink = self.open(tmp_path, self.product())
        sink.begin(overwrite=False)
        write_shards(sink, pixels, [(0, 0)])
        other = self.open(tmp_path, self.product(provenance={"seed": 8}))
        with pytest.raises(OutputError, match=r"another run.*--overwrite"):
            other.begin(overwrite=False)
        assert self.open(tmp_path, self.product()).begin(overwrite=False) == {(0, 0)}
        assert other.begin(overwrite=True) == set()

    def _assert_shows(self, folder: Path, pixels: np.ndarray) -> None:
        levels = self.read(folder)
        assert levels is not None
        expected = reference_levels(pixels, len(levels))
        for level, (found, wanted) in enumerate(zip(levels, expected, strict=True)):
            np.testing.assert_array_equal(found, wanted, err_msg=f"level {level}")
