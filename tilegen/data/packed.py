"""The packed dataset file: safetensors with chips, masks of valid pixels, and a JSON card in its header.

Tensors are `chip/00000` uint8 [bands, rows, cols]; for chips with no-data, `valid/00000` uint8 [rows, cols] of 0 and 1;
for chips that somebody labelled, `label/00000` uint8 [2, rows, cols], the share of each pixel that buildings and roads
cover, 0 to 255; a kind that was not labelled in the chip is 0 and says nothing. They follow
each other in order without gaps, so that the card alone tells every offset: a header that says anything else is
refused before a byte of pixels is touched.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tilegen.atomic import new_file
from tilegen.data.card import LABEL_KINDS, DatasetCard, card_from_json, card_to_json
from tilegen.errors import DataError

CARD_KEY = "tilegen_dataset"
"""Key of the card in the string metadata of the safetensors header."""

MAX_HEADER_BYTES = 64 << 20
"""Largest header. A hundred thousand chips need about half of it."""

UNKNOWN_DIGEST = "0" * 64
"""In the card while the pixels are not written yet."""

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class TensorPlace:
    """One tensor in the file: its name, its shape and its first byte after the header."""

    name: str
    shape: tuple[int, ...]
    offset_bytes: int

    @property
    def num_bytes(self) -> int:
        """Size; all tensors are uint8."""
        return math.prod(self.shape)


def is_packed(path: Path) -> bool:
    """Whether the header of a regular file begins as that of a packed dataset."""
    with path.open("rb") as file:
        return CARD_KEY.encode() in file.read(64)


def chip_name(index: int) -> str:
    """Name of the tensor with the pixels of a chip."""
    return f"chip/{index:05d}"


def valid_name(index: int) -> str:
    """Name of the tensor with the mask of a chip."""
    return f"valid/{index:05d}"


def label_name(index: int) -> str:
    """Name of the tensor with the labels of a chip."""
    return f"label/{index:05d}"


def tensor_places(card: DatasetCard) -> Iterator[TensorPlace]:
    """All tensors in the order of the file."""
    offset_bytes = 0
    for index, chip in enumerate(card.chips):
        _, *sides = chip.shape
        shapes: list[tuple[str, tuple[int, ...]]] = [(chip_name(index), chip.shape)]
        shapes += [(valid_name(index), (*sides,))] * chip.masked
        shapes += [(label_name(index), (len(LABEL_KINDS), *sides))] * bool(chip.labels)
        for name, shape in shapes:
            place = TensorPlace(name, shape, offset_bytes)
            offset_bytes += place.num_bytes
            yield place


def header_of(card: DatasetCard) -> bytes:
    """The bytes before the pixels: length of the JSON header, then the header, padded to 8 bytes.

    Raises:
        DataError: so many chips that the header would be refused on reading.
    """
    entries: dict[str, Any] = {"__metadata__": {CARD_KEY: card_to_json(card)}}
    for place in tensor_places(card):
        entries[place.name] = _entry(place)
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    if len(text) > MAX_HEADER_BYTES:
        raise DataError(f"{len(card.chips)} chips are too many for one dataset. Pack them into several.")
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def read_card(path: Path) -> DatasetCard:
    """The card of a packed dataset, after its whole header was checked against the card and the file's size.

    Raises:
        DataError: missing, truncated, foreign or hostile file.
    """
    try:
        with path.open("rb") as file:
            entries = _read_header(file, path)
            found_bytes = path.stat().st_size - file.tell()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror}).") from error
    metadata = entries.pop("__metadata__", None)
    text = metadata.get(CARD_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise DataError(f"{path.name}: is no tilegen dataset, it has no card. Make one with `tilegen data prepare`.")
    card = card_from_json(text, path.name)
    if {place.name: _entry(place) for place in tensor_places(card)} != entries:
        raise DataError(f"{path.name}: the tensors do not match the card. Pack the dataset again.")
    expected_bytes = data_bytes(card)
    if expected_bytes != found_bytes:
        raise DataError(
            f"{path.name}: holds {found_bytes} bytes of pixels where its card says {expected_bytes}; the file is "
            "truncated or damaged. Pack or copy it again."
        )
    return card


def data_bytes(card: DatasetCard) -> int:
    """Bytes after the header: pixels, masks and labels."""
    return sum(place.num_bytes for place in tensor_places(card))


def write_packed(out: Path, card: DatasetCard, parts: Iterable[bytes]) -> DatasetCard:
    """Write the file whole or not at all, from one tensor's bytes after the other; gives the card with its digest.

    Raises:
        OutputError: the file cannot be written.
    """
    with new_file(out) as file:
        return _write_parts(file, card, parts)


def _write_parts(file: BinaryIO, card: DatasetCard, parts: Iterable[bytes]) -> DatasetCard:
    """The digest stands in front of what it is made of, so that a header of the same length goes first."""
    header = header_of(replace(card, digest=UNKNOWN_DIGEST))
    file.write(header)
    digest = hashlib.sha256(_layout_of(card))
    for part in parts:
        digest.update(part)
        file.write(part)
    card = replace(card, digest=digest.hexdigest())
    file.seek(0)
    file.write(header_of(card))
    return card


def _layout_of(card: DatasetCard) -> bytes:
    """What the digest covers beside the pixels: the same pixels split otherwise are another dataset to learn from."""
    layout = [[chip.split, list(chip.shape), chip.masked, *chip.labels] for chip in card.chips]
    return json.dumps(layout).encode()


def _entry(place: TensorPlace) -> dict[str, Any]:
    end = place.offset_bytes + place.num_bytes
    return {"dtype": "U8", "shape": list(place.shape), "data_offsets": [place.offset_bytes, end]}


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    room = path.stat().st_size - _LENGTH_BYTES
    if not 2 <= length <= min(room, MAX_HEADER_BYTES):
        raise DataError(
            f"{path.name}: is truncated or no safetensors file (its header would be {length} bytes of {max(room, 0)})."
        )
    try:
        entries = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: is truncated or no safetensors file (its header is no JSON).") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path.name}: is no safetensors file (its header is no JSON object).")
    return entries
