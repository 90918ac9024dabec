"""A small dataset of made-up texture, and runs of the smallest network on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tilegen.data.prepare import prepare_dataset
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.training.config import TrainConfig
from tilegen.training.run import configured


@pytest.fixture(scope="session")
def texture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of three chips."""
    folder = tmp_path_factory.mktemp("texture")
    for number in range(3):
        write_image(folder / "chips" / f"{number}.png", textured_pixels(80, 90, seed=number))
    out = folder / "texture.safetensors"
    prepare_dataset([folder / "chips"], out, min_px=1, val_fraction=0.0, resolution_m=0.5)
    return out


@pytest.fixture
def config_of(texture: Path) -> Callable[..., TrainConfig]:
    """The config of a run of four 32-px crops per step, with a penalty in every second step."""

    def made(**options: object) -> TrainConfig:
        defaults = {"preset": "nano", "crop_px": 32, "num_processes": 1, "batch": 4, "r1_interval": 2}
        return configured(texture, **defaults | options)

    return made
