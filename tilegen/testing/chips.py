"""Made-up chips: smooth texture without pure black, written as the formats that the packer reads."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Shaped
from rasterio.errors import NotGeoreferencedWarning

DRIVER_OF = {".tif": "GTiff", ".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def textured_pixels(
    rows: int,
    cols: int,
    *,
    bands: int = 3,
    seed: int = 0,
    low: int = 20,
    high: int = 250,
    dtype: str = "uint8",
) -> Shaped[np.ndarray, "bands rows cols"]:
    """Waves of a few pixels in `low`..`high`, other ones for each seed and band."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    waves = np.zeros((bands, rows, cols))
    for _ in range(4):
        row_pace, col_pace, phase = rng.uniform(0.05, 0.5, (3, bands, 1, 1))
        waves += np.sin(row * row_pace + col * col_pace + phase * 20)
    span = waves.max() - waves.min()
    return np.asarray((low + (waves - waves.min()) / (span or 1) * (high - low)).astype(dtype))


def write_image(path: Path, pixels: Shaped[np.ndarray, "bands rows cols"], **profile: Any) -> Path:
    """Write `pixels` with rasterio, in the format of the suffix; `profile` as rasterio takes it."""
    mask, colours = profile.pop("mask", None), profile.pop("colorinterp", None)
    bands, rows, cols = pixels.shape
    driver = DRIVER_OF[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver=driver, height=rows, width=cols, count=bands, dtype=pixels.dtype, **profile
        ) as file:
            if colours is not None:
                file.colorinterp = colours
            file.write(pixels)
            if mask is not None:
                file.write_mask(mask)
    return path
