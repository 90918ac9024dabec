"""The card of a packed dataset: what is inside, where it came from and how it was made, as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from tilegen.bands import RGB
from tilegen.config import from_dict
from tilegen.data.radiometry import Stretch
from tilegen.errors import DataError, InputError

FORMAT_VERSION = 2
"""Written. Version 1, which knew neither names of bands nor labels, is still read."""

SPLITS = ("train", "val")

LABEL_KINDS = ("buildings", "roads")
"""Planes of a label tensor, in this order."""

MAX_SIDE_PX = 1 << 24

MAX_BANDS = 4096


@dataclass(frozen=True, kw_only=True)
class ChipEntry:
    """One chip in the card.

    Args:
        name: folder and file name.
        split: "train" or "val".
        shape: (bands, rows, cols).
        masked: whether some pixels are invalid, so that the file holds a mask.
        labels: what was labelled in it, of `LABEL_KINDS`; if anything was, the file holds a label tensor.
        group: the chips that it shares a stretch with: a folder, or a round and AOI of SpaceNet.
        collect: date, catalogue id or nadir angle, where the same ground was imaged several times; else None.
        crs: EPSG code or WKT, None when unknown.
        transform: of GDAL's six numbers in affine's order (a, b, c, d, e, f): x = a col + b row + c and
            y = d col + e row + f are the corner of pixel (row, col) in the CRS; None when unknown.

    Raises:
        InputError: a value is out of range.
    """

    name: str
    split: str
    shape: tuple[int, int, int]
    masked: bool
    labels: tuple[str, ...]
    group: str
    collect: str | None
    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"there is no split {self.split!r}")
        if any(type(size) is not int or not 1 <= size <= MAX_SIDE_PX for size in self.shape):
            raise InputError(f"{self.shape} is no shape of a chip")
        if self.labels not in ((), LABEL_KINDS[:1], LABEL_KINDS[1:], LABEL_KINDS):
            raise InputError(f"{self.labels} are no labels")
        if self.transform is not None and not all(map(math.isfinite, self.transform)):
            raise InputError(f"{self.transform} is no transform")


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A file that was left out, and the sentence that says why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """Everything about a packed dataset but its pixels.

    Args:
        band_names: of every chip, in order.
        chips: in the order of the file.
        stretches: of the groups with more than 8 bits.
        sources: names of the folders or rounds, no paths.
        licence: of the imagery, such as "CC BY-SA 4.0"; None when unknown.
        attribution: whom to name; None when unknown.
        resolution_m: ground size of a pixel in metres; None when unknown or mixed.
        rejects: files left out.
        digest: SHA-256 of the split and shape of each chip and of all bytes after the header, in hexadecimal.

    Raises:
        InputError: a value is out of range, or a chip or stretch has another number of bands.
    """

    band_names: tuple[str, ...]
    chips: tuple[ChipEntry, ...]
    stretches: tuple[Stretch, ...]
    sources: tuple[str, ...]
    licence: str | None
    attribution: str | None
    resolution_m: float | None
    rejects: tuple[Reject, ...]
    digest: str

    def __post_init__(self) -> None:
        bands = {chip.shape[0] for chip in self.chips} | {len(stretch.low) for stretch in self.stretches}
        if bands - {self.num_bands} or not 1 <= self.num_bands <= MAX_BANDS:
            raise InputError(f"chips or stretches of {sorted(bands)} bands in a dataset of {self.num_bands}")
        if self.resolution_m is not None and not 0 < self.resolution_m < math.inf:
            raise InputError(f"{self.resolution_m} is no ground size")

    @property
    def num_bands(self) -> int:
        """Bands of every chip."""
        return len(self.band_names)


def default_band_names(num_bands: int) -> tuple[str, ...]:
    """Red, green and blue for three bands; numbers for others, of which nobody knows the meaning."""
    if num_bands == 3:
        return RGB
    return tuple(f"band {number + 1}" for number in range(num_bands))


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
        version = record.pop("format_version")
        if version not in (1, FORMAT_VERSION):
            raise InputError(f"format {version!r}, this tilegen reads 1 and {FORMAT_VERSION}")
        return from_dict(DatasetCard, _of_version_2(record) if version == 1 else record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(f"{name}: its card is damaged or of another tilegen ({what}). Pack it again.") from error


def _of_version_2(record: dict[str, Any]) -> dict[str, Any]:
    """A card of version 1 in the words of version 2. Of the georeference it knew the CRS and the pixel size alone."""
    chips = [{key: value for key, value in chip.items() if key != "res"} for chip in record.pop("chips")]
    unknown: dict[str, Any] = {"labels": [], "collect": None, "transform": None}
    return record | {
        "band_names": list(default_band_names(min(record.pop("num_bands"), MAX_BANDS))),
        "chips": [chip | unknown | {"group": chip["name"].rpartition("/")[0]} for chip in chips],
        "stretches": [{"group": entry.pop("folder")} | entry for entry in record.pop("stretches")],
    }
