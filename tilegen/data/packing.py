"""From scanned chips to the packed file and the report on it, whatever the chips came from - or to nothing at all."""

from __future__ import annotations

import itertools
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilegen.amounts import amount
from tilegen.data.card import ChipEntry, DatasetCard, Reject
from tilegen.data.packed import UNKNOWN_DIGEST, data_bytes, is_packed, write_packed
from tilegen.data.radiometry import Histogram
from tilegen.data.scan import ScannedChip, ScannedGroup, stored_bytes
from tilegen.errors import BudgetError, DataError, InputError, OutputError

MAX_DATASET_BYTES = 64 << 30
"""Largest dataset: training keeps all pixels at hand."""

Progress = Callable[[int, int], None]
"""Called with (steps done, all steps)."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the user says of the imagery; see `DatasetCard`."""

    band_names: tuple[str, ...]
    licence: str | None
    attribution: str | None
    resolution_m: float | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was packed.

    Args:
        path: of the packed file.
        num_bytes: its size.
        card: its card.
        histograms: of the sampled pixels of each group.
        folder: that the report was written to, if it was.
    """

    path: Path
    num_bytes: int
    card: DatasetCard
    histograms: tuple[Histogram, ...]
    folder: Path | None = None

    def count(self, split: str) -> int:
        """Chips in a split."""
        return sum(chip.split == split for chip in self.card.chips)

    def by_group(self) -> dict[str, Counter[str]]:
        """For each group, how many chips each split has, and how many are "masked" and "labelled"."""
        counts: dict[str, Counter[str]] = {}
        for chip in self.card.chips:
            count = counts.setdefault(chip.group, Counter())
            count.update({chip.split: 1, "masked": int(chip.masked), "labelled": int(bool(chip.labels))})
        return counts

    def __str__(self) -> str:
        masked = sum(chip.masked for chip in self.card.chips)
        lines = [
            f"{self.path.name}: {self.count('train')} train + {self.count('val')} val chips of {self.card.num_bands} "
            f"band(s), {masked} with no-data, {len(self.card.rejects)} left out, {amount(self.num_bytes)}"
        ]
        for stretch in self.card.stretches:
            ranges = ", ".join(f"{low:g}..{high:g}" for low, high in zip(stretch.low, stretch.high, strict=True))
            lines.append(f"stretched {stretch.group}: {ranges} to 0..255")
        if self.folder is not None:
            return "\n".join([*lines, f"report: {self.folder}"])
        return "\n".join([*lines, *(f"left out {reject.reason}" for reject in self.card.rejects)])


def pack(
    out: Path,
    groups: Sequence[ScannedGroup],
    splits: Sequence[str | None],
    facts: Facts,
    *,
    rejects: Sequence[Reject] = (),
    tick: Callable[[], None],
) -> Report:
    """Second pass: write the chips of all groups, each in its split or, where that is None, not at all.

    Args:
        out: the file; appears whole or not at all.
        groups: from the first pass.
        splits: of all chips, group after group.
        facts: for the card.
        rejects: what was left out, beside the bad chips of the groups.
        tick: called for each chip.

    Raises:
        DataError: a chip changed between the passes.
        BudgetError: the dataset would be too large, for training or for the disk. OutputError: it cannot be written.
    """
    chips = [chip for group in groups for chip in group.chips]
    card = DatasetCard(
        band_names=facts.band_names,
        chips=tuple(_entry(chip, split) for chip, split in zip(chips, splits, strict=True) if split is not None),
        stretches=tuple(group.stretch for group in groups if group.stretch is not None),
        sources=tuple(dict.fromkeys(chip.candidate.group for chip in chips)),
        licence=facts.licence,
        attribution=facts.attribution,
        resolution_m=facts.resolution_m,
        rejects=(*rejects, *(reject for group in groups for reject in group.rejects)),
        digest=UNKNOWN_DIGEST,
    )
    _check_room(card, out)
    card = write_packed(out, card, _parts(groups, splits, tick))
    histograms = tuple(group.histogram for group in groups if group.histogram is not None)
    return Report(path=out, num_bytes=out.stat().st_size, card=card, histograms=histograms)


def _parts(groups: Sequence[ScannedGroup], splits: Sequence[str | None], tick: Callable[[], None]) -> Iterator[bytes]:
    chips = [(chip, group.stretch) for group in groups for chip in group.chips]
    for (chip, stretch), split in zip(chips, splits, strict=True):
        if split is not None:
            yield from stored_bytes(chip, stretch)
        tick()


def _entry(chip: ScannedChip, split: str) -> ChipEntry:
    return ChipEntry(
        name=chip.candidate.name,
        split=split,
        shape=chip.shape,
        masked=chip.masked,
        labels=chip.candidate.labelled,
        group=chip.candidate.group,
        collect=chip.candidate.collect,
        crs=chip.crs,
        transform=chip.transform,
    )


def ticker(progress: Progress | None, total: int) -> Callable[[], None]:
    """Tells `progress` of one more step of `total`, over both passes."""
    steps = itertools.count(1)

    def tick() -> None:
        if progress is not None:
            progress(next(steps), total)

    return tick


def check_some_good(groups: Sequence[ScannedGroup]) -> None:
    """Refuse to go on without a single good chip.

    Raises:
        DataError: there is none.
    """
    rejects = [reject for group in groups for reject in group.rejects]
    if not any(group.chips for group in groups):
        raise DataError(f"None of the {len(rejects)} images can be used. The first: {rejects[0].reason}")


def check_options(min_px: int, stretch_percent: tuple[float, float], val_fraction: float) -> None:
    """Refuse options that make no sense.

    Raises:
        InputError: one of them.
    """
    low, high = stretch_percent
    if min_px < 1:
        raise InputError(f"--min-px must be at least 1, got {min_px}.")
    if not 0 <= low < high <= 100:
        raise InputError(f"--stretch needs two rising percentiles in 0..100, such as 2 98, got {low} {high}.")
    if not 0 <= val_fraction < 1:
        raise InputError(f"--val-fraction must be at least 0 and less than 1, got {val_fraction}.")


def check_resolution(option: str, resolution_m: float) -> None:
    """Refuse what is no ground size of a pixel.

    Raises:
        InputError: it is not positive, or not finite.
    """
    if not 0 < resolution_m < math.inf:
        raise InputError(f"{option} must be a positive number of metres, got {resolution_m}.")


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, an `out` that cannot or must not be written.

    Raises:
        InputError: another suffix. OutputError: it exists, or its folder does not.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: the name of a packed dataset must end in .safetensors.")
    if not out.parent.is_dir():
        raise OutputError(f"{out.parent} is no folder. Create it first.")
    if out.is_dir() or (out.exists() and not overwrite):
        raise OutputError(f"{out} exists. Choose another name, or give --overwrite to replace a file.")
    if out.exists() and not (out.is_file() and is_packed(out)):
        raise OutputError(f"{out} is not a packed dataset. It will not be overwritten; choose another name.")


def _check_room(card: DatasetCard, out: Path) -> None:
    need, free = data_bytes(card), shutil.disk_usage(out.parent).free
    if need > MAX_DATASET_BYTES:
        raise BudgetError(
            f"The chips are {amount(need)}, a dataset holds at most {amount(MAX_DATASET_BYTES)}. Pack fewer chips."
        )
    if need > free:
        raise BudgetError(f"The chips need {amount(need)}, {out.parent} has {amount(free)} left. Free some space.")
