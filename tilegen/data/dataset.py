"""Reading a packed dataset: random crops that hold valid pixels only, the same for the same generator state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tilegen.data.card import LABEL_KINDS, SPLITS, ChipEntry, DatasetCard
from tilegen.data.packed import chip_name, label_name, read_card, valid_name
from tilegen.data.positions import CropPositions, crop_positions
from tilegen.errors import DataError, InputError

NUM_SYMMETRIES = 8
"""Elements of the dihedral group of the square: four rotations, each with or without a reflection."""


@dataclass(frozen=True, kw_only=True)
class PackedChip:
    """One chip of a packed dataset, in memory that the file backs.

    Args:
        entry: of the card.
        pixels: zero where not valid.
        valid: 1 where there is imagery, else 0; None when all of it is valid.
        labels: share of each pixel that each of `LABEL_KINDS` covers, 0 to 255; None when nobody labelled the chip.
    """

    entry: ChipEntry
    pixels: UInt8[Tensor, "bands rows cols"]
    valid: UInt8[Tensor, "rows cols"] | None
    labels: UInt8[Tensor, "kinds rows cols"] | None


class PackedDataset:
    """Chips of one split, uint8, in memory that the file backs. Made by `PackedDataset.open`."""

    def __init__(
        self,
        card: DatasetCard,
        split: str,
        chips: Sequence[PackedChip],
    ) -> None:
        self.card = card
        self.split = split
        self.chips = tuple(chips)
        self._positions: dict[tuple[int, tuple[str, ...]], CropPositions] = {}

    @classmethod
    def open(cls, path: str | Path, split: str = "train") -> PackedDataset:
        """Check the file's header and map the chips of `split` ("train" or "val").

        Raises:
            InputError: another split.
            DataError: the file is missing, truncated, foreign or hostile, or has no chip in the split.
        """
        path = Path(path)
        if split not in SPLITS:
            raise InputError(f"There is no split {split!r}. Give train or val.")
        card = read_card(path)
        chosen = [index for index, chip in enumerate(card.chips) if chip.split == split]
        if not chosen:
            raise DataError(f"{path.name}: has no chip in the split {split!r}. Pack it with another --val-fraction.")
        try:
            with safe_open(path, framework="pt") as file:
                chips = [
                    PackedChip(
                        entry=(entry := card.chips[i]),
                        pixels=file.get_tensor(chip_name(i)),
                        valid=file.get_tensor(valid_name(i)) if entry.masked else None,
                        labels=file.get_tensor(label_name(i)) if entry.labels else None,
                    )
                    for i in chosen
                ]
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path.name}: cannot be read ({error}).") from error
        return cls(card, split, chips)

    @property
    def num_bands(self) -> int:
        """Bands of every chip."""
        return self.card.num_bands

    @property
    def band_names(self) -> tuple[str, ...]:
        """Bands of every chip, in order."""
        return self.card.band_names

    @property
    def digest(self) -> str:
        """SHA-256 of the layout, pixels, masks and labels of the file, both splits, as its card says."""
        return self.card.digest

    @property
    def num_chips(self) -> int:
        """Chips of this split."""
        return len(self.chips)

    def num_positions(self, crop_px: int) -> int:
        """How many different crops of this size there are, symmetries not counted.

        Raises:
            DataError: none.
        """
        return self._positions_of(crop_px).total

    def crops(
        self,
        rng: np.random.Generator,
        *,
        crop_px: int,
        batch: int,
        per_chip: int = 1,
        dihedral: bool = False,
    ) -> UInt8[Tensor, "batch bands rows cols"]:
        """Random crops, each allowed position of each chip equally likely.

        Args:
            rng: the only source of chance: the same state gives the same crops.
            crop_px: edge of the crops.
            batch: how many.
            per_chip: so many consecutive crops come from one chip; `batch` is a multiple of it.
            dihedral: turn and mirror each crop by a random element of the symmetry group of the square, the same one
                for all crops of a chip, whose shadows then still fall one way.

        Raises:
            DataError: no chip has a valid square of `crop_px`.
        """
        positions = self._positions_of(crop_px)
        places, symmetries = _drawn(positions, rng, batch, per_chip, dihedral)
        cut = [self._cut(self.chips[chip].pixels, crop_px, row, col) for chip, row, col in places]
        return torch.stack([transformed(crop, symmetry) for crop, symmetry in zip(cut, symmetries, strict=True)])

    def labelled_crops(
        self,
        rng: np.random.Generator,
        *,
        kinds: tuple[str, ...] = LABEL_KINDS,
        crop_px: int,
        batch: int,
        dihedral: bool = False,
    ) -> tuple[UInt8[Tensor, "batch bands rows cols"], UInt8[Tensor, "batch kinds rows cols"]]:
        """Random crops of the chips in which all of `kinds` were labelled, and their labels, turned the same way.

        Labels are the share of a pixel that buildings or roads cover, 0 to 255. The rest is as in `crops`.

        Raises:
            InputError: a kind is none of `LABEL_KINDS`.
            DataError: no chip with these labels has a valid square of `crop_px`.
        """
        if not kinds or set(kinds) - set(LABEL_KINDS):
            raise InputError(f"There are no labels {', '.join(kinds)!r}. Give some of {', '.join(LABEL_KINDS)}.")
        places, symmetries = _drawn(self._positions_of(crop_px, kinds), rng, batch, 1, dihedral)
        planes = [LABEL_KINDS.index(kind) for kind in kinds]
        crops, labels = [], []
        for (number, row, col), symmetry in zip(places, symmetries, strict=True):
            chip = self.chips[number]
            assert chip.labels is not None  # other chips have no positions
            crops.append(transformed(self._cut(chip.pixels, crop_px, row, col), symmetry))
            labels.append(transformed(self._cut(chip.labels, crop_px, row, col)[planes], symmetry))
        return torch.stack(crops), torch.stack(labels)

    @staticmethod
    def _cut(planes: UInt8[Tensor, "planes _ _"], crop_px: int, row: int, col: int) -> UInt8[Tensor, "planes n n"]:
        return planes[:, row : row + crop_px, col : col + crop_px]

    def _positions_of(self, crop_px: int, kinds: tuple[str, ...] = ()) -> CropPositions:
        """In chips where all of `kinds` were labelled. Counted once, for masks make it the slow part."""
        if crop_px < 1:
            raise InputError(f"A crop needs at least one pixel, got {crop_px}.")
        if (crop_px, kinds) not in self._positions:
            fits = [set(kinds) <= set(chip.entry.labels) for chip in self.chips]
            shapes = [chip.entry.shape[1:] if fit else (0, 0) for chip, fit in zip(self.chips, fits, strict=True)]
            masks = [
                None if chip.valid is None or not fit else chip.valid.numpy() != 0
                for chip, fit in zip(self.chips, fits, strict=True)
            ]
            positions = crop_positions(shapes, masks, crop_px)
            if positions.total == 0:
                raise DataError(self._no_room(shapes, crop_px, kinds))
            self._positions[crop_px, kinds] = positions
        return self._positions[crop_px, kinds]

    def _no_room(self, shapes: Sequence[tuple[int, int]], crop_px: int, kinds: tuple[str, ...]) -> str:
        rows, cols = max(shapes, key=min)
        if not rows:
            return f"No chip of the split {self.split!r} has labels of {' and '.join(kinds)}. Pack it with labels."
        return (
            f"No chip of the split {self.split!r} has a valid square of {crop_px} x {crop_px} pixels; the largest chip "
            f"is {rows} x {cols}. Use a smaller crop or larger chips."
        )


def _drawn(
    positions: CropPositions, rng: np.random.Generator, batch: int, per_chip: int, dihedral: bool
) -> tuple[list[tuple[int, int, int]], list[int]]:
    """(chip, row, col) of each crop of a batch, and its symmetry."""
    if batch < 1 or batch % per_chip:
        raise InputError(f"A batch of {batch} crops cannot be made of {per_chip} from each chip.")
    firsts = rng.integers(positions.total, size=batch // per_chip)
    numbers = [number for first in firsts for number in positions.same_chip(int(first), rng, per_chip)]
    symmetries = rng.integers(NUM_SYMMETRIES if dihedral else 1, size=batch // per_chip).repeat(per_chip)
    return [positions.locate(number) for number in numbers], symmetries.tolist()


def transformed(crop: UInt8[Tensor, "planes n n"], symmetry: int) -> UInt8[Tensor, "planes n n"]:
    """Element 0..7 of the dihedral group: `symmetry % 4` quarter turns, then a reflection from 4 on."""
    turned = torch.rot90(crop, symmetry % 4, dims=(1, 2))
    return turned.flip(2) if symmetry >= 4 else turned
