"""What a file of SpaceNet is, by its name and the names of the folders above it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tilegen.data.spacenet.layouts import AOI_FOLDER, LAYOUTS, ROUND_FOLDER, LabelLayout, Product, RoundLayout
from tilegen.errors import DataError


@dataclass(frozen=True, kw_only=True)
class RecognisedImage:
    """An image of one chip: `image_id` is unique within round, AOI and product; its labels say `labelled`."""

    layout: RoundLayout
    aoi: str
    product: Product
    image_id: str
    collect: str | None
    labelled: str


@dataclass(frozen=True, kw_only=True)
class RecognisedLabel:
    """A file with labels: of the chips that say `labelled`, or, if that is None, a table for many."""

    layout: RoundLayout
    label: LabelLayout
    aoi: str | None
    labelled: str | None


def recognise_image(folders: Sequence[str], file_name: str) -> RecognisedImage:
    """What the image `file_name` is, in `folders`, the innermost last.

    Raises:
        DataError: its name is that of no round, or of several; or neither it nor a folder names its AOI or product.
    """
    inside_out = folders[::-1]
    names = [
        (layout, name)
        for layout in LAYOUTS
        for pattern in layout.file_names
        if (name := pattern.fullmatch(file_name)) is not None
    ]
    if not names:
        raise DataError("has a name that no round of SpaceNet gives its images")
    layout, name = _of_one_round(names, inside_out)
    groups = name.groupdict()
    collect, labelled = groups.get("collect"), groups.get("labelled")
    image_id = groups.get("image_id") or f"{collect}_{labelled}"
    aoi = _aoi(layout, groups, inside_out)
    if aoi is None:
        known = ", ".join(layout.aois)
        raise DataError(f"is of {layout.name}, but neither its name nor a folder's says of which AOI ({known})")
    return RecognisedImage(
        layout=layout,
        aoi=aoi,
        product=_product(layout, groups, inside_out),
        image_id=image_id,
        collect=collect,
        labelled=labelled or image_id,
    )


def recognise_label(folders: Sequence[str], file_name: str) -> list[RecognisedLabel]:
    """The labels that are in a file: none in most files, of two kinds in those of SpaceNet 8."""
    inside_out = folders[::-1]
    found = []
    for layout in LAYOUTS:
        for label in layout.labels:
            name = label.file_name.fullmatch(file_name)
            in_place = not label.folders or any(is_named(inside_out[0], folder) for folder in label.folders)
            if name is not None and in_place:
                groups = name.groupdict()
                aoi = _aoi(layout, groups, inside_out)
                found.append(RecognisedLabel(layout=layout, label=label, aoi=aoi, labelled=groups.get("labelled")))
    return found


def is_named(text: str, name: str) -> bool:
    """Whether two names are the same but for their case, which differs between downloads."""
    return text.casefold() == name.casefold()


def _of_one_round(
    names: Sequence[tuple[RoundLayout, re.Match[str]]], inside_out: Sequence[str]
) -> tuple[RoundLayout, re.Match[str]]:
    """The round that the folders name, of those that a file may belong to; SN2 and SN3 once used the same names."""
    if len(names) == 1:
        return names[0]
    numbers = [found["round"] for folder in inside_out if (found := ROUND_FOLDER.fullmatch(folder))]
    for layout, name in names:
        if numbers and layout.name == f"SN{numbers[0]}":
            return layout, name
    for folder in inside_out:
        for layout, name in names:
            if not numbers and layout.folder.fullmatch(folder):
                return layout, name
    rounds = " or ".join(layout.name for layout, _ in names)
    raise DataError(f"may be of {rounds}: put it below a folder that names its round, such as {names[0][0].name}")


def _aoi(layout: RoundLayout, groups: dict[str, str | None], inside_out: Sequence[str]) -> str | None:
    """The AOI as its round spells it: the only one, or what the file name or the innermost folder that has one says."""
    if len(layout.aois) == 1:
        return layout.aois[0]
    if (named := groups.get("aoi")) is not None:
        return named.upper()
    number = groups.get("number")
    for folder in inside_out:
        if number is None and (found := AOI_FOLDER.fullmatch(folder)):
            number = found["number"]
        if (found := layout.folder.fullmatch(folder)) and "aoi" in found.re.groupindex:
            return next(aoi for aoi in layout.aois if is_named(aoi, found["aoi"]))
    return next((aoi for aoi in layout.aois if aoi.startswith(f"AOI_{number}_")), None)


def _product(layout: RoundLayout, groups: dict[str, str | None], inside_out: Sequence[str]) -> Product:
    """The product that the file name, or else the innermost folder that names one, says.

    Raises:
        DataError: neither does.
    """
    said = inside_out if (product := groups.get("product")) is None else [product]
    for text in said:
        for candidate in layout.products:
            if any(is_named(text, name) for name in candidate.names):
                return candidate
    known = ", ".join(product.names[0] for product in layout.products)
    raise DataError(f"is of {layout.name}, but in no folder of one of its products ({known})")
