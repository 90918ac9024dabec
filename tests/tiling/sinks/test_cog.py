"""CogSink keeps the contract, and its files survive full disks, kills and foreign files in the way."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilegen.errors import OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.testing.disks import grow
from tilegen.testing.sinks import (
    SinkContract,
    address_pixels,
    address_product,
    reference_levels,
    write_product,
    write_shards,
)
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog import CogSink
from tilegen.tiling.sinks.cog_assembly import copy_bytes, copy_through_memory
from tilegen.tiling.sinks.encoding import CogEncoding


def read_levels(path):
    with rasterio.open(path) as source:
        factors = source.overviews(1)
        levels = [source.read()]
    for number in range(len(factors)):
        with rasterio.open(path, overview_level=number) as source:
            levels.append(source.read())
    return levels


class TestCogSink(SinkContract):
    compression = "deflate"

    def open(self, folder: Path, product: Product) -> CogSink:
        return CogSink(path=folder / "x.tif", product=product, encoding=CogEncoding(compression=self.compression))

    def read(self, folder: Path) -> list[np.ndarray] | None:
        path = folder / "x.tif"
        return read_levels(path) if path.exists() else None

    def digest(self, folder: Path) -> str:
        assert [entry.name for entry in folder.iterdir()] == ["x.tif"]
        return hashlib.sha256((folder / "x.tif").read_bytes()).hexdigest()


class TestZstdCogSink(TestCogSink):
    compression = "zstd"


@pytest.fixture
def product():
    return address_product(150, 133)


@pytest.fixture
def sink(tmp_path, product):
    return CogSink(path=tmp_path / "x.tif", product=product)


def test_the_old_product_stays_until_the_new_one_is_complete(sink, product):
    write_product(sink)
    before = sink.path.read_bytes()
    newer = replace(sink, product=address_product(150, 133, provenance={"seed": 8}))
    newer.begin(overwrite=True)
    write_shards(newer, address_pixels(product.extent), product.shard_indices)
    assert sink.path.read_bytes() == before
    newer.finish()
    with rasterio.open(sink.path) as source:
        assert source.tags()["seed"] == "8"


def test_compression_belongs_to_the_fingerprint(sink):
    sink.begin(overwrite=False)
    with pytest.raises(OutputError, match="different: options"):
        replace(sink, encoding=CogEncoding(compression="zstd")).begin(overwrite=False)


def test_the_refusal_says_what_differs(sink):
    sink.begin(overwrite=False)
    with pytest.raises(OutputError, match=r"different: extent, provenance.seed\)"):
        replace(sink, product=address_product(150, 134, provenance={"seed": 8, "model": {"digest": "00ff"}})).begin(
            overwrite=False
        )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_missing_folder_is_named(tmp_path, product, overwrite):
    with pytest.raises(OutputError, match="nowhere does not exist"):
        CogSink(path=tmp_path / "nowhere" / "x.tif", product=product).begin(overwrite=overwrite)


def put_folder(path):
    path.mkdir()
    (path / "precious").write_text("mine")


def put_text(path):
    path.write_text("not a TIFF")


def put_link(path):
    (path.parent / "elsewhere.tif").write_bytes(b"II+\0")
    path.symlink_to(path.parent / "elsewhere.tif")


@pytest.mark.parametrize("put", [put_folder, put_text, put_link])
@pytest.mark.parametrize("name", ["x.tif", "x.tif.partial"])
def test_what_tilegen_did_not_make_is_never_deleted(sink, put, name):
    put(sink.path.with_name(name))
    before = sorted((path, path.lstat().st_mtime_ns) for path in sink.path.parent.rglob("*"))
    with pytest.raises(OutputError):
        sink.begin(overwrite=True)
    assert sorted((path, path.lstat().st_mtime_ns) for path in sink.path.parent.rglob("*")) == before


def test_a_file_that_appears_meanwhile_is_kept(sink, product):
    sink.begin(overwrite=False)
    write_shards(sink, address_pixels(product.extent), product.shard_indices)
    sink.path.write_text("somebody was faster")
    with pytest.raises(OutputError, match="exists"):
        sink.finish()
    assert sink.path.read_text() == "somebody was faster"
    sink.path.unlink()
    sink.finish()
    assert len(read_levels(sink.path)) == product.num_levels


def test_leftovers_of_a_crash_are_swept(sink):
    sink.begin(overwrite=False)
    leftover = Path(f"{sink.path}.partial") / "shard-0-0.part.0123.tmp"
    leftover.write_bytes(b"half")
    sink.begin(overwrite=False)
    assert not leftover.exists()


def damage_by_cutting(part):
    os.truncate(part, part.stat().st_size - 1)


def damage_by_emptying(part):
    os.truncate(part, 0)


def damage_in_the_index(part):
    content = bytearray(part.read_bytes())
    content[-100] ^= 1
    part.write_bytes(content)


def damage_by_mixing_up(part):
    shutil.copy(part.with_name("shard-2-2.part"), part)


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_emptying, damage_in_the_index, damage_by_mixing_up])
def test_a_damaged_part_is_done_again(sink, product, damage):
    pixels = address_pixels(product.extent)
    sink.begin(overwrite=False)
    write_shards(sink, pixels, product.shard_indices)
    damage(Path(f"{sink.path}.partial") / "shard-1-0.part")
    with pytest.raises(OutputError, match=r"1 of 9 shards are missing, the first is \(1, 0\)"):
        sink.finish()
    assert sink.begin(overwrite=False) == set(product.shard_indices) - {(1, 0)}
    write_shards(sink, pixels, [(1, 0)])
    sink.finish()
    np.testing.assert_array_equal(read_levels(sink.path)[0], pixels)


def test_writing_without_begin_is_an_error(sink, product):
    with pytest.raises(OutputError, match="Begin the product first"):
        write_shards(sink, address_pixels(product.extent), [(0, 0)])


def test_the_plain_copy_is_the_same_as_the_copy_in_the_kernel(tmp_path):
    content = np.arange(70_000, dtype=np.uint16).tobytes()
    (tmp_path / "source").write_bytes(content)
    copies = []
    for copy in (copy_bytes, copy_through_memory):
        with (tmp_path / "source").open("rb") as source, (tmp_path / copy.__name__).open("w+b") as target:
            copy(source.fileno(), 1001, target.fileno(), 17, 100_000)
            copies.append(target.read())
            with pytest.raises(OutputError, match="ended early"):
                copy(source.fileno(), len(content) - 5, target.fileno(), 0, 6)
    assert copies[0] == copies[1] == bytes(17) + content[1001:101_001]


def test_a_crs_that_geotiff_cannot_express_is_refused_before_rendering(sink, product):
    rotated = (
        'GEOGCRS["rotated",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,'
        '298.257223563]]],DERIVINGCONVERSION["pole",METHOD["PROJ ob_tran o_proj=longlat"],'
        'PARAMETER["o_lat_p",39.25,ANGLEUNIT["degree",0.0174532925199433]],'
        'PARAMETER["o_lon_p",0,ANGLEUNIT["degree",0.0174532925199433]],'
        'PARAMETER["lon_0",18,ANGLEUNIT["degree",0.0174532925199433]]],'
        'CS[ellipsoidal,2],AXIS["longitude",east],AXIS["latitude",north],ANGLEUNIT["degree",0.0174532925199433]]'
    )
    derived = replace(product, georef=GeoReference(crs=rotated, res=0.1))
    with pytest.raises(OutputError, match="cannot express the CRS"):
        replace(sink, product=derived).begin(overwrite=False)


def test_a_disk_that_fills_up_while_joining_keeps_the_parts(small_disk):
    product = address_product(192, 192)
    noise = np.random.default_rng(0).integers(1, 256, product.shape, dtype=np.uint8)
    sink = CogSink(path=small_disk / "x.tif", product=product)
    sink.begin(overwrite=False)
    write_shards(sink, noise, product.shard_indices)
    with pytest.raises(OutputError, match="The disk is full"):
        sink.finish()
    assert not sink.path.exists()
    grow(small_disk, "16m")
    assert sink.begin(overwrite=False) == set(product.shard_indices)
    sink.finish()
    for found, wanted in zip(read_levels(sink.path), reference_levels(noise, product.num_levels), strict=True):
        np.testing.assert_array_equal(found, wanted)
