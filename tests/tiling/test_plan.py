"""Plans: the counts are those of the tiles there are, and what cannot fit is refused with numbers, at once."""

import dataclasses
import shutil

import numpy as np
import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jaxtyping import UInt

from tilegen.amounts import amount
from tilegen.errors import BudgetError, OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer
from tilegen.testing.strategies import coordinates
from tilegen.tiling.plan import RenderPlan, check_budget, plan_render
from tilegen.tiling.product import Product
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.sinks.encoding import encoding_of
from tilegen.world import open_world

HUGE_PX = 1 << 30


def make_product(extent: Window, *, chunk_px: int = 16, shard_px: int = 64) -> Product:
    return Product(
        extent=extent,
        georef=GeoReference(crs="EPSG:32633", res=0.5),
        band_names=("red", "green", "blue"),
        provenance={},
        chunk_px=chunk_px,
        shard_px=shard_px,
    )


def plan_of(
    product: Product, *, tile_px: int = 32, copies: int = 2, compressed_share: float = 0.75, measure: bool = False
) -> RenderPlan:
    renderer = CoordinateRenderer(tile_px=tile_px)
    return plan_render(product, renderer, copies=copies, compressed_share=compressed_share, measure=measure)


# What is counted

sides = st.integers(1, 400)


@given(
    height=sides,
    width=sides,
    row0=coordinates(),
    col0=coordinates(),
    tile_px=st.one_of(st.integers(1, 200), st.sampled_from([16, 32, 48, 64, 128])),
    powers=st.tuples(st.integers(4, 6), st.integers(0, 3)),
)
@example(height=129, width=64, row0=-64, col0=32, tile_px=32, powers=(4, 2))
@example(height=1, width=1, row0=-1, col0=2**40 - 1, tile_px=7, powers=(4, 0))
def test_tiles_and_shards_are_as_many_as_there_are(height, width, row0, col0, tile_px, powers):
    """Against a walk over every shard and its tiles; a tile that a border of shards cuts is rendered twice."""
    extent = Window.from_size(height, width, row0=row0, col0=col0)
    product = make_product(extent, chunk_px=2 ** powers[0], shard_px=2 ** sum(powers))
    plan = plan_of(product, tile_px=tile_px)
    lattice = CoordinateRenderer(tile_px=tile_px).lattice
    shards = product.shard_indices
    assert plan.num_shards == len(shards)
    assert plan.num_tiles == sum(lattice.count(product.shard_window(shard)) for shard in shards)


@pytest.mark.parametrize("tile_px", [512, 511, 1])
def test_an_absurd_size_is_planned_and_refused_at_once(tile_px, tmp_path):
    """A walk over its 10**15 tiles would not end in this century."""
    extent = Window.from_size(HUGE_PX, HUGE_PX, row0=-7, col0=2**50)
    plan = plan_of(make_product(extent, chunk_px=512, shard_px=2048), tile_px=tile_px)
    assert plan.num_tiles > 10**12
    with pytest.raises(BudgetError, match=r"needs about 6\.0 EiB of disk, .* has [\d.]+ [KMGT]iB\. Ask for a smaller"):
        check_budget(plan, tmp_path / "a.tif", 1)


def test_the_time_of_a_tile_is_measured_only_if_asked():
    product = make_product(Window.from_size(100, 100))
    assert plan_of(product).tile_s is None
    assert plan_of(product, measure=True).tile_s > 0


def test_memory_does_not_depend_on_the_extent():
    small, large = (plan_of(make_product(Window.from_size(side, side))) for side in (64, HUGE_PX))
    assert small.worker_bytes == large.worker_bytes


def test_a_shard_larger_than_the_product_costs_what_the_product_costs():
    extent = Window.from_size(100, 100)
    large, exact = (plan_of(make_product(extent, shard_px=shard_px)) for shard_px in (HUGE_PX, 128))
    assert large.worker_bytes == exact.worker_bytes


def test_pixels_of_two_bytes_need_twice_the_disk_and_memory():
    small = plan_of(make_product(Window.from_size(4096, 4096), chunk_px=512, shard_px=2048))
    large = plan_of(dataclasses.replace(small.product, dtype="uint16"))
    assert large.disk_bytes == 2 * small.disk_bytes
    # Three copies of a shard, of three bands.
    assert large.worker_bytes - small.worker_bytes == 3 * 3 * 2048 * 2048


@pytest.fixture(scope="module")
def imagery() -> UInt[np.ndarray, "bands rows cols"]:
    """What the default model paints."""
    return open_world("default", seed=1, device="cpu").read(Window.from_size(512, 512))


ANY_BANDS = [
    *(("a.tif", {"compression": name}) for name in ("deflate", "lzw", "zstd", "jpeg")),
    *(("a.tif", {"compression": name, "predictor": 1}) for name in ("deflate", "lzw", "zstd")),
    *(("a.tif", {"compression": "jpeg", "quality": quality}) for quality in (90, 95, 100)),
    ("a.zarr", {}),
    ("a.zarr", {"zarr_format": 2}),
]
THREE_BANDS = [("a.tif", {"compression": "webp", "quality": quality}) for quality in (85, 90, 95, 100)]


@pytest.mark.parametrize(
    ("name", "options", "num_bands"),
    [*((*stored, 1) for stored in ANY_BANDS), *((*stored, 3) for stored in (*ANY_BANDS, *THREE_BANDS))],
    ids=str,
)
def test_a_product_needs_a_little_less_disk_than_planned(imagery, tmp_path, name, options, num_bands):
    product = dataclasses.replace(
        make_product(Window.from_size(512, 512), chunk_px=256, shard_px=512),
        band_names=("red", "green", "blue")[:num_bands],
    )
    sink = open_sink(tmp_path / name, product, options)
    sink.begin(overwrite=False)
    sink.write((0, 0), imagery[:num_bands])
    sink.finish()
    files = [path for path in (tmp_path / name, *(tmp_path / name).rglob("*")) if path.is_file()]
    written_bytes = sum(path.stat().st_size for path in files)
    share = encoding_of(f"s3://bucket/{name}", options).compressed_share(product)
    assert written_bytes < plan_of(product, copies=1, compressed_share=share).disk_bytes < 4 * written_bytes


# What is refused


def test_too_little_disk_is_refused_with_both_numbers(tmp_path):
    free_bytes = shutil.disk_usage(tmp_path).free
    side = int((1.2 * free_bytes / 6) ** 0.5)
    plan = plan_of(make_product(Window.from_size(side, side)))
    with pytest.raises(BudgetError) as refusal:
        check_budget(plan, tmp_path / "a.tif", 1)
    assert f"needs about {amount(plan.disk_bytes)} of disk" in str(refusal.value)
    assert f"{tmp_path} has " in str(refusal.value)
    assert list(tmp_path.iterdir()) == []
    # One copy of the pixels would fit.
    check_budget(plan_of(plan.product, copies=1), tmp_path / "a.tif", 1)


def test_too_little_memory_is_refused_with_both_numbers(tmp_path):
    plan = plan_of(make_product(Window.from_size(64, 64)))
    num_workers = psutil.virtual_memory().total // plan.worker_bytes + 1
    pattern = (
        rf"{num_workers} workers need about [\d.]+ [GT]iB of memory, [\d.]+ [MGT]iB are free\. Use fewer --workers"
    )
    with pytest.raises(BudgetError, match=pattern):
        check_budget(plan, tmp_path / "a.tif", num_workers)
    check_budget(plan, tmp_path / "a.tif", 0)  # workers elsewhere


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    plan = plan_of(make_product(Window.from_size(64, 64)))
    with pytest.raises(OutputError, match=r"missing does not exist\. Create it"):
        check_budget(plan, tmp_path / "missing" / "a.tif", 1)


def test_what_an_interrupted_run_has_written_counts_as_free_space(tmp_path):
    """Otherwise a run that just fits could not be resumed."""
    product = make_product(Window.from_size(64, 64))
    sink = open_sink(tmp_path / "a.tif", product)
    sink.begin(overwrite=False)
    free_bytes = shutil.disk_usage(tmp_path).free
    written = tmp_path / "a.tif.partial" / "shard-0-0.part"
    with written.open("wb") as file:
        file.truncate(2 * free_bytes)  # takes no space in truth
    side = int((1.2 * free_bytes / 6) ** 0.5)
    check_budget(plan_of(make_product(Window.from_size(side, side))), tmp_path / "a.tif", 1)


# What is told


def test_the_plan_says_it_all():
    product = make_product(Window.from_size(300, 500, row0=-300, col0=1000))
    text = plan_of(product, measure=True).describe(num_workers=3)
    starts = ["extent", "ground", "bounds", "lattice", "memory", "disk", "time", "halo", "  image"]
    assert [line for line, start in zip(text.splitlines(), starts, strict=True) if not line.startswith(start)] == []
    for words in (
        "500 x 300 pixels, 3 bands, 6 resolution levels",
        "EPSG:32633, 0.5 metre per pixel",
        "500 0 750 150\n",
        "tiles in 40 shards of 64 px",
        "MiB per worker, 3 workers",
        "at the peak",
        "rows 0..32, cols 0..32",
    ):
        assert words in text
