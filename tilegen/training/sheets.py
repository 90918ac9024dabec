"""Sample sheets and large renders: what the averaged generator paints now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from tilegen.atomic import new_file
from tilegen.bands import shown_bands
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.model.generator import Generator
from tilegen.model.pixels import as_uint8

_CROP_PX, _NUM_SIDE = 128, 4
_TILE_PX = 512


@torch.no_grad()
def save_sheet(path: Path, generator: Generator, dtype: torch.dtype) -> UInt8[np.ndarray, "3 rows cols"]:
    """Left: 16 crops of 16 worlds. Right: one window of world 0, as large as all of them. A PNG; returns its pixels.

    Its bands are those of `shown_bands`.

    Raises:
        CheckpointError: the generator paints values that are not finite. OutputError: the file cannot be written.
    """
    side_px = _NUM_SIDE * _CROP_PX
    crops = _painted(generator, tuple(range(_NUM_SIDE**2)), Window.from_size(_CROP_PX, _CROP_PX), dtype)
    grid = crops.reshape(_NUM_SIDE, _NUM_SIDE, *crops.shape[1:]).transpose(2, 0, 3, 1, 4)
    window = _painted(generator, (0,), Window.from_size(side_px, side_px), dtype)[0]
    sheet: np.ndarray = np.concatenate([grid.reshape(-1, side_px, side_px), window], axis=2)
    _save_png(path, sheet)
    return sheet


@torch.no_grad()
def save_render(
    path: Path, generator: Generator, *, side_px: int = 2048, seed: int = 0, dtype: torch.dtype
) -> UInt8[np.ndarray, "3 side_px side_px"]:
    """One square window of world `seed`, from pixel (0, 0) on, in the bands of `save_sheet`. A PNG; returns its pixels.

    It is painted in tiles of 512 px, so a larger window takes more time but no more memory of the device. Tiles are
    crops of the endless image and meet without a seam.

    Raises:
        CheckpointError: the generator paints values that are not finite. OutputError: the file cannot be written.
    """
    window = Window.from_size(side_px, side_px)
    pixels = np.empty((3, side_px, side_px), np.uint8)
    for tile in Lattice(tile_px=_TILE_PX).tiles(window):
        part = tile.intersection(window)
        assert part is not None  # the lattice gives tiles that meet the window
        pixels[:, *part.within(window)] = _painted(generator, (seed,), part, dtype)[0]
    _save_png(path, pixels)
    return pixels


def _painted(
    generator: Generator, seeds: tuple[int, ...], window: Window, dtype: torch.dtype
) -> UInt8[np.ndarray, "batch 3 rows cols"]:
    bands = list(shown_bands(generator.config.band_names))
    return as_uint8(generator(seeds, window, dtype=dtype)[:, bands]).cpu().numpy()


def _save_png(path: Path, pixels: UInt8[np.ndarray, "3 rows cols"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
