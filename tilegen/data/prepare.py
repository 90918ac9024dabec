"""Packing the images of folders and archives into one dataset file: find, check, stretch, split, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from tilegen.data.card import MAX_BANDS, default_band_names
from tilegen.data.chips import Chip, read_chip
from tilegen.data.packing import (
    Facts,
    Progress,
    Report,
    check_options,
    check_output,
    check_resolution,
    check_some_good,
    pack,
    ticker,
)
from tilegen.data.report import check_report_folder, write_report
from tilegen.data.scan import Candidate, scan_group
from tilegen.data.sources import ChipSource, find_chips
from tilegen.data.splits import split_chips
from tilegen.errors import InputError


def prepare_dataset(  # noqa: PLR0913 - the options of one command, all by keyword
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    num_bands: int = 3,
    min_px: int = 64,
    stretch_percent: tuple[float, float] = (2.0, 98.0),
    val_fraction: float = 0.1,
    strict: bool = False,
    overwrite: bool = False,
    licence: str | None = None,
    attribution: str | None = None,
    resolution_m: float | None = None,
    report_folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Pack chips into one `.safetensors` file that `PackedDataset.open` reads.

    8-bit chips stay as they are. Deeper ones are stretched to 8 bits, by one stretch per folder and never per chip,
    so that dark chips stay dark; the stretches are stored. Chips are read twice, one at a time; kept in between are the
    name and shape of each and, of one folder at a time, about two million sampled pixels (at least 1024 of each chip).

    Args:
        sources: folders (recursive), images, or .zip archives of them.
        out: the file to write; appears whole or not at all.
        num_bands: bands that every chip must have, alpha not counted.
        min_px: smallest rows and columns of a chip.
        stretch_percent: percentiles of the valid pixels of a folder that become 0 and 255.
        val_fraction: share of the chips kept for validation, as runs of neighbours by name; 0 for none.
        strict: stop at the first bad chip, instead of leaving bad chips out and listing them.
        overwrite: replace an existing `out`.
        licence: of the imagery, stored with it.
        attribution: whom to name, stored too.
        resolution_m: ground size of a pixel, metres, stored too.
        report_folder: where to write a report with pictures; None for none.
        progress: called after each chip of both passes.

    Raises:
        InputError: an option or source cannot be used.
        DataError: a bad chip (if `strict`), or no good one.
        OutputError: `out` exists, or cannot be written.
        BudgetError: the dataset would be too large, for training or for the disk.
    """
    out = Path(out)
    check_options(min_px, stretch_percent, val_fraction)
    _check_facts(num_bands, resolution_m)
    check_output(out, overwrite=overwrite)
    if report_folder is not None:
        check_report_folder(Path(report_folder), overwrite=overwrite)
        _check_apart(Path(report_folder), sources)
    facts = Facts(
        band_names=default_band_names(num_bands), licence=licence, attribution=attribution, resolution_m=resolution_m
    )
    with find_chips(sources) as found:
        tick = ticker(progress, 2 * len(found))
        groups = [
            scan_group([_candidate(source, num_bands, min_px) for source in group], stretch_percent, strict, tick)
            for _, group in groupby(found, key=lambda source: source.folder)
        ]
        check_some_good(groups)
        folders = [chip.candidate.group for group in groups for chip in group.chips]
        report = pack(out, groups, split_chips(folders, val_fraction), facts, tick=tick)
    if report_folder is None:
        return report
    write_report(Path(report_folder), report)
    return replace(report, folder=Path(report_folder))


def _check_facts(num_bands: int, resolution_m: float | None) -> None:
    if not 1 <= num_bands <= MAX_BANDS:
        raise InputError(f"--bands goes from 1 to {MAX_BANDS}, got {num_bands}.")
    if resolution_m is not None:
        check_resolution("--resolution-m", resolution_m)


def _check_apart(report_folder: Path, sources: Sequence[str | Path]) -> None:
    """The pictures of a report among the chips would be packed as chips the next time."""
    for source in sources:
        if Path(source).is_dir() and report_folder.resolve().is_relative_to(Path(source).resolve()):
            raise InputError(f"The report would lie among the chips of {source}. Give a --report outside of it.")


def _candidate(source: ChipSource, num_bands: int, min_px: int) -> Candidate:
    return Candidate(name=source.name, group=source.folder, read=partial(_read, source, num_bands, min_px))


def _read(source: ChipSource, num_bands: int, min_px: int) -> Chip:
    return read_chip(source.content(), name=source.name, num_bands=num_bands, min_px=min_px)
