"""Joins parts into one Cloud-Optimized GeoTIFF by copying bytes; nothing is compressed again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt32, UInt64

from tilegen.atomic import new_file
from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog_folder import PartFolder
from tilegen.tiling.sinks.cog_metadata import level_fields, mask_fields, product_fields
from tilegen.tiling.sinks.cog_parts import FRAME_BYTES, Part, framed_sizes
from tilegen.tiling.sinks.encoding import CogEncoding
from tilegen.tiling.sinks.geo_keys import geo_fields
from tilegen.tiling.sinks.moments import added, no_moments
from tilegen.tiling.sinks.overviews import chunk_span
from tilegen.tiling.sinks.tiff_layout import Field, FieldType, header

_COPY_BYTES = 16 << 20
_NO_KERNEL_COPY = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}

# Each level has its own shape, rows and columns of tiles; `_` is not compared between levels. A mask follows its tile.
LevelSizes = list[UInt32[np.ndarray, "_ _ planes"]]
LevelOffsets = list[UInt64[np.ndarray, "_ _ planes"]]


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Where everything stands in a COG.

    Args:
        header: all before the tiles.
        offsets: where the frame of each payload starts, per level.
        num_bytes: size of the file.
    """

    header: bytes
    offsets: LevelOffsets
    num_bytes: int

    @classmethod
    def of(cls, parts: PartFolder) -> Assembly:
        """The COG made of `parts`, whose indices are read one after the other.

        Memory: 12 bytes per tile of the product, a few times over; pixels are never held.

        Raises:
            OutputError: a part is missing or damaged.
        """
        product = parts.product
        encoding = parts.encoding
        sizes, moments = _survey(product, parts.all_parts(), encoding.num_planes)
        offsets = frame_offsets(sizes)
        own = product_fields(product, encoding, moments) + geo_fields(product)
        start = len(header(_directories(product, encoding, own, sizes, offsets), masked=encoding.is_lossy))
        offsets = [level + np.uint64(start) for level in offsets]
        num_bytes = start + sum(int(framed_sizes(level).sum()) for level in sizes)
        written = header(_directories(product, encoding, own, sizes, offsets), masked=encoding.is_lossy)
        return cls(header=written, offsets=offsets, num_bytes=num_bytes)


def assemble(parts: PartFolder, destination: Path) -> None:
    """Write the COG made of `parts` to `destination`, in one step.

    Raises:
        OutputError: the disk is full, or a part is missing or damaged.
    """
    assembly = Assembly.of(parts)
    with new_file(destination) as file:
        file.write(assembly.header)
        file.flush()
        for part in parts.all_parts():
            _copy_part(part, file.fileno(), assembly.offsets)


def frame_offsets(sizes: LevelSizes) -> LevelOffsets:
    """Where the frame of each payload starts, counted from the first: smallest level first, each level row by row."""
    offsets, start = [], np.uint64(0)
    for level_sizes in reversed(sizes):
        framed = framed_sizes(level_sizes)
        ends = np.cumsum(framed, dtype=np.uint64).reshape(framed.shape)
        offsets.append(start + ends - framed)
        start += ends[-1, -1, -1]
    return offsets[::-1]


def copy_bytes(source: int, source_offset: int, target: int, target_offset: int, count: int) -> None:
    """Copy between two open files, inside the kernel where it can.

    Raises:
        OutputError: the source ends early.
    """
    try:
        _copy_in_kernel(source, source_offset, target, target_offset, count)
    except OSError as error:
        if isinstance(error, OutputError) or error.errno not in _NO_KERNEL_COPY:
            raise
        copy_through_memory(source, source_offset, target, target_offset, count)


def copy_through_memory(source: int, source_offset: int, target: int, target_offset: int, count: int) -> None:
    """The plain twin of `copy_bytes`, for file systems that cannot copy by themselves."""
    while count:
        data = os.pread(source, min(count, _COPY_BYTES), source_offset)
        if not data:
            raise OutputError("A part ended early while it was copied. Run the same command again.")
        written = os.pwrite(target, data, target_offset)
        source_offset, target_offset, count = (
            source_offset + written,
            target_offset + written,
            count - written,
        )


def _copy_in_kernel(source: int, source_offset: int, target: int, target_offset: int, count: int) -> None:
    while count:
        copied = os.copy_file_range(source, target, count, source_offset, target_offset)
        if not copied:
            raise OutputError("A part ended early while it was copied. Run the same command again.")
        source_offset, target_offset, count = source_offset + copied, target_offset + copied, count - copied


def _survey(
    product: Product, parts: Iterator[Part], num_planes: int
) -> tuple[LevelSizes, UInt64[np.ndarray, "bands 6"]]:
    """Compressed sizes of all tiles of all levels, and the moments of the whole product."""
    levels = range(product.num_levels)
    sizes = [np.zeros((*chunk_span(product, level).shape, num_planes), np.uint32) for level in levels]
    moments = no_moments(len(product.band_names))
    for part in parts:
        moments = added(moments, part.moments)
        first = 0
        for level, span in part.layout.spans:
            last = first + span.height * span.width * num_planes
            rows, cols = span.within(chunk_span(product, level))
            sizes[level][rows, cols] = part.sizes_bytes[first:last].reshape(*span.shape, num_planes)
            first = last
    # Shards that are not drawn have no part, and all of their pixels are nodata.
    moments[:, 0] = product.extent.height * product.extent.width
    return sizes, moments


def _directories(
    product: Product, encoding: CogEncoding, own: list[Field], sizes: LevelSizes, offsets: LevelOffsets
) -> list[list[Field]]:
    """The IFDs, full resolution first, each followed by that of its mask; a sparse tile has offset and size 0."""
    directories = []
    for level, (level_sizes, level_starts) in enumerate(zip(sizes, offsets, strict=True)):
        payloads = np.where(level_sizes > 0, level_starts + np.uint64(FRAME_BYTES // 2), np.uint64(0))
        fields = [level_fields(product, level, encoding) + (own if level == 0 else [])]
        if encoding.is_lossy:
            fields.append(mask_fields(product, level))
        for plane, described in enumerate(fields):
            positions = [
                Field(tag=324, type=FieldType.LONG8, data=payloads[:, :, plane].astype("<u8").tobytes()),
                Field(tag=325, type=FieldType.LONG, data=level_sizes[:, :, plane].astype("<u4").tobytes()),
            ]
            directories.append(described + positions)
    return directories


def _copy_part(part: Part, target: int, offsets: LevelOffsets) -> None:
    """Copy the tiles of a part to their places; tiles of one row of tiles are neighbours in both files."""
    framed = framed_sizes(part.sizes_bytes)
    with part.path.open("rb") as file:
        first = 0
        for level, span in part.layout.spans:
            for row in range(span.row0, span.row1):
                last = first + span.width * part.layout.num_planes
                place = int(offsets[level][row, span.col0, 0])
                copy_bytes(file.fileno(), int(part.offsets[first]), target, place, int(framed[first:last].sum()))
                first = last
