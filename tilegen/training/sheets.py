"""Sample sheets: what the averaged generator paints now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tilegen.geometry.window import Window
from tilegen.model.generator import Generator
from tilegen.model.pixels import as_uint8

_CROP_PX, _NUM_SIDE = 128, 4


@torch.no_grad()
def save_sheet(path: Path, generator: Generator, dtype: torch.dtype) -> None:
    """Left: 16 crops of 16 worlds. Right: one window of world 0, as large as all of them. First three bands, PNG."""
    crops = as_uint8(generator(tuple(range(_NUM_SIDE**2)), Window.from_size(_CROP_PX, _CROP_PX), dtype=dtype)).numpy()
    grid = crops.reshape(_NUM_SIDE, _NUM_SIDE, *crops.shape[1:]).transpose(2, 0, 3, 1, 4)
    side = _NUM_SIDE * _CROP_PX
    window = as_uint8(generator((0,), Window.from_size(side, side), dtype=dtype)).numpy()[0]
    sheet = np.concatenate([grid.reshape(-1, side, side), window], axis=2)
    bands = sheet[:3] if len(sheet) >= 3 else sheet[:1].repeat(3, axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(bands.transpose(1, 2, 0)).save(path)
