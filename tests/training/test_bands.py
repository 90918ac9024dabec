"""More than three bands, end to end: deep chips to a packed file, two training steps, and a checkpoint with names."""

from pathlib import Path

import pytest

from tilegen.data.prepare import prepare_dataset
from tilegen.data.spacenet.prepare import prepare_spacenet
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import load_generator
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.testing.spacenet import write_spacenet
from tilegen.training.loop import Schedule
from tilegen.training.run import configured, run_training

WORLDVIEW = ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir1", "nir2")


def pack_eight(folder: Path) -> Path:
    """Pan-sharpened WorldView chips of SpaceNet 2."""
    write_spacenet(folder / "chips", "SN2", product="PS-MS", side_px=128, label_kinds=())
    return prepare_spacenet(folder / "chips", folder / "data.safetensors", res_m=0.5, val_fraction=0.0).path


def pack_sixteen(folder: Path) -> Path:
    """Chips of a sensor that SpaceNet has never flown."""
    pixels = textured_pixels(64, 64, bands=16, high=4000, dtype="uint16")
    write_image(folder / "chips" / "1.tif", pixels)
    out = folder / "data.safetensors"
    return prepare_dataset([folder / "chips"], out, num_bands=16, val_fraction=0.0, resolution_m=1.0).path


@pytest.mark.parametrize(
    ("pack", "band_names"),
    [(pack_eight, WORLDVIEW), (pack_sixteen, tuple(f"band {number}" for number in range(1, 17)))],
)
def test_bands_and_their_stretch_reach_the_checkpoint(tmp_path: Path, pack, band_names: tuple[str, ...]) -> None:
    data = pack(tmp_path)
    config = configured(data, preset="nano", crop_px=32, num_processes=1, batch=4)
    run_training(config, data, tmp_path / "run", Schedule(kimg=0.008), report=lambda line: None)
    generator, card = load_generator(tmp_path / "run" / "model.safetensors")
    assert (card.num_images, card.architecture.band_names) == (8, band_names)
    (stretch,) = card.about["stretches"]
    assert len(stretch["low"]) == len(band_names)
    assert generator((0,), Window.from_size(16, 16)).shape == (1, len(band_names), 16, 16)
