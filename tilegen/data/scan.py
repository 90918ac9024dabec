"""The two passes over the chips: look at each one and fit the stretches, then give the bytes that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from tilegen.data.card import Reject
from tilegen.data.chips import Chip
from tilegen.data.radiometry import Histogram, Stretch, fitted_stretch, histogram_of, sampled
from tilegen.errors import DataError

Labels = UInt8[np.ndarray, "kinds rows cols"]
"""Share of each pixel that each of `LABEL_KINDS` covers, 0 to 255."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A chip that may be packed, and how to read it.

    Args:
        name: what errors and the card call it.
        group: the chips that it shares a stretch with.
        read: gives the chip as it will be stored but for the stretch, or raises DataError.
        collect: date, catalogue id or nadir angle, where the same ground was imaged several times; else None.
        labelled: which of `LABEL_KINDS` somebody labelled.
        labels: of the chip that was read, or raises DataError; None where `labelled` is empty.
    """

    name: str
    group: str
    read: Callable[[], Chip]
    collect: str | None = None
    labelled: tuple[str, ...] = ()
    labels: Callable[[Chip], Labels | None] = lambda chip: None


@dataclass(frozen=True, kw_only=True)
class ScannedChip:
    """What the first pass remembers of a good chip; its pixels are read again in the second.

    Args:
        candidate: where it is from.
        shape: (bands, rows, cols).
        masked: whether some pixels are invalid.
        deep: whether it has more than 8 bits and gets stretched.
        crs: EPSG code or WKT; None when unknown.
        transform: as in `ChipEntry`; None when unknown.
    """

    candidate: Candidate
    shape: tuple[int, int, int]
    masked: bool
    deep: bool
    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class ScannedGroup:
    """The good chips of one group, the stretch of the deep ones among them, and the bad chips."""

    chips: tuple[ScannedChip, ...]
    stretch: Stretch | None
    histogram: Histogram | None
    rejects: tuple[Reject, ...]


def scan_group(
    candidates: Sequence[Candidate],
    percent: tuple[float, float],
    strict: bool,
    tick: Callable[[], None],
) -> ScannedGroup:
    """First pass over the chips of one group; `tick` is called for each, twice for one without a second pass.

    Raises:
        DataError: a chip is bad, and `strict`.
    """
    chips, rejects = [], []
    samples: dict[bool, list[Shaped[np.ndarray, "bands _"]]] = {True: [], False: []}
    for candidate in candidates:
        try:
            chip = candidate.read()
            candidate.labels(chip)
        except DataError as error:
            if strict:
                raise
            tick()
            rejects.append(Reject(name=candidate.name, reason=str(error)))
        else:
            chips.append(_remembered(candidate, chip))
            samples[chips[-1].deep].append(sampled(chip.pixels, chip.valid, len(candidates)))
        finally:
            tick()
    group, decisive = candidates[0].group, samples[True] or samples[False]
    stretch = fitted_stretch(group, np.concatenate(decisive, axis=1), percent) if samples[True] else None
    return ScannedGroup(
        chips=tuple(chips),
        stretch=stretch,
        histogram=histogram_of(group, decisive, stretch) if decisive else None,
        rejects=tuple(rejects),
    )


def stored_bytes(scanned: ScannedChip, stretch: Stretch | None) -> Iterator[bytes]:
    """Second pass: the pixels, the mask if there is one, and the labels if there are any, of one chip.

    Raises:
        DataError: the chip is not what it was in the first pass.
    """
    chip = scanned.candidate.read()
    if _remembered(scanned.candidate, chip) != scanned:
        raise DataError(f"{chip.name}: changed while it was being packed. Run again.")
    pixels = stretch.apply(chip.pixels) if scanned.deep and stretch else chip.pixels
    yield np.where(chip.valid, pixels, np.uint8(0)).tobytes()
    if scanned.masked:
        yield chip.valid.astype(np.uint8).tobytes()
    labels = scanned.candidate.labels(chip)
    assert (labels is not None) == bool(scanned.candidate.labelled)  # or the file would not be what its card says
    if labels is not None:
        yield np.where(chip.valid, labels, np.uint8(0)).tobytes()


def _remembered(candidate: Candidate, chip: Chip) -> ScannedChip:
    bands, rows, cols = chip.pixels.shape
    return ScannedChip(
        candidate=candidate,
        shape=(bands, rows, cols),
        masked=not bool(chip.valid.all()),
        deep=chip.pixels.dtype != np.uint8,
        crs=chip.crs,
        transform=None if (t := chip.transform) is None else (t.a, t.b, t.c, t.d, t.e, t.f),
    )
