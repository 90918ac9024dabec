"""`tilegen export` between a disk and an object store, both ways, with the bytes of a run."""

import pytest
from click.testing import CliRunner

from tilegen.cli.main import main
from tilegen.testing.sinks import address_pixels, address_product, write_product
from tilegen.tiling.sinks import open_sink

MADE = {"synthetic": True, "seed": 7, "model_digest": "00ff"}


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="tilegen")


@pytest.mark.parametrize(("kind", "wanted"), [("tif", "zarr"), ("zarr", "tif")])
def test_a_product_goes_to_a_store_and_comes_back(tmp_path, bucket, contents_of, kind, wanted):
    product = address_product(60, 50, provenance=MADE)
    for suffix in (kind, wanted):
        write_product(open_sink(tmp_path / f"first.{suffix}", product))
    there, back = f"s3://{bucket}/there/a.{wanted}", tmp_path / f"back.{kind}"
    result = run("export", tmp_path / f"first.{kind}", there, "--shard", 64)
    assert (result.exit_code, result.stderr) == (0, "")
    expected = tmp_path / f"first.{wanted}"
    files = [expected] if expected.is_file() else [file for file in expected.rglob("*") if file.is_file()]
    found = {name.removeprefix(f"a.{wanted}").lstrip("/"): data for name, data in contents_of("there/").items()}
    assert found == {"" if file == expected else str(file.relative_to(expected)): file.read_bytes() for file in files}
    result = run("export", there, back, "--shard", 64)
    assert (result.exit_code, result.stderr) == (0, "")
    assert run("export", there, tmp_path / f"first.{kind}").exit_code == 1  # it exists
    for file in [back] if back.is_file() else [file for file in back.rglob("*") if file.is_file()]:
        first = tmp_path / f"first.{kind}"
        assert file.read_bytes() == (first if file == back else first / file.relative_to(back)).read_bytes()


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_what_is_not_there_is_one_sentence(tmp_path, bucket, kind):
    result = run("export", f"s3://{bucket}/nothing.{kind}", tmp_path / "a.tif")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"s3://{bucket}/nothing.{kind} is not" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_what_is_not_finished_in_a_store_is_not_exported(tmp_path, bucket, kind):
    product, there = address_product(100, 50, provenance=MADE), f"s3://{bucket}/a.{kind}"
    sink = open_sink(there, product)
    sink.begin(overwrite=False)
    sink.write((0, 0), address_pixels(product.shard_window((0, 0))))
    result = run("export", there, tmp_path / "b.tif")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"{there} is not" in result.stderr
    assert list(tmp_path.iterdir()) == []
