"""Finished products as sources: written again they are, byte by byte, what was written in the first place."""

import json
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.sinks import CHUNK_PX, SHARD_PX, address_pixels, contents, write_product
from tilegen.tiling.aoi import Aoi
from tilegen.tiling.finished import extent_of, stored_anchor
from tilegen.tiling.product import Product
from tilegen.tiling.render import RendererSource, TileRenderer, render_window
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.stored import open_stored

FORMATS = [("tif", "zarr"), ("zarr", "tif"), ("zarr", "zarr"), ("tif", "tif")]
MADE = {
    "synthetic": True,
    "software": "tilegen 0.1.0",
    "model_digest": "00ff",
    "seed": 2**64 - 1,
    "scale_seeds": {"region": 5, "local": 2**63},
    "truncation_psi": 1.0,
    "prior": {"scales": [{"name": "world", "sigma_cells": None}, {"name": "local", "channels": 8}], "content": 0.5},
    "licence": "2026",  # text, whatever it looks like
    "attribution": None,
    "café": 'said "so" & <so>',
}
CUSTOM_CRS = (
    'PROJCRS["nowhere",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,'
    '298.257223563]]],CONVERSION["unnamed",METHOD["Transverse Mercator"],PARAMETER["Latitude of natural origin",12],'
    'PARAMETER["Longitude of natural origin",34],PARAMETER["Scale factor at natural origin",1],'
    'PARAMETER["False easting",0],PARAMETER["False northing",0]],CS[Cartesian,2],AXIS["easting",east],'
    'AXIS["northing",north],LENGTHUNIT["metre",1]]'
)


def product_of(extent: Window, **changes: Any) -> Product:
    settings: dict[str, Any] = {
        "extent": extent,
        "georef": GeoReference(crs="EPSG:32633", res=0.3),
        "band_names": ("red", "green", "blue"),
        "provenance": MADE,
        "chunk_px": CHUNK_PX,
        "shard_px": SHARD_PX,
    }
    return Product(**settings | changes)


def written(folder: Path, kind: str, product: Product, pixels: np.ndarray | None = None) -> Path:
    path = folder / f"first.{kind}"
    write_product(open_sink(path, product), pixels)
    return path


def exported(path: Path, target: Path, **layout: int) -> Path:
    product, source = open_stored(path, **layout)
    sink, renderer = open_sink(target, product), pickle.loads(pickle.dumps(source)).open()
    sink.begin(overwrite=False)
    for shard in product.shard_indices:
        sink.write(shard, render_window(renderer, product.shard_window(shard)))
    sink.finish()
    return target


sides = st.one_of(st.sampled_from([1, 15, 16, 17, 63, 64, 65, 129]), st.integers(1, 140))
starts = st.one_of(st.integers(-200, 200), st.sampled_from([-(2**40), 2**40 - 1]))


@pytest.mark.parametrize(("kind", "wanted"), FORMATS)
@given(height=sides, width=sides, row0=starts, col0=starts)
@example(height=150, width=133, row0=-70, col0=300)
@settings(max_examples=3, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
def test_any_product_becomes_what_a_run_would_have_written(
    kind: str, wanted: str, height: int, width: int, row0: int, col0: int
) -> None:
    """In either format: pixels, overviews, georeference, provenance and the order of all that. Far extents too."""
    product = product_of(Window.from_size(height, width, row0=row0, col0=col0))
    with tempfile.TemporaryDirectory() as name:
        (folder := Path(name) / "again").mkdir()
        path, expected = written(Path(name), kind, product), written(folder, wanted, product)
        # A GeoTIFF does not say what its shards were.
        found = exported(path, Path(name) / f"second.{wanted}", shard_px=SHARD_PX)
        assert contents(found) == contents(expected)


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_a_product_that_is_opened_is_the_one_that_was_written(tmp_path: Path, kind: str) -> None:
    """Fingerprint included: an export goes on with what `generate` began, and the other way round."""
    product = product_of(Window.from_size(100, 130, row0=-70, col0=300), band_names=("red", "nir"))
    pixels = address_pixels(product.extent)[:2]
    found, source = open_stored(written(tmp_path, kind, product, pixels), shard_px=SHARD_PX)
    assert found == product
    assert list(found.provenance) == list(MADE)
    assert found.fingerprint == product.fingerprint
    assert isinstance(source, RendererSource)
    assert isinstance(source.open(), TileRenderer)


@pytest.mark.parametrize(("kind", "wanted"), FORMATS)
def test_holes_stay_holes(tmp_path: Path, kind: str, wanted: str) -> None:
    product = product_of(Window.from_size(150, 133, row0=-70))
    pixels = address_pixels(product.extent)
    pixels[:, :70, :70] = 0
    pixels[1, 140, ::3] = 0
    (tmp_path / "again").mkdir()
    expected = written(tmp_path / "again", wanted, product, pixels)
    found = exported(written(tmp_path, kind, product, pixels), tmp_path / f"second.{wanted}", shard_px=SHARD_PX)
    assert contents(found) == contents(expected)


@pytest.mark.parametrize(("kind", "wanted"), FORMATS)
@pytest.mark.parametrize(("chunk_px", "shard_px"), [(32, 32), (16, 128), (64, 64)])
def test_another_layout_is_that_of_a_run(tmp_path: Path, kind: str, wanted: str, chunk_px: int, shard_px: int) -> None:
    extent, layout = Window.from_size(150, 133, row0=-70), {"chunk_px": chunk_px, "shard_px": shard_px}
    (tmp_path / "again").mkdir()
    expected = written(tmp_path / "again", wanted, product_of(extent, **layout))
    path = written(tmp_path, kind, product_of(extent))
    assert contents(exported(path, tmp_path / f"second.{wanted}", **layout)) == contents(expected)


@pytest.mark.parametrize("crs", ["epsg:4326", "OGC:CRS84", "urn:ogc:def:crs:EPSG::32611", "ESRI:54009", CUSTOM_CRS])
def test_a_crs_comes_back_however_it_was_spelled(tmp_path: Path, crs: str) -> None:
    """Byte by byte from Zarr; from the keys of a GeoTIFF the same CRS, maybe by another name."""
    product = product_of(Window.from_size(20, 30), georef=GeoReference(crs=crs, res=0.001))
    (tmp_path / "again").mkdir()
    from_zarr, from_tiff = written(tmp_path, "zarr", product), written(tmp_path / "again", "tif", product)
    assert contents(exported(from_zarr, tmp_path / "a.tif")) == contents(from_tiff)
    assert contents(exported(from_zarr, tmp_path / "a.zarr")) == contents(from_zarr)
    found, _ = open_stored(from_tiff)
    with rasterio.open(from_tiff) as tiff:
        assert rasterio.crs.CRS.from_wkt(found.georef.wkt) == tiff.crs


def test_the_shards_of_a_geotiff_are_those_of_generate_unless_somebody_says(tmp_path: Path) -> None:
    path = written(tmp_path, "tif", product_of(Window.from_size(20, 30)))
    assert [open_stored(path, chunk_px=chunk_px)[0].shard_px for chunk_px in (None, 16, 512, 2048, 4096)] == [
        2048, 2048, 2048, 2048, 16384,
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "wanted"), FORMATS)
def test_an_aoi_and_the_grid_of_another_file_come_along(tmp_path: Path, kind: str, wanted: str) -> None:
    georef = GeoReference(crs="EPSG:32633", res=0.5, anchor=(0.125, 0.25))
    polygon = shapely.Point(120.0, 30.0).buffer(71.3).difference(shapely.box(100, 20, 130, 40))
    aoi = Aoi(wkb=shapely.to_wkb(polygon), georef=georef)
    made = MADE | {"grid_anchor": list(georef.anchor), "aoi": aoi.provenance()}
    product = product_of(aoi.covering(), georef=georef, provenance=made, aoi=aoi)
    pixels = address_pixels(product.extent) * aoi.mask(product.extent)
    (tmp_path / "again").mkdir()
    expected = written(tmp_path / "again", wanted, product, pixels)
    path = written(tmp_path, kind, product, pixels)
    assert open_stored(path, shard_px=SHARD_PX)[0] == product
    assert product.num_shards < product.shards.indices(product.extent).height ** 2  # corners are not drawn
    assert contents(exported(path, tmp_path / f"second.{wanted}", shard_px=SHARD_PX)) == contents(expected)


@pytest.mark.parametrize(("kind", "wanted"), FORMATS)
@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.0, -0.5)])
def test_sixteen_bits_and_what_they_mean_come_along(
    tmp_path: Path, kind: str, wanted: str, offsets: tuple[float, float]
) -> None:
    meaning = {"dtype": "uint16", "scales": (0.25, 0.25), "offsets": offsets}
    product = product_of(Window.from_size(100, 130), band_names=("nir", "swir"), **meaning)
    pixels = np.arange(1, 26001, dtype=np.uint16).reshape(2, 100, 130) * 2
    (tmp_path / "again").mkdir()
    expected = written(tmp_path / "again", wanted, product, pixels)
    found = exported(written(tmp_path, kind, product, pixels), tmp_path / f"second.{wanted}", shard_px=SHARD_PX)
    assert contents(found) == contents(expected)


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("zarr", {"zarr_format": 2, "layout": "groups"}),
        ("zarr", {"sharded": False}),
        ("tif", {"compression": "lzw"}),
        ("tif", {"compression": "webp", "quality": 100}),
    ],
)
def test_however_it_was_stored(tmp_path: Path, kind: str, encoding: dict[str, Any]) -> None:
    """The first tile is a hole, so that GDAL cannot look at it to say whether it lost anything."""
    product = product_of(Window.from_size(150, 133, row0=-70))
    pixels = address_pixels(product.extent)
    pixels[:, :70, :70] = 0
    path = tmp_path / f"first.{kind}"
    write_product(open_sink(path, product, encoding), pixels)
    (tmp_path / "again").mkdir()
    expected = written(tmp_path / "again", "tif", product, pixels)
    assert contents(exported(path, tmp_path / "second.tif", shard_px=SHARD_PX)) == contents(expected)


# What is refused


def refusal(path: Path, **layout: int) -> str:
    with pytest.raises(InputError) as refused:
        open_stored(path, **layout)
    said = str(refused.value)
    assert "\n" not in said
    return said.replace(str(path), path.name)


def test_what_is_not_finished_is_not_exported(tmp_path: Path) -> None:
    product = product_of(Window.from_size(100, 130))
    for name in ("a.tif", "a.zarr"):
        assert refusal(tmp_path / name) == f"{name} does not exist."
        sink = open_sink(tmp_path / name, product)
        sink.begin(overwrite=False)
        sink.write((0, 0), address_pixels(product.shard_window((0, 0))))
        assert refusal(tmp_path / name).startswith(f"{name} is not finished. Give the command that makes it again")
        assert refusal(tmp_path / f"{name}.partial").endswith("is not a Zarr store that tilegen finished.")
    assert refusal(tmp_path / "a.zarr.partial" / "store").startswith("store is not finished.")


def test_what_tilegen_did_not_make_is_not_exported(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8", "crs": "EPSG:3857"}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, transform=rasterio.Affine(1, 0, 9, 0, -1, 9)):
        pass
    (tmp_path / "b.tif").write_text("my thesis")
    zarr.save_array(str(tmp_path / "c.zarr"), np.zeros((3, 8, 8), np.uint8))
    zarr.open_group(str(tmp_path / "d.zarr"), mode="w")
    (tmp_path / "e.zarr").mkdir()
    assert refusal(tmp_path / "a.tif").startswith("a.tif does not say what made it.")
    assert refusal(tmp_path / "b.tif") == "b.tif is neither a GeoTIFF nor a Zarr store of tilegen."
    for name in ("c.zarr", "d.zarr", "e.zarr"):
        assert refusal(tmp_path / name) == f"{name} is not a Zarr store that tilegen finished."


@pytest.mark.parametrize(
    ("transform", "anchor", "said"),
    [
        ((0.3, 0, 0.1, 0, -0.3, 0), (0, 0), "does not lie on the grid"),
        ((0.3, 0, 0, 0, -0.6, 0), (0, 0), "does not lie on the grid"),
        ((0.3, 0.1, 0, 0, -0.3, 0), (0, 0), "does not lie on the grid"),
        ((-0.3, 0, 0, 0, 0.3, 0), (0, 0), "does not lie on the grid"),
        ((0.3, 0, 0), (0, 0), "does not lie on the grid"),
        ((0.5, 0, 2.0**51, 0, -0.5, 0), (0, 0), "lies so far from the origin"),
        ((0.5, 0, 1, 0, -0.5, 0), (0.25, 0), "does not lie on the grid"),
    ],
)
def test_what_lies_on_no_grid_has_no_extent(transform, anchor, said) -> None:
    with pytest.raises(InputError, match=f"^a.tif {said}"):
        extent_of("a.tif", (10, 20), tuple(map(float, transform)), tuple(map(float, anchor)))
    window = extent_of("a.tif", (10, 20), (0.5, 0.0, 4.75, 0.0, -0.5, 3.0), (0.25, 0.0))
    assert window == Window.from_size(10, 20, row0=-6, col0=9)


@pytest.mark.parametrize("anchor", [[1], "x", None, [1, "a"]])
def test_an_anchor_that_is_none_is_refused(anchor) -> None:
    with pytest.raises(InputError, match=r"^a\.tif does not lie on the grid of a world\. Was it moved\?$"):
        stored_anchor("a.tif", {"grid_anchor": anchor})


def test_a_geotiff_that_somebody_changed_is_not_exported(tmp_path: Path) -> None:
    """Copied by GDAL, or edited in place: its tags still say that tilegen made it."""
    path = written(tmp_path, "tif", product_of(Window.from_size(100, 130)))
    copy = tmp_path / "copy.tif"
    for options in ({"driver": "GTiff"}, *({"driver": "COG", "compress": codec} for codec in ("ZSTD", "JPEG"))):
        rasterio.shutil.copy(path, copy, **options)
        assert refusal(copy).startswith("copy.tif was changed since tilegen wrote it.")
        copy.unlink()
    lossy = tmp_path / "lossy.tif"
    write_product(open_sink(lossy, product_of(Window.from_size(100, 130)), {"compression": "jpeg"}))
    assert refusal(lossy).startswith("lossy.tif is lossy: its pixels are not those of the world.")
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as tiff:
        tiff.transform = rasterio.Affine(0.3, 0, 0.3, 0, -0.3, 0)
    assert refusal(path).startswith("first.tif was changed since tilegen wrote it.")


def test_a_zarr_store_that_somebody_moved_is_not_exported(tmp_path: Path) -> None:
    path = written(tmp_path, "zarr", product_of(Window.from_size(100, 130)))
    said = json.loads((path / "zarr.json").read_text())
    said["attributes"]["spatial:transform"][2] = 0.1
    (path / "zarr.json").write_text(json.dumps(said))
    assert "does not lie on the grid of a world" in refusal(path)


@pytest.mark.parametrize("layout", [{"chunk_px": 0}, {"chunk_px": 48}, {"chunk_px": 64, "shard_px": 96}], ids=str)
def test_a_layout_that_is_none_is_refused(tmp_path: Path, layout: dict) -> None:
    path = written(tmp_path, "zarr", product_of(Window.from_size(100, 130)))
    assert " must be " in refusal(path, **layout)


# Damage


def test_a_file_that_is_missing_is_no_hole(tmp_path: Path) -> None:
    """Zarr reads nodata there. The overviews of the shard know better."""
    path = written(tmp_path, "zarr", product_of(Window.from_size(150, 133)))
    (path / "image/c/0/1/0").unlink()
    with pytest.raises(
        InputError, match=r"first\.zarr is damaged at rows 64\.\.128, cols 0\.\.64: a file of it is miss"
    ):
        exported(path, tmp_path / "second.tif")


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_pixels_that_cannot_be_decoded_end_the_export(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, product_of(Window.from_size(150, 133)))
    file = path if kind == "tif" else path / "image/c/0/0/0"
    harmed = bytearray(file.read_bytes())
    middle = len(harmed) * 2 // 3
    harmed[middle : middle + 2000] = bytes(2000)
    file.write_bytes(harmed)
    with pytest.raises(InputError, match=rf"first\.{kind} is damaged at rows \S+, cols \S+: "):
        exported(path, tmp_path / "second.zarr", shard_px=SHARD_PX)
    assert not (tmp_path / "second.zarr").exists()


def test_a_product_that_goes_away_ends_the_export(tmp_path: Path) -> None:
    path = written(tmp_path, "zarr", product_of(Window.from_size(150, 133)))
    product, source = open_stored(path)
    shutil.rmtree(path)
    with pytest.raises(InputError, match="is damaged at"):
        render_window(source.open(), product.shard_window((0, 0)))
