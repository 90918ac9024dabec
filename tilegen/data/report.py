"""The report on a packed dataset: a folder with a page, the same as JSON, and pictures, made from the file itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from tilegen.amounts import amount
from tilegen.atomic import explained, new_file, write_atomically
from tilegen.data.card import SPLITS
from tilegen.data.dataset import PackedDataset
from tilegen.data.packing import Report
from tilegen.data.pictures import chip_sheet, histogram_sheet, split_map
from tilegen.errors import OutputError

PAGE = "report.md"

RECORD = "report.json"
"""Written last: a report that has it is complete."""

_SHEETS = {f"{split}{kind}.png" for split in SPLITS for kind in ("", "-labels")}

_NAMES = _SHEETS | {"histograms.png", "map.png", PAGE, RECORD}


def default_report_folder(out: Path) -> Path:
    """`a-report` beside `a.safetensors`."""
    return out.with_name(f"{out.stem}-report")


def check_report_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that cannot or must not be written to.

    Raises:
        OutputError: it exists and is no report, or is one and `overwrite` is not given, or its parent is missing.
    """
    if not folder.parent.is_dir():
        raise OutputError(f"{folder.parent} is no folder. Create it first.")
    if not folder.exists():
        return
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - _NAMES:
        raise OutputError(f"{folder} is not a report. It will not be overwritten; give another --report.")
    if not overwrite:
        raise OutputError(f"{folder} exists. Give another --report, or --overwrite to replace it.")


def write_report(folder: Path, report: Report) -> None:
    """Write `report` with pictures of its packed file to `folder`.

    Raises:
        OutputError: the folder cannot be written. DataError: the packed file cannot be read.
    """
    with explained(folder):
        folder.mkdir(exist_ok=True)
        for name in _NAMES:
            (folder / name).unlink(missing_ok=True)
    names = []
    for name, picture in _pictures(report):
        with new_file(folder / name) as file:
            picture.save(file, "PNG")
        names.append(name)
    write_atomically(folder / PAGE, _page(report, names).encode())
    write_atomically(folder / RECORD, json.dumps(_record(report), indent=1).encode())


def _pictures(report: Report) -> Iterator[tuple[str, Image.Image]]:
    """(file name, picture) of all that there is to see."""
    bands = report.card.band_names
    for split in SPLITS:
        if not report.count(split):
            continue
        chips = PackedDataset.open(report.path, split).chips
        yield f"{split}.png", chip_sheet(chips, bands)
        labelled = [chip for chip in chips if chip.labels is not None]
        if labelled:
            yield f"{split}-labels.png", chip_sheet(labelled, bands, with_labels=True)
    yield "histograms.png", histogram_sheet(report.histograms, bands)
    ground = split_map(report.card.chips)
    if ground is not None:
        yield "map.png", ground


def _record(report: Report) -> dict[str, Any]:
    card = report.card
    return {
        "file": report.path.name,
        "num_bytes": report.num_bytes,
        "digest": card.digest,
        "band_names": card.band_names,
        "resolution_m": card.resolution_m,
        "licence": card.licence,
        "attribution": card.attribution,
        "groups": report.by_group(),
        "stretches": [asdict(stretch) for stretch in card.stretches],
        "histograms": [asdict(histogram) for histogram in report.histograms],
        "rejects": [asdict(reject) for reject in card.rejects],
    }


def _page(report: Report, pictures: list[str]) -> str:
    card = report.card
    size = "unknown ground size" if card.resolution_m is None else f"{card.resolution_m:g} m per pixel"
    lines = [
        f"# {report.path.name}",
        "",
        f"{', '.join(card.band_names)}; {size}; {amount(report.num_bytes)}; {card.licence or 'no licence'}.",
        "",
        "| group | train | val | with no-data | with labels | stretch to 0..255 |",
        "|---|---|---|---|---|---|",
    ]
    ranges = {
        one.group: ", ".join(f"{low:g}..{high:g}" for low, high in zip(one.low, one.high, strict=True))
        for one in card.stretches
    }
    for group, count in report.by_group().items():
        numbers = " | ".join(str(count[key]) for key in ("train", "val", "masked", "labelled"))
        lines.append(f"| {group} | {numbers} | {ranges.get(group, 'none, 8 bits')} |")
    for name in pictures:
        lines += ["", f"## {name.removesuffix('.png')}", "", f"![{name}]({name})"]
    lines += ["", f"## Left out: {len(card.rejects)}", "", *(f"- {reject.reason}" for reject in card.rejects)]
    return "\n".join(lines) + "\n"
