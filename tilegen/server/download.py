"""The visible area as a file: a small GeoTIFF, or a picture."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning
from rasterio.io import MemoryFile

from tilegen.errors import InputError
from tilegen.geometry.window import Window
from tilegen.server.encoding import NODATA
from tilegen.server.grid import MapGrid


def geotiff(
    pixels: UInt8[np.ndarray, "bands rows cols"],
    band_names: tuple[str, ...],
    grid: MapGrid,
    window: Window,
    provenance: dict[str, Any],
) -> bytes:
    """A GeoTIFF of a window of full resolution, with what made it in its tags.

    Raises:
        InputError: GeoTIFF cannot express the CRS.
    """
    try:
        crs = CRS.from_user_input(grid.crs)
    except CRSError:
        raise InputError(f"GeoTIFF cannot express the CRS {grid.crs!r}. Download a PNG.") from None
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": len(pixels),
        "height": window.height,
        "width": window.width,
        "crs": crs,
        "transform": grid.transform(0, window),
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 2,
        "zlevel": 1,
        "photometric": "RGB" if len(pixels) == 3 else "MINISBLACK",
    }
    with MemoryFile() as memory:
        # Pixels of 1 from (0, 0) on are a place as good as any, and rasterio warns of it.
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), memory.open(**profile) as tiff:
            tiff.write(pixels)
            tiff.descriptions = band_names
            tiff.update_tags(**flat(provenance))
        return bytes(memory.getbuffer())


def flat(provenance: dict[str, Any]) -> dict[str, str]:
    """Provenance as text: strings as they are, everything else as JSON. Always says `synthetic`."""
    items = {"synthetic": True, **provenance}
    return {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in items.items()}
