"""All parts of one COG: where they lie, which are finished, and how the smallest levels are made from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt

from tilegen.errors import OutputError
from tilegen.geometry.window import Window
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog_parts import Part, PartLayout, open_part, write_part
from tilegen.tiling.sinks.encoding import CogEncoding
from tilegen.tiling.sinks.moments import moments_of, no_moments
from tilegen.tiling.sinks.overviews import level_window, num_owned_levels, reduced
from tilegen.tiling.sinks.tile_codec import decode_tile, encode_tile


@dataclass(frozen=True, kw_only=True)
class PartFolder:
    """The parts of a product: one per shard, and one for each level that no shard owns.

    Args:
        folder: where the part files are.
        product: what they are parts of.
        encoding: how tiles are stored.
    """

    folder: Path
    product: Product
    encoding: CogEncoding

    def write_shard(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Write the part of one shard: its tiles on every level that it owns."""
        write_part(self._shard_path(shard), self._shard_payloads(pixels), moments_of(pixels))

    def shard(self, shard: tuple[int, int]) -> Part | None:
        """The part of a shard, or None unless it is complete."""
        return open_part(self._shard_path(shard), PartLayout.of_shard(self.product, shard, self.encoding.num_planes))

    def finished(self) -> set[tuple[int, int]]:
        """The shards whose parts are complete. A glance; `settle` reads them."""
        return {shard for shard in self.product.shard_indices if self.shard(shard) is not None}

    def settle(self) -> set[tuple[int, int]]:
        """The shards whose parts hold the bytes that were written, after removing every other part."""
        intact = {shard for shard in self.product.shard_indices if (part := self.shard(shard)) and part.is_intact()}
        vouched_for = {self._shard_path(shard) for shard in intact}
        for path in self.folder.glob("*.part"):
            if path not in vouched_for:
                path.unlink()
        return intact

    def write_remaining_levels(self) -> None:
        """Make the levels above those of the shards, each from the one below, four tiles at a time."""
        for level in range(num_owned_levels(self.product), self.product.num_levels):
            below = _LevelReader(parts=self, level=level - 1)
            tiles = PartLayout.of_level(self.product, level).tiles()
            payloads = (payload for _, row, col in tiles for payload in self._encoded(below.read_four(row, col)))
            write_part(self._level_path(level), payloads, no_moments(len(self.product.band_names)))

    def _encoded(self, below: UInt[np.ndarray, "bands rows cols"]) -> tuple[bytes, ...]:
        """Payloads of a tile, made of the pixels below it."""
        return encode_tile(reduced(below, self.encoding.resampling), self.product.chunk_px, self.encoding)

    def all_parts(self) -> Iterator[Part]:
        """Every part of the finished product, opened one after the other.

        Raises:
            OutputError: a part is missing.
        """
        for shard in self.product.shard_indices:
            yield _present(self.shard(shard), self._shard_path(shard))
        for level in range(num_owned_levels(self.product), self.product.num_levels):
            yield self.level(level)

    def level(self, level: int) -> Part:
        """The part of a level that no shard owns."""
        path = self._level_path(level)
        return _present(open_part(path, PartLayout.of_level(self.product, level, self.encoding.num_planes)), path)

    def _shard_payloads(self, pixels: UInt[np.ndarray, "bands rows cols"]) -> Iterator[bytes]:
        """Payloads of all tiles of a shard in the order of `PartLayout.of_shard`."""
        tile_px = self.product.chunk_px
        for level in range(num_owned_levels(self.product)):
            if level:
                pixels = reduced(pixels, self.encoding.resampling)
            for row in range(0, pixels.shape[1], tile_px):
                for col in range(0, pixels.shape[2], tile_px):
                    tile = pixels[:, row : row + tile_px, col : col + tile_px]
                    yield from encode_tile(tile, tile_px, self.encoding)

    def _shard_path(self, shard: tuple[int, int]) -> Path:
        return self.folder / part_name(shard)

    def _level_path(self, level: int) -> Path:
        return self.folder / f"level-{level}.part"


class _LevelReader:
    """Reads tiles of a finished level.

    Decoding them is as good as having kept the pixels where codecs are lossless; where they are not, the small levels
    lose a little twice, which the mean of four takes most of.
    """

    def __init__(self, *, parts: PartFolder, level: int) -> None:
        self._parts = parts
        self._window = level_window(parts.product, level)
        self._part = parts.level(level) if level >= num_owned_levels(parts.product) else None

    def read_four(self, row: int, col: int) -> UInt[np.ndarray, "bands rows cols"]:
        """The pixels below tile (`row`, `col`) of the next smaller level: up to 2x2 tiles, cut at the edge."""
        product = self._parts.product
        tile_px = product.chunk_px
        area = Window.from_size(2 * tile_px, 2 * tile_px, row0=2 * row * tile_px, col0=2 * col * tile_px)
        tiles = [(2 * row + i, 2 * col + j) for i in range(2) for j in range(2)]
        pixels = np.zeros((len(product.band_names), *area.shape), product.dtype)
        for tile_row, tile_col in tiles:
            tile = Window.from_size(tile_px, tile_px, row0=tile_row * tile_px, col0=tile_col * tile_px)
            if tile.intersection(self._window) is not None:
                payloads = self._payloads(tile_row, tile_col)
                pixels[:, *tile.within(area)] = decode_tile(
                    payloads, len(pixels), tile_px, self._parts.encoding, product.dtype
                )
        inside = area.intersection(self._window)
        if inside is None:
            raise OutputError(f"Tile ({row}, {col}) covers nothing; the overview levels do not fit together.")
        return pixels[:, *inside.within(area)]

    def _payloads(self, row: int, col: int) -> tuple[bytes, ...]:
        if self._part is None:
            if not self._parts.product.has_shard((row, col)):
                return (b"",) * self._parts.encoding.num_planes
            # The smallest level that shards own has one tile per shard, the last of its part.
            part = _present(self._parts.shard((row, col)), self._parts.folder)
            return part.read(part.layout.num_tiles - 1)
        _, span = self._part.layout.spans[0]
        return self._part.read(row * span.width + col)


def part_name(shard: tuple[int, int]) -> str:
    """Name of the part of a shard, in folders as in buckets."""
    return f"shard-{shard[0]}-{shard[1]}.part"


def _present(part: Part | None, path: Path) -> Part:
    if part is None:
        raise OutputError(f"{path} is missing or damaged. Run the same command again; finished shards are kept.")
    return part
