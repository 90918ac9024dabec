"""Sheets show 16 worlds beside a window of one, renders one large window; both in colour, three bands or grey."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tilegen.errors import CheckpointError
from tilegen.geometry.window import Window
from tilegen.model.pixels import as_uint8
from tilegen.testing.checkpoints import NANO, random_generator
from tilegen.training.sheets import save_render, save_sheet


def sheet_of(folder: Path, band_names: tuple[str, ...]) -> np.ndarray:
    """[rows, cols, 3] of the sheet of a random network."""
    path = folder / "sheets" / "a.png"  # in a folder that is not there yet
    pixels = save_sheet(path, random_generator(replace(NANO, band_names=band_names)), torch.float32)
    with Image.open(path) as sheet:
        assert (sheet.size, sheet.mode) == ((1024, 512), "RGB")
        np.testing.assert_array_equal(np.asarray(sheet), pixels.transpose(1, 2, 0))
        return np.asarray(sheet)


def test_worlds_stand_row_by_row_and_the_window_beside_them(tmp_path: Path) -> None:
    """To one code value: a batch rounds otherwise than its worlds one by one."""
    sheet = sheet_of(tmp_path, ("red", "green", "blue"))
    generator = random_generator()
    for seed in (0, 3, 4, 15):
        world = as_uint8(generator((seed,), Window.from_size(128, 128)))[0].permute(1, 2, 0).numpy()
        row, col = divmod(seed, 4)
        found = sheet[128 * row : 128 * (row + 1), 128 * col : 128 * (col + 1)]
        np.testing.assert_allclose(found.astype(int), world, atol=1)
    window = as_uint8(generator((0,), Window.from_size(512, 512)))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(sheet[:, 512:], window)


@pytest.mark.parametrize(("bands", "grey"), [(1, True), (2, True), (4, False)])
def test_less_than_three_bands_are_grey_and_more_are_cut(tmp_path: Path, bands: int, grey: bool) -> None:
    sheet = sheet_of(tmp_path, tuple("abcd"[:bands]))
    assert bool((sheet == sheet[..., :1]).all()) is grey
    assert sheet.std() > 5


def test_a_render_is_one_window_of_the_world(tmp_path: Path) -> None:
    """To one code value: a tile rounds otherwise than the whole. The last tiles are cut."""
    path, generator = tmp_path / "renders" / "a.png", random_generator()
    pixels = save_render(path, generator, side_px=600, seed=7, dtype=torch.float32)
    whole = as_uint8(generator((7,), Window.from_size(600, 600)))[0].numpy()
    np.testing.assert_allclose(pixels.astype(int), whole, atol=1)
    with Image.open(path) as render:
        np.testing.assert_array_equal(np.asarray(render), pixels.transpose(1, 2, 0))


def test_colours_are_found_by_their_names(tmp_path: Path) -> None:
    generator = random_generator(replace(NANO, band_names=("nir", "blue", "green", "red")))
    pixels = save_render(tmp_path / "a.png", generator, side_px=64, dtype=torch.float32)
    bands = as_uint8(generator((0,), Window.from_size(64, 64)))[0].numpy()
    np.testing.assert_array_equal(pixels, bands[[3, 2, 1]])


def test_a_render_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    path, generator = tmp_path / "a.png", random_generator()
    save_render(path, generator, side_px=64, dtype=torch.float32)
    good = path.read_bytes()
    generator.synthesis.const[0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save_render(path, generator, side_px=64, dtype=torch.float32)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]
