"""Reading a packed dataset: random crops that hold valid pixels only, the same for the same generator state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tilegen.data.card import SPLITS, DatasetCard
from tilegen.data.packed import chip_name, read_card, valid_name
from tilegen.data.positions import CropPositions, crop_positions
from tilegen.errors import DataError, InputError

NUM_SYMMETRIES = 8
"""Elements of the dihedral group of the square: four rotations, each with or without a reflection."""


class PackedDataset:
    """Chips of one split, uint8, in memory that the file backs. Made by `PackedDataset.open`."""

    def __init__(
        self,
        card: DatasetCard,
        split: str,
        chips: list[UInt8[Tensor, "bands _ _"]],
        masks: list[UInt8[Tensor, "_ _"] | None],
    ) -> None:
        self.card = card
        self.split = split
        self._chips = chips
        self._masks = masks
        self._positions: dict[int, CropPositions] = {}

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
                chips = [file.get_tensor(chip_name(i)) for i in chosen]
                masks = [file.get_tensor(valid_name(i)) if card.chips[i].masked else None for i in chosen]
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path.name}: cannot be read ({error}).") from error
        return cls(card, split, chips, masks)

    @property
    def num_bands(self) -> int:
        """Bands of every chip."""
        return self.card.num_bands

    @property
    def digest(self) -> str:
        """SHA-256 of the layout, pixels and masks of the file, both splits, as its card says."""
        return self.card.digest

    @property
    def num_chips(self) -> int:
        """Chips of this split."""
        return len(self._chips)

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
        dihedral: bool = False,
    ) -> UInt8[Tensor, "batch bands rows cols"]:
        """Random crops, each allowed position of each chip equally likely.

        Args:
            rng: the only source of chance: the same state gives the same crops.
            crop_px: edge of the crops.
            batch: how many.
            dihedral: turn and mirror each crop by a random element of the symmetry group of the square.

        Raises:
            DataError: no chip has a valid square of `crop_px`.
        """
        positions = self._positions_of(crop_px)
        if batch < 1:
            raise InputError(f"A batch needs at least one crop, got {batch}.")
        numbers = rng.integers(positions.total, size=batch)
        symmetries = rng.integers(NUM_SYMMETRIES, size=batch) if dihedral else np.zeros(batch, np.int64)
        cut = [self._cut(positions, int(number)) for number in numbers]
        return torch.stack([transformed(crop, int(s)) for crop, s in zip(cut, symmetries, strict=True)])

    def fixed_crops(self, count: int, *, crop_px: int) -> UInt8[Tensor, "count bands rows cols"]:
        """Crops for a contact sheet: evenly spaced over all allowed positions, the same at every call.

        Raises:
            DataError: no chip has a valid square of `crop_px`.
        """
        positions = self._positions_of(crop_px)
        if count < 1:
            raise InputError(f"A contact sheet needs at least one crop, got {count}.")
        numbers = ((2 * i + 1) * positions.total // (2 * count) for i in range(count))
        return torch.stack([self._cut(positions, number) for number in numbers])

    def _cut(self, positions: CropPositions, number: int) -> UInt8[Tensor, "bands rows cols"]:
        chip, row, col = positions.locate(number)
        return self._chips[chip][:, row : row + positions.crop_px, col : col + positions.crop_px]

    def _positions_of(self, crop_px: int) -> CropPositions:
        """Counted once per crop size, for masks make it the slow part."""
        if crop_px < 1:
            raise InputError(f"A crop needs at least one pixel, got {crop_px}.")
        if crop_px not in self._positions:
            shapes = [(chip.shape[1], chip.shape[2]) for chip in self._chips]
            masks = [None if mask is None else mask.numpy() != 0 for mask in self._masks]
            positions = crop_positions(shapes, masks, crop_px)
            if positions.total == 0:
                raise DataError(self._no_room(shapes, crop_px))
            self._positions[crop_px] = positions
        return self._positions[crop_px]

    def _no_room(self, shapes: list[tuple[int, int]], crop_px: int) -> str:
        rows, cols = max(shapes, key=min)
        return (
            f"No chip of the split {self.split!r} has a valid square of {crop_px} x {crop_px} pixels; the largest chip "
            f"is {rows} x {cols}. Use a smaller crop or larger chips."
        )


def transformed(crop: UInt8[Tensor, "bands n n"], symmetry: int) -> UInt8[Tensor, "bands n n"]:
    """Element 0..7 of the dihedral group: `symmetry % 4` quarter turns, then a reflection from 4 on."""
    turned = torch.rot90(crop, symmetry % 4, dims=(1, 2))
    return turned.flip(2) if symmetry >= 4 else turned
