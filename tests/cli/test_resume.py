"""`tilegen generate --resume`: only goes on, and only with the same run."""

import pytest

from tilegen.geometry.window import Window
from tilegen.tiling.sinks import open_sink
from tilegen.world import open_world

SIZE = ["--size", "200x100", "--chunk", "64", "--shard", "128", "--device", "cpu"]


@pytest.fixture
def begin(model, folder):
    """Begins a product of two shards, writes one of them, and stops."""

    def begun(name):
        world = open_world(str(model), device="cpu")
        product = world.product(Window.from_size(100, 200), chunk_px=64, shard_px=128)
        sink = open_sink(folder / name, product)
        sink.begin(overwrite=False)
        sink.write((0, 1), world.read(product.shard_window((0, 1))))

    return begun


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_nothing_is_begun_for_resume(refused, model, name):
    said = refused("generate", name, *SIZE, "--model", model, "--resume")
    assert said.startswith("There is nothing to resume at ")
    assert said.endswith(f"/{name}. Leave --resume out to begin.")


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_an_unfinished_product_is_resumed_and_a_finished_one_is_not(run, refused, model, scheduler, begin, name):
    begin(name)
    words = ["generate", name, *SIZE, "--model", model, "--scheduler", scheduler, "--resume", "--quiet"]
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert refused(*words).endswith(f"/{name} is finished; there is nothing to resume.")


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("words", "differing"),
    [
        (["--seed", "8"], "provenance.seed"),
        (["--scale-seed", "region=5"], "provenance.scale_seeds"),
        (["--truncation-psi", "0.5"], "provenance.truncation_psi"),
        (["--res", "2"], "res"),
        (["--crs", "EPSG:32611"], "crs"),
        (["--origin", "100,100"], "extent"),
        (["--size", "200x101"], "extent"),
        (["--shard", "64"], "shard_px"),
        (["--model", "default"], "provenance.model_digest"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["", "resume"])
def test_another_run_is_not_resumed(refused, model, scheduler, begin, words, differing, resume):
    """Whether --resume asks for it or the default does; what differs is named."""
    begin("a.tif")
    said = refused("generate", "a.tif", *SIZE, "--model", model, "--scheduler", scheduler, *words, *resume)
    assert "a.tif.partial is an unfinished product of another run" in said
    assert differing in said.partition("different: ")[2].partition(")")[0].split(", ")


def test_resume_and_overwrite_exclude_each_other(refused, model, begin):
    begin("a.tif")
    said = refused("generate", "a.tif", *SIZE, "--model", model, "--resume", "--overwrite")
    assert said == "--resume goes on with a product, --overwrite throws it away. Leave one of them out."
