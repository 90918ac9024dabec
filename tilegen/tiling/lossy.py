"""Lossy COGs, read as they were encoded: what a decoder makes of them is no proof of what they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tilegen.errors import InputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.finished import opened_file, opened_tiff
from tilegen.tiling.sinks.encoding import CogEncoding
from tilegen.tiling.sinks.tile_codec import decode_tile, encode_tile


@dataclass(frozen=True, kw_only=True)
class LossyTiles:
    """The TIFF tiles of a lossy COG.

    Args:
        path: the file, on a disk or at s3://BUCKET/NAME.
        encoding: how its tiles were made.
        lattice: the tiles, in absolute pixels of the world.
    """

    path: Path | str
    encoding: CogEncoding
    lattice: Lattice

    def both(
        self, tile: Window, pixels: UInt8[np.ndarray, "bands rows cols"]
    ) -> tuple[UInt8[np.ndarray, "bands rows cols"], UInt8[np.ndarray, "bands rows cols"]]:
        """What the file holds in a tile, and what it would hold if it were made of `pixels`, decoded alike.

        Encoders are deterministic, so equal pixels give equal bytes; another version of one may give others.

        Raises:
            OSError, ValueError, RuntimeError: the file is damaged.
        """
        (bands, rows, cols), tile_px = pixels.shape, self.lattice.tile_px
        row, col = (tile.row0 - self.lattice.row0) // tile_px, (tile.col0 - self.lattice.col0) // tile_px
        wanted = encode_tile(pixels, tile_px, self.encoding)
        stored = self._payload(row, col)
        # Images are compared; a rendered tile has no invalid pixels, so that both have the same mask.
        found, expected = (
            decode_tile((payload, wanted[1]), bands, tile_px, self.encoding) for payload in (stored, wanted[0])
        )
        return found[:, :rows, :cols], expected[:, :rows, :cols]

    def _payload(self, row: int, col: int) -> bytes:
        with opened_tiff(self.path) as tiff:
            place, size_bytes = (
                tiff.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", 1) for what in ("OFFSET", "SIZE")
            )
        if place is None:
            return b""
        with opened_file(self.path) as file:
            file.seek(int(place))
            return bytes(file.read(int(size_bytes)))


def lossy_tiles(path: Path | str, extent: Window) -> LossyTiles | None:
    """The tiles of a GeoTIFF, or None if it is not lossy.

    Args:
        path: where it is.
        extent: absolute pixels that it covers.

    Raises:
        InputError: it is lossy, and does not say how it was made.
    """
    with opened_tiff(path) as tiff:
        encoding, tile_px = lossy_encoding(path, tiff), int(tiff.block_shapes[0][0])
    if encoding is None:
        return None
    lattice = Lattice(tile_px=tile_px, row0=extent.row0, col0=extent.col0)
    return LossyTiles(path=path, encoding=encoding, lattice=lattice)


def lossy_encoding(path: Path | str, tiff: Any) -> CogEncoding | None:
    """How the tiles of a GeoTIFF were made, or None if they have the pixels that were written.

    Args:
        path: of the file, for the error.
        tiff: the file as rasterio opens it.

    Raises:
        InputError: it does not say with what quality.
    """
    compression = tiff.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "").rpartition(" ")[2].lower()
    if compression not in ("jpeg", "webp"):
        return None
    try:
        encoding = CogEncoding(compression=compression, quality=int(tiff.tags()["QUALITY"]))
    except (KeyError, ValueError):
        raise InputError(f"{path} is lossy and does not say with what quality it was made.") from None
    return encoding if encoding.is_lossy else None
