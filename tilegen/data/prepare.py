"""Packing real imagery into one dataset file: find, check, stretch, split, write - or write nothing at all."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from tilegen.data.card import ChipEntry, DatasetCard
from tilegen.data.packed import UNKNOWN_DIGEST, data_bytes, is_packed, write_packed
from tilegen.data.scan import ChipReader, ScannedFolder, scan_folder, stored_bytes
from tilegen.data.sources import find_chips
from tilegen.data.splits import split_chips
from tilegen.errors import BudgetError, DataError, InputError, OutputError

MAX_DATASET_BYTES = 64 << 30
"""Largest dataset: training keeps all pixels at hand."""

Progress = Callable[[int, int], None]
"""Called with (steps done, all steps)."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `prepare_dataset` did."""

    path: Path
    num_bytes: int
    card: DatasetCard

    def count(self, split: str) -> int:
        """Chips in a split."""
        return sum(chip.split == split for chip in self.card.chips)

    def __str__(self) -> str:
        masked = sum(chip.masked for chip in self.card.chips)
        lines = [
            f"{self.path.name}: {self.count('train')} train + {self.count('val')} val chips of {self.card.num_bands} "
            f"band(s), {masked} with no-data, {len(self.card.rejects)} rejected, {self.num_bytes / 2**20:.1f} MiB"
        ]
        for stretch in self.card.stretches:
            ranges = ", ".join(f"{low:g}..{high:g}" for low, high in zip(stretch.low, stretch.high, strict=True))
            lines.append(f"stretched {stretch.folder}: {ranges} to 0..255")
        lines += [f"rejected {reject.reason}" for reject in self.card.rejects]
        return "\n".join(lines)


def prepare_dataset(  # noqa: PLR0913 - the options of one command, all by keyword
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    num_bands: int = 3,
    min_px: int = 64,
    stretch_percent: tuple[float, float] = (2.0, 98.0),
    val_fraction: float = 0.1,
    skip_bad: bool = False,
    overwrite: bool = False,
    licence: str | None = None,
    attribution: str | None = None,
    resolution_m: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Pack chips into one `.safetensors` file that `PackedDataset.open` reads.

    8-bit chips stay as they are. Deeper ones are stretched to 8 bits, by one stretch per folder and never per chip,
    so that dark chips stay dark; the stretches are stored. Chips are read twice, one at a time; kept in between are the
    name and shape of each and, of a folder of deep chips, about two million sampled pixels (at least 1024 of each chip)
    until its stretch is known.

    Args:
        sources: folders (recursive), images, or .zip archives of them.
        out: the file to write; appears whole or not at all.
        num_bands: bands that every chip must have, alpha not counted.
        min_px: smallest rows and columns of a chip.
        stretch_percent: percentiles of the valid pixels of a folder that become 0 and 255.
        val_fraction: share of the chips kept for validation, as runs of neighbours by name; 0 for none.
        skip_bad: leave bad chips out and list them in the report, instead of stopping at the first.
        overwrite: replace an existing `out`.
        licence: of the imagery, stored with it.
        attribution: whom to name, stored too.
        resolution_m: ground size of a pixel, metres, stored too.
        progress: called after each chip of both passes.

    Raises:
        InputError: an option or source cannot be used.
        DataError: a bad chip (without `skip_bad`), or no good one.
        OutputError: `out` exists, or cannot be written.
        BudgetError: the dataset would be too large, for training or for the disk.
    """
    out = Path(out)
    _check_options(num_bands, min_px, stretch_percent, val_fraction, resolution_m)
    _check_output(out, overwrite)
    with find_chips(sources) as found:
        reader = ChipReader(num_bands=num_bands, min_px=min_px, tick=_ticker(progress, 2 * len(found)))
        folders = [
            scan_folder(reader, list(group), stretch_percent, skip_bad)
            for _, group in groupby(found, key=lambda source: source.folder)
        ]
        card = replace(
            _card(folders, num_bands, val_fraction),
            licence=licence,
            attribution=attribution,
            resolution_m=resolution_m,
        )
        _check_room(card, out)
        card = write_packed(out, card, (part for folder in folders for part in stored_bytes(reader, folder)))
    return Report(path=out, num_bytes=out.stat().st_size, card=card)


def _card(folders: Sequence[ScannedFolder], num_bands: int, val_fraction: float) -> DatasetCard:
    """All of the card that the first pass knows.

    Raises:
        DataError: there is no good chip.
    """
    chips = [chip for folder in folders for chip in folder.chips]
    rejects = [reject for folder in folders for reject in folder.rejects]
    if not chips:
        raise DataError(f"None of the {len(rejects)} images can be used. The first: {rejects[0].reason}")
    splits = split_chips([chip.source.folder for chip in chips], val_fraction)
    return DatasetCard(
        num_bands=num_bands,
        chips=tuple(
            ChipEntry(
                name=chip.source.name,
                split=split,
                shape=chip.shape,
                masked=chip.masked,
                crs=chip.crs,
                res=chip.res,
            )
            for chip, split in zip(chips, splits, strict=True)
        ),
        stretches=tuple(folder.stretch for folder in folders if folder.stretch is not None),
        sources=tuple(dict.fromkeys(chip.source.folder for chip in chips)),
        licence=None,
        attribution=None,
        resolution_m=None,
        rejects=tuple(rejects),
        digest=UNKNOWN_DIGEST,
    )


def _ticker(progress: Progress | None, total: int) -> Callable[[], None]:
    """Tells `progress` of one more step of `total`, over both passes."""
    steps = itertools.count(1)

    def tick() -> None:
        if progress is not None:
            progress(next(steps), total)

    return tick


def _check_options(
    num_bands: int,
    min_px: int,
    stretch_percent: tuple[float, float],
    val_fraction: float,
    resolution_m: float | None,
) -> None:
    low, high = stretch_percent
    if num_bands < 1 or min_px < 1:
        raise InputError(f"--bands and --min-px must be at least 1, got {num_bands} and {min_px}.")
    if not 0 <= low < high <= 100:
        raise InputError(f"--stretch needs two rising percentiles in 0..100, such as 2 98, got {low} {high}.")
    if not 0 <= val_fraction < 1:
        raise InputError(f"--val-fraction must be at least 0 and less than 1, got {val_fraction}.")
    if resolution_m is not None and not (math.isfinite(resolution_m) and resolution_m > 0):
        raise InputError(f"--resolution-m must be a positive number of metres, got {resolution_m}.")


def _check_output(out: Path, overwrite: bool) -> None:
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
            f"The chips are {need / 2**30:.1f} GiB, a dataset holds at most {MAX_DATASET_BYTES / 2**30:.0f} GiB. "
            "Pack fewer chips."
        )
    if need > free:
        raise BudgetError(f"The chips need {need / 2**30:.1f} GiB, {out.parent} has {free / 2**30:.1f} GiB left.")
