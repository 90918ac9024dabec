"""Part files: the compressed tiles of one shard (or of one overview level), ready to be copied into a COG.

    magic | tile, tile, ... | size of every tile (uint32) | moments (uint64, bands x 6) | SHA-256 | footer

A tile that is not sparse is stored as it will stand in the COG: its size (uint32), the payload, and the last four
bytes of the payload again. Where there are masks, each follows its tile in the same way, and is counted as one. The
order is fixed by the layout: level by level, each row by row. Everything is little-endian. The footer comes last, and
the sizes must add up to the length of the file: a part that was cut short is recognised at a glance. One that was
altered is recognised by the SHA-256 of all that stands before it. "Tile" is TIFF's word for what is a chunk elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt32, UInt64

from tilegen.atomic import new_file
from tilegen.errors import OutputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.moments import NUM_MOMENTS
from tilegen.tiling.sinks.overviews import chunk_span, num_owned_levels

FRAME_BYTES = 8
"""What a tile takes in a file beyond its payload: the leader and the trailer, four bytes each."""

_MAGIC = b"tilegen part 3\n\0"
# SHA-256 of all before it, number of tiles, number of bands, CRC-32 of sizes and moments; then the magic again.
_FOOTER = struct.Struct(f"<32sQQI{len(_MAGIC)}s")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PartLayout:
    """Which tiles a part holds.

    Args:
        spans: for each level, a window of tile indices of that level.
        num_planes: what is stored of each tile, one after the other: 1, or 2 with its mask.
    """

    spans: tuple[tuple[int, Window], ...]
    num_planes: int = 1

    @classmethod
    def of_shard(cls, product: Product, shard: tuple[int, int], num_planes: int = 1) -> PartLayout:
        """The tiles of the levels that the task of a shard owns."""
        spans = []
        for level in range(num_owned_levels(product)):
            # A pixel of this lattice is a tile of the COG.
            shards = Lattice(tile_px=(product.shard_px // product.chunk_px) >> level)
            span = shards.tile(*shard).intersection(chunk_span(product, level))
            if span is not None:  # always there; it tells the type checker so
                spans.append((level, span))
        return cls(spans=tuple(spans), num_planes=num_planes)

    @classmethod
    def of_level(cls, product: Product, level: int, num_planes: int = 1) -> PartLayout:
        """All tiles of one level."""
        return cls(spans=((level, chunk_span(product, level)),), num_planes=num_planes)

    @property
    def num_tiles(self) -> int:
        """Number of tiles, sparse ones included."""
        return sum(span.height * span.width for _, span in self.spans)

    @property
    def num_payloads(self) -> int:
        """Number of payloads: those of each tile."""
        return self.num_tiles * self.num_planes

    def tiles(self) -> Iterator[tuple[int, int, int]]:
        """(level, row, col) of every tile, in the order of the file."""
        for level, span in self.spans:
            for row in range(span.row0, span.row1):
                for col in range(span.col0, span.col1):
                    yield level, row, col


@dataclass(frozen=True, kw_only=True)
class Part:
    """A complete part file, opened by its index.

    Args:
        path: the file.
        layout: its tiles.
        sizes_bytes: compressed size of each payload without frame, 0 for that of a sparse tile.
        moments: of the full-resolution pixels, per band.
        digest: SHA-256 of all but the footer, as it was written.
    """

    path: Path
    layout: PartLayout
    sizes_bytes: UInt32[np.ndarray, " payloads"]
    moments: UInt64[np.ndarray, "bands 6"]
    digest: bytes

    @cached_property
    def offsets(self) -> UInt64[np.ndarray, " payloads"]:
        """Where the frame of each payload starts in the file, bytes."""
        framed = framed_sizes(self.sizes_bytes)
        return np.asarray(np.uint64(len(_MAGIC)) + np.cumsum(framed, dtype=np.uint64) - framed)

    def is_intact(self) -> bool:
        """Whether the file holds the bytes that were written; reads all of it."""
        found, left = hashlib.sha256(), self.path.stat().st_size - _FOOTER.size
        with self.path.open("rb", buffering=0) as file:
            while left > 0 and (data := file.read(min(left, _READ_BYTES))):
                found.update(data)
                left -= len(data)
        return found.digest() == self.digest

    def read(self, tile: int) -> tuple[bytes, ...]:
        """Payloads of the tile with this position in the layout; empty for a sparse one."""
        num_planes = self.layout.num_planes
        with self.path.open("rb", buffering=0) as file:
            return tuple(self._payload(file, tile * num_planes + plane) for plane in range(num_planes))

    def _payload(self, file: FileIO, number: int) -> bytes:
        size_bytes = int(self.sizes_bytes[number])
        file.seek(int(self.offsets[number]) + FRAME_BYTES // 2)
        payload = file.read(size_bytes) if size_bytes else b""
        if len(payload) != size_bytes:
            raise OutputError(f"{self.path} was cut short while it was read. Run the same command again.")
        return payload


def framed_sizes(sizes_bytes: UInt32[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Bytes that payloads take with their frames; those of sparse tiles take none."""
    return np.where(sizes_bytes > 0, sizes_bytes.astype(np.uint64) + np.uint64(FRAME_BYTES), np.uint64(0))


def write_part(path: Path, payloads: Iterable[bytes], moments: UInt64[np.ndarray, "bands 6"]) -> None:
    """Write a part in one step. `payloads` come in the order of its layout and may be made while writing.

    Raises:
        OutputError: the disk is full or the file cannot be written; nothing is left behind.
    """
    sizes: list[int] = []
    digest = hashlib.sha256()
    with new_file(path) as file:

        def write(*pieces: bytes) -> None:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)

        write(_MAGIC)
        for payload in payloads:
            sizes.append(len(payload))
            if payload:
                write(struct.pack("<I", len(payload)), payload, payload[-4:])
        index = np.asarray(sizes, "<u4").tobytes() + moments.astype("<u8").tobytes()
        write(index)
        file.write(_FOOTER.pack(digest.digest(), len(sizes), len(moments), zlib.crc32(index), _MAGIC))


def index_length(num_payloads: int, bands: int) -> int:
    """Bytes of the index of a part: sizes and moments."""
    return 4 * num_payloads + 8 * NUM_MOMENTS * bands


def open_part(path: Path, layout: PartLayout) -> Part | None:
    """The part at `path`, or None if there is none, or one that is cut short or of another layout.

    Reads the index alone: whether the tiles are those that were written, `Part.is_intact` tells.
    """
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(length - _FOOTER.size, 0))
            footer = file.read()
            if len(footer) < _FOOTER.size:
                return None
            digest, num_payloads, bands, checksum, magic = _FOOTER.unpack(footer)
            index_bytes = index_length(num_payloads, bands)
            index_offset = length - _FOOTER.size - index_bytes
            if magic != _MAGIC or num_payloads != layout.num_payloads or index_offset < len(_MAGIC):
                return None
            file.seek(index_offset)
            index = file.read(index_bytes)
    except FileNotFoundError:
        return None
    sizes = np.frombuffer(index, "<u4", num_payloads).astype(np.uint32)
    if zlib.crc32(index) != checksum or len(_MAGIC) + int(framed_sizes(sizes).sum()) != index_offset:
        return None
    moments = np.frombuffer(index, "<u8", offset=4 * num_payloads).reshape(bands, NUM_MOMENTS).astype(np.uint64)
    return Part(path=path, layout=layout, sizes_bytes=sizes, moments=moments, digest=digest)
