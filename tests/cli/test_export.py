"""`tilegen export`: the file that `tilegen generate` would have written, and nothing half done."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from tilegen.testing.sinks import address_product, contents, write_product
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.stored import open_stored

pytestmark = pytest.mark.cluster


@pytest.fixture
def generated(run, model, scheduler, folder):
    """Makes a product of two shards, off the lattice of tiles."""

    def made(name):
        result = run(
            "generate", name, "--size", "600x500", "--model", model, "--scheduler", scheduler, "--chunk", 64,
            "--shard", 512, "--quiet", "--crs", "EPSG:32611", "--origin", "0,100", "--res", 0.5,
            "--seed", 2**64 - 1, "--scale-seed", "region=5",
        )  # fmt: skip
        assert (result.exit_code, result.stderr) == (0, "")
        return folder / name

    return made


@pytest.fixture
def product(folder):
    """Makes one of six shards without a world: nobody renders it, and every pixel says where it belongs."""

    def made(name):
        provenance = {"synthetic": True, "seed": 7, "model_digest": "00ff"}
        plain = address_product(500, 600, row0=-60, col0=-200, provenance=provenance)
        write_product(open_sink(folder / name, replace(plain, chunk_px=64, shard_px=256)))
        return folder / name

    return made


@pytest.mark.parametrize(("name", "wanted"), [("a.zarr", "b.tif"), ("a.tif", "b.zarr")])
def test_an_export_has_the_bytes_of_a_run_in_the_other_format(run, model, generated, folder, name, wanted):
    path, expected = generated(name), generated(f"run-{wanted}")
    result = run("export", name, wanted, "--shard", 512, "--workers", 1, "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{wanted}: 600x500 pixels of {name}\n"
    assert contents(folder / wanted) == contents(expected)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([path.name, expected.name, wanted])
    verified = run("verify", wanted, "--model", model, "--tiles", 1)
    assert verified.exit_code == 0


def test_another_layout_and_events(run, product, folder):
    product("a.tif")
    result = run("export", "a.tif", "b.tif", "--chunk", 128, "--shard", 1024, "--log-json")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert (events[0]["event"], events[-1]["status"]) == ("begin", "finished")
    with rasterio.open("a.tif") as before, rasterio.open("b.tif") as after:
        assert after.block_shapes[0] == (128, 128)
        assert before.tags() == after.tags()
        np.testing.assert_array_equal(before.read(), after.read())


def test_an_export_goes_on_where_it_was(run, product, folder):
    """Shards that are done are not read again: one of them is painted over in the source."""
    product("a.tif")
    stored, source = open_stored(folder / "a.tif", shard_px=256)
    sink = open_sink(folder / "b.zarr", stored)
    sink.begin(overwrite=False)
    sink.write((0, 0), np.full((3, 256, 256), 9, np.uint8))
    said = run("export", "b.zarr", "c.tif")
    assert said.exit_code == 1
    assert "is not finished" in said.stderr
    assert run("export", "a.tif", "b.zarr", "--shard", 256, "--workers", 1, "--quiet").exit_code == 0
    _, found = open_stored(folder / "b.zarr")
    pixels = found.open().render_tile(stored.shard_window((0, 0)))
    assert (pixels == 9).all()
    other = stored.shard_window((0, 1))
    np.testing.assert_array_equal(found.open().render_tile(other), source.open().render_tile(other))


def test_nothing_is_overwritten_unless_asked(run, refused, product, folder):
    product("a.tif")
    (folder / "b.tif").write_text("my thesis")
    assert refused("export", "a.tif", "b.tif") == f"{folder}/b.tif exists. Give another name or --overwrite."
    assert "is not a GeoTIFF. It will not be overwritten" in refused("export", "a.tif", "b.tif", "--overwrite")
    for same in ("a.tif", "./a.tif", folder / "a.tif"):
        assert refused("export", "a.tif", same, "--overwrite").endswith("is what would be read. Give OUT another name.")
    assert run("export", "a.tif", "c.zarr", "-q").exit_code == 0
    before = contents(folder / "c.zarr")
    assert run("export", "a.tif", "c.zarr", "-q", "--overwrite").exit_code == 0
    assert contents(folder / "c.zarr") == before


def test_what_is_no_product_is_refused(refused, product, folder):
    product("a.tif")
    (folder / "b.tif").write_text("my thesis")
    (folder / "c.zarr").mkdir()
    for words, said in (
        (["b.tif", "d.zarr"], "b.tif is neither a GeoTIFF nor a Zarr store of tilegen."),
        (["c.zarr", "d.tif"], "c.zarr is not a Zarr store that tilegen finished."),
        (["e.tif", "d.zarr"], "e.tif does not exist."),
        (["a.tif", "d.png"], "d.png ends in '.png'. Give a name that ends in .tif, .tiff or .zarr."),
        (["a.tif", "nowhere/d.zarr"], "/nowhere does not exist. Create it, or give another path."),
        (["a.tif", "d.zarr", "--chunk", 100], "--chunk must be a power of two of at least 16 pixels, got 100."),
        (["ftp://a/b.tif", "d.zarr"], "ftp:// is no object store"),
    ):
        assert said in refused("export", *words)


def test_a_damaged_product_leaves_nothing_that_looks_finished(run, product, folder):
    path = product("a.zarr")
    (path / "image/c/0/1/1").unlink()
    result = run("export", "a.zarr", "b.tif", "--workers", 1, "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    said = f"Error: {path} is damaged at rows 256..500, cols 256..512: a file of it is missing.\n"
    assert result.stderr == said
    assert not (folder / "b.tif").exists()
