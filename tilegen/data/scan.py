"""The two passes over the chips: look at each one and fit the stretches, then give the bytes that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tilegen.data.card import Reject
from tilegen.data.chips import Chip, read_chip
from tilegen.data.radiometry import Stretch, fitted_stretch, sampled
from tilegen.data.sources import ChipSource
from tilegen.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ChipReader:
    """Reads chips by one set of rules and counts what it read.

    Args:
        num_bands: bands that each chip must have.
        min_px: smallest rows and columns.
        tick: called after each chip.
    """

    num_bands: int
    min_px: int
    tick: Callable[[], None]

    def read(self, source: ChipSource) -> Chip:
        """The chip of `source`, or DataError."""
        try:
            return read_chip(source.content(), name=source.name, num_bands=self.num_bands, min_px=self.min_px)
        finally:
            self.tick()


@dataclass(frozen=True, kw_only=True)
class ScannedChip:
    """What the first pass remembers of a good chip; its pixels are read again in the second.

    Args:
        source: where it is.
        shape: (bands, rows, cols).
        masked: whether some pixels are invalid.
        deep: whether it has more than 8 bits and gets stretched.
        crs: EPSG code or WKT; None when unknown.
        res: (rows, cols) pixel size in units of the CRS; None when unknown.
    """

    source: ChipSource
    shape: tuple[int, int, int]
    masked: bool
    deep: bool
    crs: str | None
    res: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class ScannedFolder:
    """The good chips of one folder, the stretch of the deep ones among them, and the bad chips."""

    chips: tuple[ScannedChip, ...]
    stretch: Stretch | None
    rejects: tuple[Reject, ...]


def scan_folder(
    reader: ChipReader,
    sources: Sequence[ChipSource],
    percent: tuple[float, float],
    skip_bad: bool,
) -> ScannedFolder:
    """First pass over the chips of one folder.

    Raises:
        DataError: a chip is bad, unless `skip_bad`.
    """
    chips, samples, rejects = [], [], []
    for source in sources:
        try:
            chip = reader.read(source)
        except DataError as error:
            if not skip_bad:
                raise
            reader.tick()  # there will be no second pass
            rejects.append(Reject(name=source.name, reason=str(error)))
            continue
        chips.append(_remembered(source, chip))
        if chips[-1].deep:
            samples.append(sampled(chip.pixels, chip.valid, len(sources)))
    stretch = fitted_stretch(sources[0].folder, samples, percent) if samples else None
    return ScannedFolder(chips=tuple(chips), stretch=stretch, rejects=tuple(rejects))


def stored_bytes(reader: ChipReader, folder: ScannedFolder) -> Iterator[bytes]:
    """Second pass: pixels, and mask if there is one, of one chip of the folder after the other.

    Raises:
        DataError: a chip is not what it was in the first pass.
    """
    for scanned in folder.chips:
        chip = reader.read(scanned.source)
        if _remembered(scanned.source, chip) != scanned:
            raise DataError(f"{chip.name}: changed while it was being packed. Run again.")
        pixels = folder.stretch.apply(chip.pixels) if scanned.deep and folder.stretch else chip.pixels
        yield np.where(chip.valid, pixels, np.uint8(0)).tobytes()
        if scanned.masked:
            yield chip.valid.astype(np.uint8).tobytes()


def _remembered(source: ChipSource, chip: Chip) -> ScannedChip:
    bands, rows, cols = chip.pixels.shape
    return ScannedChip(
        source=source,
        shape=(bands, rows, cols),
        masked=not bool(chip.valid.all()),
        deep=chip.pixels.dtype != np.uint8,
        crs=chip.crs,
        res=chip.res,
    )
