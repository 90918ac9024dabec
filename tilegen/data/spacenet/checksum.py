"""Whether a file is what the server has: by a checksum of the whole file, or by the ETag if that is one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

_CHUNK_BYTES = 1 << 20


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """CRC-32 in the manner of hashlib."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_md5 = partial(hashlib.md5, usedforsecurity=False)
_WHOLE: dict[str, tuple[str, Callable[[], _Hash]]] = {
    "x-amz-checksum-sha256": ("SHA-256", hashlib.sha256),
    "x-amz-checksum-sha1": ("SHA-1", partial(hashlib.sha1, usedforsecurity=False)),
    "x-amz-checksum-crc32": ("CRC-32", _Crc32),
}
"""Headers with a checksum of the whole object; one of its parts ends in "-" and their number, and is passed over."""


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What a file must give.

    Args:
        name: for a person.
        new: the algorithm.
        digest: of the file, or of the digests of its parts, one after the other.
        part_bytes: size of every part but the last; None if the file is not in parts.
    """

    name: str
    new: Callable[[], _Hash]
    digest: bytes
    part_bytes: int | None = None

    def holds(self, path: Path, progress: Callable[[int], None]) -> bool:
        """Whether the file has this checksum; `progress` hears how many bytes are read."""
        with path.open("rb") as file:
            if self.part_bytes is None:
                return self._digest(file, None, progress) == self.digest
            outer = self.new()
            while file.tell() < path.stat().st_size:
                outer.update(self._digest(file, self.part_bytes, progress))
            return outer.digest() == self.digest

    def _digest(self, file: BinaryIO, num_bytes: int | None, progress: Callable[[int], None]) -> bytes:
        """Of the next `num_bytes`, or of all that is left."""
        found, left = self.new(), num_bytes
        while chunk := file.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES)):
            found.update(chunk)
            left = None if left is None else left - len(chunk)
            progress(file.tell())
        return found.digest()


def strongest_checksum(headers: Mapping[str, str], num_bytes: int, first_part_bytes: int | None) -> Checksum | None:
    """The best that the server says of an object, or None if it says nothing that can be computed here.

    An ETag is the MD5 of the object, or the MD5 of the MD5s of its parts followed by their number, unless the object
    is encrypted with a key of the user (Amazon S3 User Guide, Checking object integrity).

    Args:
        headers: of the object, in any case.
        num_bytes: its size.
        first_part_bytes: size of its first part, as the server says; None if unknown.
    """
    said = {name.lower(): value for name, value in headers.items()}
    candidates = [
        Checksum(name=name, new=new, digest=digest)
        for header, (name, new) in _WHOLE.items()
        if (digest := _decoded(said.get(header, "")))
    ]
    etag = re.fullmatch(r'"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?"', said.get("etag", ""))
    encrypted = said.get("x-amz-server-side-encryption", "AES256") != "AES256" or any(
        name.startswith("x-amz-server-side-encryption-customer") for name in said
    )
    if etag and not encrypted and (parts := _parts(num_bytes, etag[2], first_part_bytes)) is not None:
        name = f"MD5 of {etag[2]} parts" if etag[2] else "MD5"
        candidates.append(Checksum(name=name, new=_md5, digest=bytes.fromhex(etag[1]), part_bytes=parts or None))
    order = ("SHA-256", "SHA-1", "MD5", "CRC-32")
    return min(candidates, key=lambda candidate: order.index(candidate.name.partition(" of ")[0]), default=None)


def _parts(num_bytes: int, num_parts: str | None, first_part_bytes: int | None) -> int | None:
    """Size of a part; 0 if the object is in one piece, None if its parts cannot all be as large as the first."""
    if num_parts is None:
        return 0
    if not first_part_bytes or -(-num_bytes // first_part_bytes) != int(num_parts):
        return None
    return first_part_bytes


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except binascii.Error:
        return None
