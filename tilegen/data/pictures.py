"""Pictures of a packed dataset, for a human who wants to see what went in: chips, labels, splits and histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby, islice

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageOps

from tilegen.bands import shown_bands
from tilegen.data.card import ChipEntry
from tilegen.data.dataset import PackedChip
from tilegen.data.radiometry import HISTOGRAM_BINS, Histogram

NUM_CHIPS = 48
"""Chips of a sheet, evenly spaced over the split."""

CHIP_PX, PANEL_PX = 160, 320

MAX_GROUPS = 64
"""Groups of a sheet; others stand in the record only."""

SPLIT_COLOURS = {"train": (40, 90, 160), "val": (230, 130, 20)}

NODATA_COLOUR = (190, 40, 150)

LABEL_COLOURS = ((230, 60, 40), (250, 210, 40))
"""Of buildings and roads."""

_PAPER, _INK, _CAPTION_PX, _GAP_PX = (255, 255, 255), (30, 30, 30), 14, 6

_BAND_COLOURS = ((200, 40, 40), (30, 140, 60), (40, 70, 200), (90, 90, 90), (150, 60, 150), (0, 150, 160))


def chip_sheet(chips: Sequence[PackedChip], band_names: Sequence[str], *, with_labels: bool = False) -> Image.Image:
    """Some of the chips, evenly spaced, whole, no-data in one colour; `with_labels`, buildings and roads over them."""
    some = [chips[index * len(chips) // min(len(chips), NUM_CHIPS)] for index in range(min(len(chips), NUM_CHIPS))]
    panels = []
    for chip in some:
        picture = Image.fromarray(_with_labels(_rgb(chip, band_names), chip) if with_labels else _rgb(chip, band_names))
        panels.append(
            (
                chip.entry.name.rpartition("/")[2],
                ImageOps.pad(picture, (CHIP_PX, CHIP_PX), Image.Resampling.BOX, color=_PAPER),
            )
        )
    return _sheet(panels, CHIP_PX)


def _rgb(chip: PackedChip, band_names: Sequence[str]) -> UInt8[np.ndarray, "rows cols 3"]:
    """The bands of `shown_bands`; no-data in its colour."""
    picture = chip.pixels.numpy()[list(shown_bands(band_names))].transpose(1, 2, 0)  # a copy
    if chip.valid is not None:
        picture[chip.valid.numpy() == 0] = NODATA_COLOUR
    return picture


def _with_labels(picture: UInt8[np.ndarray, "rows cols 3"], chip: PackedChip) -> UInt8[np.ndarray, "rows cols 3"]:
    """Half of the colour of what covers a pixel."""
    painted = picture.astype(np.float32)
    for colour, plane in zip(LABEL_COLOURS, [] if chip.labels is None else chip.labels.numpy(), strict=False):
        share = plane[..., None] / np.float32(255 * 2)
        painted += share * (np.array(colour, np.float32) - painted)
    return painted.astype(np.uint8)


def split_map(chips: Iterable[ChipEntry]) -> Image.Image | None:
    """The chips of each group on its ground, north up, in the colours of their splits; None without georeference."""
    placed = (chip for chip in chips if chip.transform is not None)
    by_ground = groupby(sorted(placed, key=_ground), key=_ground)
    panels = [
        (f"{group} ({crs or 'unknown CRS'})", _map_panel(list(members)))
        for (group, crs), members in islice(by_ground, MAX_GROUPS)
    ]
    return _sheet(panels, PANEL_PX) if panels else None


def _ground(chip: ChipEntry) -> tuple[str, str]:
    return chip.group, (chip.crs or "")[:20]


def _map_panel(chips: Sequence[ChipEntry]) -> Image.Image:
    outlines = np.stack([_corners(chip) for chip in chips])
    low = outlines.min(axis=(0, 1))
    pace = (PANEL_PX - 3) / max(float(np.max(outlines.max(axis=(0, 1)) - low)), 1e-9)
    panel = Image.new("RGB", (PANEL_PX, PANEL_PX), _PAPER)
    pen = ImageDraw.Draw(panel)
    for chip, outline in zip(chips, (outlines - low) * pace, strict=True):
        points = [(1 + float(x), PANEL_PX - 2 - float(y)) for x, y in outline]
        pen.polygon(points, fill=SPLIT_COLOURS[chip.split], outline=_PAPER)
    return panel


def _corners(chip: ChipEntry) -> np.ndarray:
    """[4, 2] of (x, y) in the CRS."""
    assert chip.transform is not None  # others have no place on the map
    a, b, c, d, e, f = chip.transform
    _, rows, cols = chip.shape
    places = ((0, 0), (cols, 0), (cols, rows), (0, rows))
    return np.array([(a * col + b * row + c, d * col + e * row + f) for col, row in places])


def histogram_sheet(histograms: Sequence[Histogram], band_names: Sequence[str]) -> Image.Image:
    """For each group, its counts as they came and as they are stored; a line for each band, linear scale."""
    panels = []
    for one in histograms[:MAX_GROUPS]:
        ends = f"{min(one.low):g} to {max(one.high):g}"
        panels.append((f"{one.group}: {ends}", _curves(one.counts, one.low, one.high, band_names)))
        stored = len(one.low)
        panels.append(("stored: 0 to 255", _curves(one.stretched, (0.0,) * stored, (255.0,) * stored, band_names)))
    return _sheet(panels, PANEL_PX, cols=2 if len(panels) < 8 else 6)


def _curves(
    counts: Sequence[Sequence[int]], low: Sequence[float], high: Sequence[float], band_names: Sequence[str]
) -> Image.Image:
    panel = Image.new("RGB", (PANEL_PX, PANEL_PX), _PAPER)
    pen = ImageDraw.Draw(panel)
    pen.rectangle((0, 0, PANEL_PX - 1, PANEL_PX - 1), outline=(200, 200, 200))
    first, last = min(low), max(max(high), min(low) + 1)
    for number, (band, start, stop) in enumerate(zip(counts, low, high, strict=True)):
        values = start + (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS * (stop - start)
        across = (values - first) / (last - first) * (PANEL_PX - 1)
        up = PANEL_PX - 4 - np.array(band) / max(*band, 1) * (PANEL_PX - 12)
        colour = _BAND_COLOURS[number % len(_BAND_COLOURS)]
        pen.line([(float(x), float(y)) for x, y in zip(across, up, strict=True)], fill=colour)
        pen.text((PANEL_PX - 80, 4 + number * 12), str(band_names[number]), fill=colour)
    return panel


def _sheet(panels: Sequence[tuple[str, Image.Image]], side_px: int, cols: int | None = None) -> Image.Image:
    """Square panels in a grid, nearly square unless `cols` says otherwise, each with a caption below."""
    cols = cols or math.ceil(len(panels) ** 0.5)
    rows = math.ceil(len(panels) / cols)
    step_x, step_y = side_px + _GAP_PX, side_px + _CAPTION_PX + _GAP_PX
    sheet = Image.new("RGB", (cols * step_x + _GAP_PX, rows * step_y + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (caption, panel) in enumerate(panels):
        x, y = _GAP_PX + index % cols * step_x, _GAP_PX + index // cols * step_y
        sheet.paste(panel, (x, y))
        pen.text((x, y + side_px + 1), _shortened(caption, side_px // 6), fill=_INK)
    return sheet


def _shortened(caption: str, letters: int) -> str:
    """The ends say more than the middle; letters that the font lacks become "?"."""
    known = caption.encode("latin-1", "replace").decode("latin-1")
    return known if len(known) <= letters else f"{known[: letters // 3]}..{known[-(letters - letters // 3 - 2) :]}"
