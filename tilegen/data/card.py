"""The card of a packed dataset: what is inside, where it came from and how it was made, as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from tilegen.data.radiometry import Stretch
from tilegen.errors import DataError

FORMAT_VERSION = 1

SPLITS = ("train", "val")

MAX_SIDE_PX = 1 << 24


@dataclass(frozen=True, kw_only=True)
class ChipEntry:
    """One chip in the card.

    Args:
        name: folder and file name.
        split: "train" or "val".
        shape: (bands, rows, cols).
        masked: whether some pixels are invalid, so that the file holds a mask.
        crs: EPSG code or WKT, None when unknown.
        res: (rows, cols) pixel size in units of the CRS, None when unknown.
    """

    name: str
    split: str
    shape: tuple[int, int, int]
    masked: bool
    crs: str | None
    res: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A file that was left out, and the sentence that says why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """Everything about a packed dataset but its pixels.

    Args:
        num_bands: bands of every chip.
        chips: in the order of the file.
        stretches: of the folders with more than 8 bits.
        sources: names of the folders, no paths.
        licence: of the imagery, such as "CC BY-SA 4.0"; None when unknown.
        attribution: whom to name; None when unknown.
        resolution_m: ground size of a pixel in metres; None when unknown or mixed.
        rejects: files left out.
        digest: SHA-256 of the split and shape of each chip and of all bytes after the header, in hexadecimal.
    """

    num_bands: int
    chips: tuple[ChipEntry, ...]
    stretches: tuple[Stretch, ...]
    sources: tuple[str, ...]
    licence: str | None
    attribution: str | None
    resolution_m: float | None
    rejects: tuple[Reject, ...]
    digest: str


def card_to_json(card: DatasetCard) -> str:
    """The card as JSON text, with the format version in front."""
    return json.dumps({"format_version": FORMAT_VERSION} | asdict(card), separators=(",", ":"), allow_nan=False)


def card_from_json(text: str, name: str) -> DatasetCard:
    """The card that `card_to_json` wrote; `name` is the file's, for the sentence of an error.

    Raises:
        DataError: not JSON, of another version, or a field is missing, unknown or of the wrong type.
    """
    try:
        record = json.loads(text)
        return _card(record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(f"{name}: its card is damaged or of another tilegen ({what}). Pack it again.") from error


def _card(record: dict[str, Any]) -> DatasetCard:
    """Build the card, each field through a check of its type; TypeError and ValueError say what is wrong."""
    version = record.pop("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(f"format {version!r}, this tilegen reads {FORMAT_VERSION}")
    num_bands = _count(record.pop("num_bands"))
    return DatasetCard(
        num_bands=num_bands,
        chips=tuple(_chip(entry, num_bands) for entry in _list(record.pop("chips"))),
        stretches=tuple(_stretch(entry, num_bands) for entry in _list(record.pop("stretches"))),
        sources=tuple(_text(entry) for entry in _list(record.pop("sources"))),
        rejects=tuple(
            Reject(name=_text(entry["name"]), reason=_text(entry["reason"])) for entry in _list(record.pop("rejects"))
        ),
        licence=_text_or_none(record.pop("licence")),
        attribution=_text_or_none(record.pop("attribution")),
        resolution_m=None if (metres := record.pop("resolution_m")) is None else _number(metres),
        digest=_text(record.pop("digest")),
        **record,  # an unknown field is a TypeError
    )


def _chip(entry: dict[str, Any], num_bands: int) -> ChipEntry:
    bands, rows, cols = (_count(size) for size in _list(entry.pop("shape")))
    if bands != num_bands:
        raise ValueError(f"a chip of {bands} bands in a dataset of {num_bands}")
    split, masked, res = _text(entry.pop("split")), entry.pop("masked"), entry.pop("res")
    if split not in SPLITS or not isinstance(masked, bool):
        raise ValueError(f"split {split!r}, masked {masked!r}")
    if res is not None:
        row_size, col_size = (_number(size) for size in _list(res))
        res = (row_size, col_size)
    name, crs = _text(entry.pop("name")), _text_or_none(entry.pop("crs"))
    return ChipEntry(name=name, split=split, shape=(bands, rows, cols), masked=masked, crs=crs, res=res, **entry)


def _stretch(entry: dict[str, Any], num_bands: int) -> Stretch:
    percent, low, high = (tuple(_number(value) for value in _list(entry[key])) for key in ("percent", "low", "high"))
    if len(percent) != 2 or len(low) != num_bands or len(high) != num_bands:
        raise ValueError("a stretch with the wrong number of bands")
    return Stretch(folder=_text(entry["folder"]), percent=(percent[0], percent[1]), low=low, high=high)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:40]!r} is no list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{str(value)[:40]!r} is no finite number")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIDE_PX:
        raise TypeError(f"{str(value)[:40]!r} is no size")
    return value
