"""Two small products of one world, as `tilegen generate` writes them: in metres of UTM, and in degrees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.tools.readers import Record
from tilegen.cli.main import main
from tilegen.geometry.window import Window
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.testing.sinks import reference_levels
from tilegen.world import World, open_world

WIDTH, HEIGHT = 403, 301
CHUNK_PX = 64
"""A short side of each level is odd, and there are three overviews."""

PLACES = {
    "EPSG:32611": {"origin": (664000.0, 4005000.0), "res": 0.5},
    "EPSG:4326": {"origin": (-115.1748, 36.1), "res": 4e-6},
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """Two products of the same window, and what tilegen itself knows of them."""

    tif: Path
    zarr: Path
    world: World
    window: Window
    crs: str

    @property
    def points(self) -> list[tuple[float, float]]:
        """Ground coordinates: near the four corners, inside them, and at random, never where pixels meet."""
        pixels = [(0, 0), (0, WIDTH - 1), (HEIGHT - 1, 0), (HEIGHT - 1, WIDTH - 1)]
        random = np.random.default_rng(5)
        pixels += [(int(random.integers(HEIGHT)), int(random.integers(WIDTH))) for _ in range(12)]
        return [self.transform @ (col + 0.3, row + 0.6) for row, col in pixels]

    @property
    def transform(self):
        return self.world.georef.transform(self.window)

    @cached_property
    def expected(self) -> Record:
        """The record by tilegen's own account: the world's pixels, and arithmetic on the grid anchored at (0, 0)."""
        pixels, res = self.world.read(self.window), PLACES[self.crs]["res"]
        row0, col0 = self.window.row0, self.window.col0
        places = [(round(-y / res - 0.6) - row0, round(x / res - 0.3) - col0) for x, y in self.points]
        return Record(
            crs=self.crs,
            transform=tuple(self.transform)[:6],
            size=(WIDTH, HEIGHT),
            overviews=[level.shape[:0:-1] for level in reference_levels(pixels, 4)[1:]],
            nodata=0,
            names=self.world.renderer.band_names,
            colours=("red", "green", "blue"),
            statistics=[(band.min(), band.max(), band.mean(), band.std()) for band in pixels],
            pixels=[tuple(map(int, pixels[:, row, col])) for row, col in places],
        )


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    save_random_checkpoint(path)
    return path


@pytest.fixture(scope="session", params=PLACES)
def written(request, model, tmp_path_factory):
    """Products in one CRS."""
    return generated(request.param, model, tmp_path_factory.mktemp("products"))


def generated(crs: str, model: Path, folder: Path) -> Written:
    """Run `tilegen generate` twice, and open the world it was asked for."""
    (x, y), res = PLACES[crs]["origin"], PLACES[crs]["res"]
    for name in ("area.tif", "area.zarr"):
        words = [
            "generate", folder / name, "--size", f"{WIDTH}x{HEIGHT}", "--model", model, "--crs", crs,
            "--origin", f"{x},{y}", "--res", res, "--seed", 7, "--chunk", CHUNK_PX, "--shard", 4 * CHUNK_PX * 2,
            "--workers", 1, "--device", "cpu", "--quiet",
        ]  # fmt: skip
        result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    world = open_world(str(model), seed=7, crs=crs, res=res, device="cpu")
    window = world.window_at(x, y, HEIGHT, WIDTH)
    return Written(tif=folder / "area.tif", zarr=folder / "area.zarr", world=world, window=window, crs=crs)
