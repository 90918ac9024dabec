"""`tilegen verify` of what lies in an object store."""

import re

import pytest
from click.testing import CliRunner

from tilegen.cli.main import main
from tilegen.errors import OutputError
from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.testing.s3_server import BrokenWay
from tilegen.tiling.render import render_window
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.verify import compare_tiles, open_written
from tilegen.world import open_world

ENCODINGS = [(".tif", {}), (".tif", {"compression": "webp"}), (".zarr", {})]


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="tilegen")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    save_random_checkpoint(path, GENERATOR_PRESETS["nano"])
    return path


@pytest.fixture
def written(model, bucket):
    """Writes a small product, with all pixels moved by `step`."""

    def write(suffix, options, step=0):
        world, there = open_world(str(model), device="cpu"), f"s3://{bucket}/a{step}{suffix}"
        product = world.product(Window.from_size(200, 300), chunk_px=256, shard_px=1024)
        sink = open_sink(there, product, options)
        sink.begin(overwrite=False)
        sink.write((0, 0), render_window(world.renderer, product.extent) + step)
        sink.finish()
        return there

    return write


@pytest.mark.parametrize(("suffix", "options"), ENCODINGS, ids=["cog", "lossy", "zarr"])
def test_a_product_in_a_store_is_verified(written, model, suffix, options):
    good, bad = written(suffix, options), written(suffix, options, step=1)
    result = run("verify", good, "--model", model, "--all", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "tiles are identical" in result.stdout
    result = run("verify", bad, "--model", model, "--all", "--quiet")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "pixels differ, by" in result.stdout


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_what_is_not_there_cannot_be_verified(bucket, suffix):
    result = run("verify", f"s3://{bucket}/nothing{suffix}")
    assert result.exit_code == 2
    assert result.stderr == f"Error: s3://{bucket}/nothing{suffix} is not there.\n"


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_store_that_refuses_says_nothing_of_the_pixels(written, model, s3_url, environment, suffix):
    """From the beginning, and from the first tile on: exit code 2, as nothing was compared."""
    there = written(suffix, {})
    with BrokenWay(server=s3_url, refused=re.compile("")).open() as way:
        environment(AWS_ENDPOINT_URL=way.url)
        result = run("verify", there, "--model", model, "--quiet")
        assert result.exit_code == 2
        assert "denies access to s3://" in result.stderr
        way.refused = None
        product = open_written(there)
        way.refused = re.compile("")
        renderer = open_world(str(model), device="cpu").renderer
        with pytest.raises(OutputError, match="denies access to s3://"):
            list(compare_tiles(product, renderer, [0], tolerance=0))
