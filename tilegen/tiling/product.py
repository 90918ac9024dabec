"""What a run writes: an extent of the world, where it lies, its bands, its storage layout and its provenance."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.aoi import Aoi

DTYPES = ("uint8", "uint16")
"""What pixels of products may be."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """Everything a sink must know before the first pixel. 0 is nodata, valid pixels are 1 and more.

    Args:
        extent: absolute pixels of the world that the product covers.
        georef: CRS and pixel size of the world grid.
        band_names: one name per band, such as ("red", "green", "blue").
        provenance: what made the pixels (seed, model digest, prior, versions, synthetic), JSON-serialisable.
        chunk_px: edge of a Zarr chunk and of a COG tile; a power of two, at least 16.
        shard_px: edge of a shard, the unit of work of one task; a multiple of `chunk_px` by a power of two.
        dtype: of the pixels, "uint8" or "uint16".
        scales: factor of each band, and
        offsets: summand of each band: a physical value is scale * pixel + offset. Empty where pixels mean nothing else.
        aoi: all pixels outside of it are nodata, and shards that it does not meet are not drawn; None draws all.

    Raises:
        InputError: chunk or shard size do not fit together, or bands, scales and offsets do not, or the AOI is of
            another world or beside the extent.
    """

    extent: Window
    georef: GeoReference
    band_names: tuple[str, ...]
    provenance: Mapping[str, Any]
    chunk_px: int = 512
    shard_px: int = 2048
    nodata: int = 0
    dtype: str = "uint8"
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    aoi: Aoi | None = None

    def __post_init__(self) -> None:
        self._check_radiometry()
        ratio, rest = divmod(self.shard_px, max(self.chunk_px, 1))
        if self.chunk_px < 16 or self.chunk_px & (self.chunk_px - 1):
            raise InputError(f"--chunk must be a power of two of at least 16 pixels, got {self.chunk_px}.")
        if rest or ratio < 1 or ratio & (ratio - 1):
            raise InputError(
                f"--shard must be --chunk ({self.chunk_px}) times a power of two, got {self.shard_px}. "
                f"Try {4 * self.chunk_px}."
            )
        if self.aoi is not None:
            if self.aoi.georef != self.georef:
                raise InputError("The AOI lies on the grid of another world. Open it for this one.")
            if not self.aoi.meets_pixel(self.extent):
                raise InputError(
                    "The AOI holds no pixel of the extent: no centre of one lies inside. Give another extent, or a "
                    "smaller --res."
                )

    def _check_radiometry(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"Products have pixels of {' or '.join(DTYPES)}, not of {self.dtype}.")
        numbers = (*self.scales, *self.offsets)
        if {len(self.scales), len(self.offsets)} not in ({0}, {len(self.band_names)}) or not all(
            map(math.isfinite, numbers)
        ):
            raise InputError(
                f"{len(self.band_names)} bands need as many finite scales and offsets, or none; got "
                f"{len(self.scales)} and {len(self.offsets)}."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, cols)."""
        return len(self.band_names), self.extent.height, self.extent.width

    @property
    def shards(self) -> Lattice:
        """Lattice of shards, anchored at the first pixel of the extent."""
        return Lattice(tile_px=self.shard_px, row0=self.extent.row0, col0=self.extent.col0)

    @property
    def shard_indices(self) -> list[tuple[int, int]]:
        """(row, col) of every shard that is drawn, row by row."""
        return list(self.each_shard())

    def each_shard(self) -> Iterator[tuple[int, int]]:
        """The same one by one: there may be millions."""
        span = self.shards.indices(self.extent)
        for row in range(span.row1):
            for col in range(span.col1):
                if self.has_shard((row, col)):
                    yield row, col

    @property
    def num_pixels(self) -> int:
        """Pixels of all shards that are drawn, those outside of the AOI included."""
        if self.aoi is None:
            return self.extent.height * self.extent.width
        rows, cols = (np.diff(borders) for borders in _shard_borders(self.extent, self.shard_px))
        return int(rows @ _shards_met(self.aoi, self.extent, self.shard_px) @ cols)

    def has_shard(self, shard: tuple[int, int]) -> bool:
        """Whether a shard of the extent is drawn; where there is none, all is nodata."""
        return self.aoi is None or bool(_shards_met(self.aoi, self.extent, self.shard_px)[shard])

    @property
    def num_shards(self) -> int:
        """How many shards are drawn."""
        if self.aoi is not None:
            return int(_shards_met(self.aoi, self.extent, self.shard_px).sum())
        span = self.shards.indices(self.extent)
        return span.height * span.width

    def shard_window(self, shard: tuple[int, int]) -> Window:
        """Absolute pixels of one shard, cut at the edge of the extent."""
        window = self.shards.tile(*shard).intersection(self.extent)
        if window is None:
            raise InputError(f"Shard {shard} is outside the product.")
        return window

    @property
    def num_levels(self) -> int:
        """Number of resolution levels: full size, then halves (rounded up) until both sides fit one chunk."""
        largest, levels = max(self.extent.shape), 1
        while largest > self.chunk_px:
            largest, levels = -(-largest // 2), levels + 1
        return levels

    def level_shape(self, level: int) -> tuple[int, int]:
        """(rows, cols) of a level: ceil(size / 2**level)."""
        return -(-self.extent.height // (1 << level)), -(-self.extent.width // (1 << level))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the pixels and their grid, chunks and shards included.

        A half-written product resumes only if it matches. How pixels are encoded is not in it: the manifest has that.
        """
        described = {
            "extent": [self.extent.row0, self.extent.col0, self.extent.row1, self.extent.col1],
            "crs": self.georef.crs,
            "res": self.georef.res,
            "bands": self.band_names,
            "layout": [self.chunk_px, self.shard_px, self.nodata],
            "provenance": dict(self.provenance),
            # Only where they are: runs that were begun before there was a choice go on.
            **({"anchor": self.georef.anchor} if self.georef.anchor != (0.0, 0.0) else {}),
            **({"aoi": self.aoi.digest} if self.aoi is not None else {}),
            **({} if self.dtype == "uint8" else {"dtype": self.dtype}),
            **({"scales": self.scales, "offsets": self.offsets} if self.scales else {}),
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=4)
def _shards_met(aoi: Aoi, extent: Window, shard_px: int) -> Bool[np.ndarray, "rows cols"]:
    """Which shards an AOI meets."""
    return aoi.meets(*_shard_borders(extent, shard_px))


def _shard_borders(extent: Window, shard_px: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Rows and columns where shards begin, and where the last one ends."""
    rows = np.append(np.arange(extent.row0, extent.row1, shard_px), extent.row1)
    cols = np.append(np.arange(extent.col0, extent.col1, shard_px), extent.col1)
    return rows, cols
