"""`tilegen verify`: the same, other, or nothing to compare."""

import re

import numpy as np
import pytest
import rasterio
import zarr

pytestmark = pytest.mark.cluster


@pytest.fixture
def product(run, model, scheduler, folder):
    """Makes a product of six tiles: two rows of three."""

    def made(name, *words):
        result = run(
            "generate", name, "--size", "900x500", "--model", model, "--scheduler", scheduler, "--chunk", 64,
            "--shard", 256, "--quiet", "--crs", "EPSG:32611", "--origin", "-100,30", "--res", 0.5, *words,
        )  # fmt: skip
        assert (result.exit_code, result.stderr) == (0, "")
        return folder / name

    return made


def alter(path, row, col, step):
    """Change one pixel of one band by `step`, and the files that hold it, as no tool of ours would."""
    if path.suffix == ".zarr":
        image = zarr.open_array(path, path="image", mode="r+")
        image[1, row, col] = int(image[1, row, col]) + step
        return
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as tiff:
        window = ((row, row + 1), (col, col + 1))
        pixel = tiff.read(2, window=window)
        tiff.write((pixel.astype(int) + step).astype(np.uint8), 2, window=window)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_product_is_verified_and_one_that_was_altered_is_not(run, model, product, name):
    path = product(name, "--seed", 2**64 - 1, "--scale-seed", "region=5", "--truncation-psi", 0.7)
    words = ["verify", name, "--model", model]
    result = run(*words, "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{name}: 6 tiles are identical (6 in all).\n", "")
    result = run(*words, "--tiles", 2, "--sample-seed", 3)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{name}: 2 tiles are identical (6 in all, --sample-seed 3).\n"
    alter(path, 499, 800, -2)
    result = run(*words, "--tolerance", 1)
    assert result.exit_code == 1
    # The world's tiles begin at multiples of 512 pixels, the product at row -60 and column -200.
    assert result.stdout.splitlines() == [
        f"{name}: rows 60 to 499, columns 712 to 899: 1 pixels differ, by 2 at most.",
        f"{name}: 1 of 6 tiles differ (6 in all).",
    ]
    result = run(*words, "--all", "--tolerance", 2)
    assert (result.exit_code, result.stdout) == (0, f"{name}: 6 tiles are the same within 2 (6 in all).\n")


def test_chance_chooses_other_tiles_each_time_and_a_number_the_same(run, model, product):
    product("a.tif")
    said = [run("verify", "a.tif", "--model", model, "--tiles", 1).stdout for _ in range(2)]
    assert said[0] != said[1]
    assert all(
        re.fullmatch(r"a\.tif: 1 tiles are identical \(6 in all, --sample-seed \d+\)\.\n", line) for line in said
    )


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_product_that_is_damaged_differs(run, model, product, name):
    """Bytes in the middle, where the full resolution is; whatever the reader makes of that."""
    path = product(name)
    file = path if path.is_file() else path / "image/c/0/0/0"
    content = bytearray(file.read_bytes())
    middle = len(content) * 2 // 3
    content[middle : middle + 200] = bytes(200)
    file.write_bytes(content)
    result = run("verify", name, "--model", model, "--all")
    assert result.exit_code == 1
    assert re.search(r" of 6 tiles differ \(6 in all\)\.$", result.stdout)


def test_what_cannot_be_verified_is_one_sentence_and_exit_code_2(run, model, product, folder):
    product("a.tif")
    (folder / "b.tif").write_text("my thesis")
    (folder / "c.zarr").mkdir()
    with rasterio.open("d.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", crs="EPSG:3857",
                       transform=rasterio.Affine(1, 0, 9, 0, -1, 9)):  # fmt: skip
        pass
    for words, said in (
        (
            ["a.tif"],
            r"^Error: a\.tif was made with the model \w{12}, and 'default' is \w{12}\. Give .* with --model\.$",
        ),
        (["a.tif", "--model", "nonesuch"], "^Error: No model 'nonesuch'"),
        (["b.tif", "--model", model], r"^Error: b\.tif is neither a GeoTIFF nor a Zarr store of tilegen\.$"),
        (["c.zarr", "--model", model], r"^Error: c\.zarr is not a Zarr store that tilegen finished\.$"),
        (["d.tif", "--model", model], r"^Error: d\.tif does not say what made it, so it cannot be verified\."),
        (["e.tif"], r"'e\.tif' does not exist\.$"),
        (["a.tif", "--all", "--tiles", 3], r"--tiles and --all exclude each other\.$"),
        (["a.tif", "--tiles", 0], "0 is not in the range"),
        (["a.tif", "--tolerance", 255], "255 is not in the range"),
    ):
        result = run("verify", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert re.search(said, result.stderr.strip().splitlines()[-1]), result.stderr
