"""Packing SpaceNet as it was unpacked: one ground resolution, one stretch per AOI, splits that share no ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from tilegen.data.card import LABEL_KINDS, Reject
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
from tilegen.data.report import check_report_folder, default_report_folder, write_report
from tilegen.data.scan import Candidate, Labels, ScannedChip, scan_group
from tilegen.data.spacenet.find import SpaceNetChip, find_spacenet
from tilegen.data.spacenet.ground import Split, outline_of, split_by_ground
from tilegen.data.spacenet.labels import label_densities
from tilegen.data.spacenet.layouts import LAYOUTS, LICENCE
from tilegen.data.spacenet.resample import resampled
from tilegen.errors import DataError, InputError


def prepare_spacenet(  # noqa: PLR0913 - the options of one command, all by keyword
    root: str | Path,
    out: str | Path,
    *,
    rounds: Sequence[str] | None = None,
    aois: Sequence[str] | None = None,
    product: str | None = None,
    res_m: float = 0.5,
    min_px: int = 64,
    stretch_percent: tuple[float, float] = (2.0, 98.0),
    val_fraction: float = 0.1,
    strict: bool = False,
    overwrite: bool = False,
    report_folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Pack the chips and labels of SpaceNet below `root` into one file that `PackedDataset.open` reads.

    All chips get the same ground resolution (see `resampled`), deeper ones than 8 bits the stretch of their AOI (see
    `Stretch`), and no ground is in both splits (see `split_by_ground`). Chips are read twice, one at a time.

    Args:
        root: a folder with one or more rounds, or a part of one.
        out: the file to write; appears whole or not at all.
        rounds: such as "SN2"; None for all.
        aois: by name, number or city; None for all.
        product: such as "MUL-PanSharpen"; None for an RGB one of each AOI.
        res_m: ground size of a pixel, metres.
        min_px: smallest rows and columns of a chip, at `res_m`.
        stretch_percent: percentiles of the valid pixels of an AOI that become 0 and 255.
        val_fraction: share of the chips kept for validation, about; 0 for none.
        strict: stop at the first bad chip, or image of no known layout, instead of leaving them out and listing them.
        overwrite: replace an existing `out`, and its report.
        report_folder: where the report goes; None for `<stem of out>-report` beside `out`.
        progress: called after each chip of both passes.

    Raises:
        InputError: an option cannot be used, or fits nothing that is there.
        DataError: a bad chip (if `strict`), no good one, or all of them on the same ground.
        OutputError: `out` or the report exists, or cannot be written.
        BudgetError: the dataset would be too large, for training or for the disk.
    """
    out = Path(out)
    folder = default_report_folder(out) if report_folder is None else Path(report_folder)
    check_options(min_px, stretch_percent, val_fraction)
    check_resolution("--res", res_m)
    check_output(out, overwrite=overwrite)
    check_report_folder(folder, overwrite=overwrite)

    chips, rejects = find_spacenet(Path(root), rounds=rounds, aois=aois, product=product)
    if strict:
        _refuse_rejects(Path(root), rejects)
    facts = Facts(band_names=_band_names(chips), licence=LICENCE, attribution=_attribution(chips), resolution_m=res_m)
    tick = ticker(progress, 2 * len(chips))
    groups = [
        scan_group([_candidate(chip, res_m, min_px) for chip in group], stretch_percent, strict, tick)
        for _, group in groupby(chips, key=group_of)
    ]
    check_some_good(groups)
    scanned = [chip for group in groups for chip in group.chips]
    splits = _splits(scanned, val_fraction, res_m)
    beside = [_beside(chip) for chip, split in zip(scanned, splits, strict=True) if split is None]
    report = pack(out, groups, splits, facts, rejects=[*rejects, *beside], tick=tick)
    write_report(folder, report)
    return replace(report, folder=folder)


def _refuse_rejects(root: Path, rejects: Sequence[Reject]) -> None:
    """Folders are left out by rule, and are no reason to stop.

    Raises:
        DataError: a file was left out.
    """
    for reject in rejects:
        if not (root / reject.name).is_dir():
            raise DataError(reject.reason)


def group_of(chip: SpaceNetChip) -> str:
    """The chips that share a stretch: those of one round in one AOI, for each round has products of its own."""
    return f"{chip.round} {chip.aoi}"


def _band_names(chips: Sequence[SpaceNetChip]) -> tuple[str, ...]:
    """Of all chips.

    Raises:
        InputError: they differ.
    """
    first_with = {chip.band_names: chip for chip in reversed(chips)}
    if len(first_with) > 1:
        found = "; ".join(f"{group_of(chip)} {chip.product}: {', '.join(names)}" for names, chip in first_with.items())
        raise InputError(f"The bands differ ({found}). Choose with --rounds, --aoi or --product.")
    return chips[0].band_names


def _attribution(chips: Sequence[SpaceNetChip]) -> str:
    """Of all rounds that are there."""
    rounds = {chip.round for chip in chips}
    return "; ".join(dict.fromkeys(layout.attribution for layout in LAYOUTS if layout.name in rounds))


def _candidate(chip: SpaceNetChip, res_m: float, min_px: int) -> Candidate:
    return Candidate(
        name=chip.source.name,
        group=group_of(chip),
        collect=chip.collect,
        read=partial(_read, chip, res_m, min_px),
        labelled=tuple(kind for kind in LABEL_KINDS if kind in chip.label_kinds),
        labels=partial(_labels, chip),
    )


def _read(chip: SpaceNetChip, res_m: float, min_px: int) -> Chip:
    read = read_chip(chip.source.content(), name=chip.source.name, num_bands=len(chip.band_names))
    return resampled(read, res_m, min_px=min_px)


def _labels(chip: SpaceNetChip, read: Chip) -> Labels | None:
    assert read.transform is not None  # `resampled` gave it both
    assert read.crs is not None
    rows, cols = read.valid.shape
    return label_densities(chip, shape=(rows, cols), transform=read.transform, crs=read.crs)


def _splits(chips: Sequence[ScannedChip], val_fraction: float, res_m: float) -> list[Split]:
    outlines = []
    for chip in chips:
        assert chip.transform is not None
        assert chip.crs is not None
        outlines.append(outline_of(chip.candidate.group, chip.shape[1:], chip.transform, chip.crs))
    return split_by_ground(outlines, val_fraction, distance_m=res_m)


def _beside(chip: ScannedChip) -> Reject:
    name = chip.candidate.name
    return Reject(name=name, reason=f"{name}: overlaps or abuts ground that validates, so that it is in neither split.")
