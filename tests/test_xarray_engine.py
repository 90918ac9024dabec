"""xarray opens worlds: by its entry point, by the file alone, lazily, and nothing else."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  gives DataArrays their .odc
import pytest
import xarray as xr

from tilegen.errors import CheckpointError, InputError
from tilegen.geometry.window import Window
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.world import World, open_world
from tilegen.xarray_engine import TilegenEngine

# rioxarray 0.19 and odc-geo multiply transforms as affine did before 3.0.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
SHOWN = Window.from_size(600, 700, row0=-300, col0=-100)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    save_random_checkpoint(path)
    return open_world(str(path), seed=7, crs="EPSG:32611", device="cpu")


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """A description that says what to show."""
    world.save(path := tmp_path / "world.json", window=SHOWN)
    return path


def test_xarray_knows_the_engine_by_its_entry_point(file: Path) -> None:
    """Of the installed package; a checkout that was installed before it had one is to be installed again."""
    found = {entry.value for entry in entry_points(group="xarray.backends", name="tilegen")}
    assert found == {"tilegen.xarray_engine:TilegenEngine"}, "install again: pip install --no-deps -e ."
    with xr.open_dataset(file, engine="tilegen", device="cpu", mask_and_scale=False) as dataset:
        assert dataset.image.shape == (3, 600, 700)
    with xr.open_dataset(file) as dataset:  # by what the file says
        assert dataset.sizes == {"band": 3, "y": 600, "x": 700}


def test_a_slice_of_the_dataset_is_a_window_of_the_world(world: World, file: Path) -> None:
    dataset = xr.open_dataset(file, engine=TilegenEngine, device="cpu", cache=False)
    window = Window.from_size(20, 30, row0=-10, col0=-5)
    rows, cols = window.within(SHOWN)
    part, expected = dataset.image[:, rows, cols], world.read(window)
    np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(dataset.image[::-1, rows, cols][:, :9, 29:5:-7], expected[::-1, :9, 29:5:-7])
    assert (dataset.rio.crs.to_epsg(), part.rio.bounds()) == (32611, world.georef.bounds(window))
    assert part.odc.geobox.affine == world.georef.transform(window)
    assert dataset.attrs["synthetic"] == "true"
    assert dataset.attrs["model_digest"] == world.card.digest


def test_bounds_and_resolution_are_those_of_to_xarray(world: World, file: Path) -> None:
    where = {"bounds": (-9.9, -7.0, 100.3, 33.3), "res": 2.0}
    opened = xr.open_dataset(file, engine=TilegenEngine, device="cpu", **where).image
    xr.testing.assert_identical(opened, world.to_xarray(**where).compute(scheduler="synchronous"))
    assert opened.rio.bounds() == (-10.0, -8.0, 102.0, 34.0)


@pytest.mark.filterwarnings("ignore:The specified chunks separate:UserWarning")  # they do, and it is small
def test_with_chunks_it_is_on_dask(world: World, file: Path) -> None:
    whole = xr.open_dataset(file, engine=TilegenEngine, device="cpu", chunks={}).image
    assert whole.chunks == ((3,), (600,), (700,))
    small = xr.open_dataset(file, engine=TilegenEngine, device="cpu", chunks={"y": 64, "x": 64}).image
    np.testing.assert_array_equal(small[:, 290:310, 90:110].compute(), world.read(SHOWN)[:, 290:310, 90:110])


def test_opening_loads_no_weights(world: World, tmp_path: Path) -> None:
    """They may be gone by then."""
    model = tmp_path / "nano.safetensors"
    model.write_bytes(Path(world.config.model).read_bytes())
    open_world(str(model), device="cpu").save(tmp_path / "world.json", window=SHOWN)
    dataset = xr.open_dataset(tmp_path / "world.json", engine=TilegenEngine)
    model.unlink()
    assert "600" in repr(dataset)
    with pytest.raises(CheckpointError, match=r"nano\.safetensors"):
        dataset.image[0, 0, 0].load()


def test_an_endless_world_needs_bounds(world: World, tmp_path: Path) -> None:
    world.save(tmp_path / "world.json")
    with pytest.raises(InputError, match=r"A world has no end\. Say which part: bounds="):
        xr.open_dataset(tmp_path / "world.json", engine=TilegenEngine)
    shown = xr.open_dataset(tmp_path / "world.json", engine=TilegenEngine, window=SHOWN)
    assert shown.image.shape == (3, 600, 700)


@pytest.mark.parametrize("dropped", ["image", ["image", "nonesuch"], None])
def test_variables_may_be_left_out(file: Path, dropped: list[str] | str | None) -> None:
    dataset = xr.open_dataset(file, engine=TilegenEngine, drop_variables=dropped)
    assert ("image" in dataset) == (dropped is None)


@pytest.mark.parametrize("name", ["other.json", "world.json/..", "s3://bucket/world.json", "a.nc", "nonesuch.json"])
def test_what_describes_no_world_is_left_to_others(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.json").write_text('{"kind": "tilegen dream"}')
    (tmp_path / "a.nc").write_bytes(b"CDF\x01")
    place = name if "://" in name else str(tmp_path / name)
    assert not TilegenEngine().guess_can_open(place)
    assert not TilegenEngine().guess_can_open(Path(place))
    assert not TilegenEngine().guess_can_open(b"CDF\x01")
    with pytest.raises(InputError):
        TilegenEngine().open_dataset(place)


def test_a_guess_loads_nothing_heavy(file: Path) -> None:
    """xarray asks for every file of everybody."""
    code = (
        "import sys; from tilegen.xarray_engine import TilegenEngine\n"
        f"print(TilegenEngine().guess_can_open({str(file)!r}))\n"
        "print({'torch', 'dask', 'rasterio', 'zarr'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\nset()\n"
