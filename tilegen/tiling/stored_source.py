"""Pixels of a finished product, read tile by tile as a renderer paints them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zarr
from jaxtyping import UInt

from tilegen.errors import InputError, TilegenError
from tilegen.geometry.halo import HaloPlan, Layer
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.finished import opened_store, opened_tiff


@dataclass(frozen=True)
class StoredSource:
    """A finished product in plain data. Implements `RendererSource`; opened by each worker for itself.

    Args:
        place: path or address of a GeoTIFF or a Zarr store.
        extent: absolute pixels of the world that it covers.
        band_names: in order.
        read_px: pixels a side that are read at once.
        dtype: of the pixels.
        images: paths of the pixels of all levels in a Zarr store.
        check_level: the coarsest level of which whole pixels lie in what is read at once; 0 if it is not stored.
    """

    place: str
    extent: Window
    band_names: tuple[str, ...]
    read_px: int
    dtype: str
    images: tuple[str, ...] = ()
    check_level: int = 0

    def open(self) -> StoredTiles:
        """What reads it."""
        return StoredTiles(self)


class StoredTiles:
    """Reads a finished product in tiles of its own lattice, from its first pixel on. Implements `TileRenderer`."""

    def __init__(self, source: StoredSource) -> None:
        self._source = source

    @property
    def lattice(self) -> Lattice:
        """What is read at once, anchored at the first pixel of the product."""
        extent = self._source.extent
        return Lattice(tile_px=self._source.read_px, row0=extent.row0, col0=extent.col0)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        return self._source.band_names

    def halo_plan(self) -> HaloPlan:
        """One layer that looks nowhere else."""
        return HaloPlan.for_window(self.lattice.tile(0, 0), [Layer(name="image")])

    def tile_bytes(self) -> int:
        """Pixels, and once more as they are decoded."""
        return 2 * len(self.band_names) * self._source.read_px**2 * np.dtype(self._source.dtype).itemsize

    def render_tile(self, tile: Window) -> UInt[np.ndarray, "bands rows cols"]:
        """The stored pixels of one tile; 0 beyond the product.

        Raises:
            InputError: they are damaged or gone. OutputError: an object store refuses.
        """
        source = self._source
        pixels = np.zeros((len(source.band_names), *tile.shape), source.dtype)
        common = tile.intersection(source.extent)
        if common is not None:
            place = common.shifted(-source.extent.row0, -source.extent.col0)
            try:
                stored = self._stored(place, 0)
                is_lost = source.check_level > 0 and not stored.any() and self._stored(place, source.check_level).any()
            except (OSError, ValueError, RuntimeError) as error:
                # What the system or an object store says may pass: the task is tried again.
                if isinstance(error, TilegenError) or (isinstance(error, OSError) and error.errno is not None):
                    raise
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InputError(f"{source.place} is damaged at {place}: {reason.rstrip('.')}.") from error
            if is_lost:
                raise InputError(f"{source.place} is damaged at {place}: a file of it is missing.")
            pixels[:, *common.within(tile)] = stored
        return pixels

    def _stored(self, window: Window, level: int) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of a level that lie in `window`, which is counted at full resolution from the first pixel on."""
        rows = slice(window.row0 >> level, -(-window.row1 >> level))
        cols = slice(window.col0 >> level, -(-window.col1 >> level))
        if not self._source.images:
            with opened_tiff(self._source.place) as tiff:
                pixels: np.ndarray = tiff.read(window=((rows.start, rows.stop), (cols.start, cols.stop)))
                return pixels
        with opened_store(self._source.place) as store:
            image = zarr.open_array(store, path=self._source.images[level], mode="r")
            return np.asarray(image[:, rows, cols])
