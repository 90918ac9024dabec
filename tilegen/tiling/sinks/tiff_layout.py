"""Bytes of a BigTIFF: header, GDAL's structural metadata and image file directories (IFDs).

TIFF 6.0, the BigTIFF extension (https://libtiff.gitlab.io/libtiff/specification/bigtiff.html) and GDAL's description
of its COG layout (https://gdal.org/en/stable/drivers/raster/cog.html).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

_HEADER_BYTES = 16
_ENTRY_BYTES = 20


class FieldType(IntEnum):
    """TIFF field types in use."""

    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    DOUBLE = 12
    LONG8 = 16


_SIZE_BYTES = {
    FieldType.ASCII: 1,
    FieldType.SHORT: 2,
    FieldType.LONG: 4,
    FieldType.RATIONAL: 8,
    FieldType.DOUBLE: 8,
    FieldType.LONG8: 8,
}
_FORMAT = {FieldType.SHORT: "H", FieldType.LONG: "I", FieldType.LONG8: "Q"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One entry of an IFD; `data` are its values as little-endian bytes."""

    tag: int
    type: FieldType
    data: bytes

    @classmethod
    def numbers(cls, tag: int, kind: FieldType, *values: int) -> Field:
        """An entry of whole numbers."""
        return cls(tag=tag, type=kind, data=struct.pack(f"<{len(values)}{_FORMAT[kind]}", *values))

    @classmethod
    def fractions(cls, tag: int, *values: int) -> Field:
        """An entry of fractions that are whole numbers."""
        data = b"".join(struct.pack("<II", value, 1) for value in values)
        return cls(tag=tag, type=FieldType.RATIONAL, data=data)

    @classmethod
    def text(cls, tag: int, value: str) -> Field:
        """An entry of text, stored as UTF-8 as GDAL does."""
        return cls(tag=tag, type=FieldType.ASCII, data=value.encode() + b"\0")


def structural_metadata(*, masked: bool = False) -> bytes:
    """GDAL's "ghost block", which promises how tiles are ordered and framed; without it no reader says LAYOUT=COG.

    Args:
        masked: whether each tile is followed by that of its mask.
    """
    promises = (
        "LAYOUT=IFDS_BEFORE_DATA\n"
        "BLOCK_ORDER=ROW_MAJOR\n"
        "BLOCK_LEADER=SIZE_AS_UINT4\n"
        "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
        # GDAL overwrites NO by YES in place when somebody edits the file, hence the room after it.
        "KNOWN_INCOMPATIBLE_EDITION=NO\n "
    )
    if masked:
        promises += "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"
    return f"GDAL_STRUCTURAL_METADATA_SIZE={len(promises):06d} bytes\n{promises}".encode()


def header(directories: Sequence[Sequence[Field]], *, masked: bool = False) -> bytes:
    """Everything before the pixels: file header, structural metadata and the IFDs, each followed by its values.

    The length depends on the number of values only, not on the values: build it once with placeholder offsets to
    learn where the pixels start.

    Args:
        directories: the entries of each IFD.
        masked: whether each tile is followed by that of its mask.
    """
    ghost = _padded(structural_metadata(masked=masked), 2)  # as GDAL does, and its validator asks for
    blocks = [struct.pack("<2sHHHQ", b"II", 43, 8, 0, _HEADER_BYTES + len(ghost)), ghost]
    offset = _HEADER_BYTES + len(ghost)
    for number, fields in enumerate(directories):
        block = _directory(fields, offset, is_last=number == len(directories) - 1)
        blocks.append(block)
        offset += len(block)
    return _padded(b"".join(blocks), 16)


def read_first_directory(content: bytes) -> list[Field]:
    """The first IFD of a little-endian BigTIFF."""
    (position,) = struct.unpack_from("<Q", content, 8)
    (count,) = struct.unpack_from("<Q", content, position)
    fields = []
    for number in range(count):
        entry = position + 8 + number * _ENTRY_BYTES
        tag, kind, num_values = struct.unpack_from("<HHQ", content, entry)
        size_bytes = num_values * _SIZE_BYTES[FieldType(kind)]
        start = entry + 12 if size_bytes <= 8 else struct.unpack_from("<Q", content, entry + 12)[0]
        fields.append(Field(tag=tag, type=FieldType(kind), data=content[start : start + size_bytes]))
    return fields


def _directory(fields: Sequence[Field], offset: int, *, is_last: bool) -> bytes:
    """One IFD at `offset` of the file, with the values that do not fit into their entries behind it."""
    values_offset = offset + 8 + len(fields) * _ENTRY_BYTES + 8
    entries, values = [struct.pack("<Q", len(fields))], []
    for field in sorted(fields, key=lambda field: field.tag):
        count = len(field.data) // _SIZE_BYTES[field.type]
        in_entry = field.data
        if len(field.data) > 8:
            in_entry = struct.pack("<Q", values_offset)
            values.append(_padded(field.data, 8))
            values_offset += len(values[-1])
        entries.append(struct.pack("<HHQ8s", field.tag, field.type, count, in_entry))
    entries.append(struct.pack("<Q", 0 if is_last else values_offset))
    return b"".join(entries + values)


def _padded(data: bytes, multiple: int) -> bytes:
    return data + bytes(-len(data) % multiple)
