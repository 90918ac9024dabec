"""Finding the chips of SpaceNet and their labels in a folder, as the rounds were unpacked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilegen.data.card import Reject
from tilegen.data.sources import ChipSource, natural_key
from tilegen.data.spacenet.choose import chosen_images
from tilegen.data.spacenet.layouts import LabelKind
from tilegen.data.spacenet.recognise import RecognisedImage
from tilegen.data.spacenet.solutions import read_solutions
from tilegen.data.spacenet.walk import FoundImage, FoundLabel, Walk, walk_folder
from tilegen.errors import DataError, InputError


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A file that says where buildings or roads are in one chip.

    Args:
        kind: of what is labelled; of a file with both, only the one.
        path: of the GeoJSON or CSV file; differs between machines, so that it is never stored.
        image_id: of the chip in a CSV file, as `read_solutions` spells it; None for GeoJSON.
    """

    kind: LabelKind
    path: Path
    image_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class SpaceNetChip:
    """One chip of one round in one product.

    Args:
        round: such as "SN2".
        aoi: area of interest, such as "AOI_2_Vegas".
        product: such as "PS-RGB", by the first of the names that layouts knows it by.
        image_id: unique within (round, aoi, product).
        collect: month, catalogue id or nadir angle, where the same ground was imaged several times; else None.
        source: where the image is; its folder is "round/aoi/product".
        band_names: in the order of the file, alpha left out.
        labels: at most one file of each kind; none where nobody labelled, which is not the same as an empty file.
    """

    round: str
    aoi: str
    product: str
    image_id: str
    collect: str | None
    source: ChipSource
    band_names: tuple[str, ...]
    labels: tuple[LabelFile, ...]

    @property
    def label_kinds(self) -> frozenset[LabelKind]:
        """What was labelled; of other kinds nothing is known."""
        return frozenset(label.kind for label in self.labels)


def find_spacenet(
    root: Path,
    *,
    rounds: Sequence[str] | None = None,
    aois: Sequence[str] | None = None,
    product: str | None = None,
) -> tuple[list[SpaceNetChip], list[Reject]]:
    """The chips of SpaceNet below `root`, in natural order, and what looks like imagery or labels but is left out.

    `root` may be a folder with several rounds, one round, or a part of one; what the folders above it are called counts
    too, but labels are looked for below it only. Each AOI of a round comes in one product, so that no ground comes
    twice: the one asked for, or else the first that is there of those in `layouts`, red, green and blue alone before
    others. SpaceNet 2 and 3 show the same cities, and both are taken unless `rounds` says otherwise.

    Args:
        root: a folder, unpacked.
        rounds: such as "SN2", "sn2" or "2"; all that are there if None or empty.
        aois: full name, number or city, such as "AOI_2_Vegas", "2" or "vegas"; all if None or empty.
        product: such as "PS-RGB", by any of its names; AOIs without it are left out.

    Raises:
        InputError: `root` is no folder; a round, AOI or product was asked for that is not there.
        DataError: there is no chip of SpaceNet at all.
    """
    if not root.is_dir():
        raise InputError(f"{root.name} is no folder. Unpack SpaceNet's archives, and give the folder they are in.")
    found = walk_folder(root.resolve())
    if not found.images:
        first = f" The first of {len(found.rejects)} files left out: {found.rejects[0].reason}" if found.rejects else ""
        raise DataError(f"{root.name} holds no chip of SpaceNet. Give a folder that a round was unpacked into.{first}")
    images = chosen_images(found, rounds=rounds, aois=aois, product=product)
    labels = _Labels(found)
    chips = [_chip(image, labels.of(image)) for image in images]
    chips.sort(key=lambda chip: (chip.round, natural_key(chip.aoi), natural_key(chip.image_id)))
    return chips, found.rejects


def _chip(image: FoundImage, labels: tuple[LabelFile, ...]) -> SpaceNetChip:
    what = image.what
    product = what.product.names[0]
    source = ChipSource(folder=f"{what.layout.name}/{what.aoi}/{product}", file_name=image.path.name, path=image.path)
    return SpaceNetChip(
        round=what.layout.name,
        aoi=what.aoi,
        product=product,
        image_id=what.image_id,
        collect=what.collect,
        source=source,
        band_names=what.product.band_names,
        labels=labels,
    )


class _Labels:
    """The label files of a walk, by the chips that they are of; tables are read when a chip has nothing else."""

    def __init__(self, found: Walk) -> None:
        self._found = found
        self._files: dict[tuple[str, str | None, str], list[FoundLabel]] = defaultdict(list)
        self._tables: list[FoundLabel] = []
        self._ids: dict[Path, frozenset[str]] = {}
        for label in found.labels:
            if label.what.labelled is None:
                self._tables.append(label)
            else:
                self._files[label.what.layout.name, label.what.aoi, label.what.labelled.casefold()].append(label)

    def of(self, image: FoundImage) -> tuple[LabelFile, ...]:
        """At most one file of each kind: the first that the layout names, files of the chip alone before tables."""
        what = image.what
        order = what.layout.labels.index
        files = self._files[what.layout.name, what.aoi, what.labelled.casefold()]
        chosen: dict[LabelKind, LabelFile] = {}
        for label in sorted(files, key=lambda file: order(file.what.label)):
            kind = label.what.label.kind
            chosen.setdefault(kind, LabelFile(kind=kind, path=label.path))
        for table in self._tables:
            kind = table.what.label.kind
            if kind not in chosen and (row := self._row(table, what)) is not None:
                chosen[kind] = LabelFile(kind=kind, path=table.path, image_id=row)
        return tuple(chosen.values())

    def _row(self, table: FoundLabel, what: RecognisedImage) -> str | None:
        """What a table calls an image, if it is in it: img1, AOI_2_Vegas_img1, Atlanta_nadir7_...; None if not."""
        if table.what.layout is not what.layout or what.product.names[0] not in table.what.label.grid:
            return None
        city = what.aoi.rpartition("_")[2]
        known = self._image_ids(table)
        candidates = (what.image_id, f"{what.aoi}_{what.image_id}", f"{city}_{what.image_id}")
        return next((name.casefold() for name in candidates if name.casefold() in known), None)

    def _image_ids(self, table: FoundLabel) -> frozenset[str]:
        """All images in a table; none if it is broken, which is said once."""
        if table.path not in self._ids:
            try:
                self._ids[table.path] = frozenset(read_solutions(table.path))
            except DataError as error:
                self._found.reject(table.name, str(error))
                self._ids[table.path] = frozenset()
        return self._ids[table.path]
