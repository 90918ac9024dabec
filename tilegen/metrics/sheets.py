"""Sheets: real beside fake, and fakes beside their nearest training crops, for the eye to judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from tilegen.atomic import new_file

_GAP_PX = 8
_WHITE = 255


def save_sides(
    path: Path, left: UInt8[Tensor, "n 3 edge edge"], right: UInt8[Tensor, "n 3 edge edge"], *, num_cols: int
) -> None:
    """PNG: images of `left` row by row in `num_cols` columns, a white gap, then those of `right`.

    Raises:
        OutputError: the file cannot be written.
    """
    sides = [_mosaic(images.numpy(), num_cols) for images in (left, right)]
    gap = np.full((sides[0].shape[0], _GAP_PX, 3), _WHITE, np.uint8)
    with new_file(path) as file:
        Image.fromarray(np.concatenate([sides[0], gap, sides[1]], axis=1)).save(file, "PNG")


def save_pairs(
    path: Path,
    left: tuple[UInt8[Tensor, "n 3 edge edge"], UInt8[Tensor, "n 3 edge edge"]],
    right: tuple[UInt8[Tensor, "n 3 edge edge"], UInt8[Tensor, "n 3 edge edge"]],
) -> None:
    """PNG: two columns of pairs, image beside neighbour: those of `left`, a white gap, those of `right`.

    Raises:
        OutputError: the file cannot be written.
    """
    save_sides(path, *(_interleaved(*pairs) for pairs in (left, right)), num_cols=2)


def _interleaved(
    first: UInt8[Tensor, "n 3 edge edge"], second: UInt8[Tensor, "n 3 edge edge"]
) -> UInt8[Tensor, "2*n 3 edge edge"]:
    return torch.stack([first, second], dim=1).flatten(0, 1)


def _mosaic(images: UInt8[np.ndarray, "n 3 edge edge"], num_cols: int) -> UInt8[np.ndarray, "rows cols 3"]:
    num, bands, edge, _ = images.shape
    num_rows = -(-num // num_cols)
    cells = np.full((num_rows * num_cols, bands, edge, edge), _WHITE, np.uint8)
    cells[:num] = images
    grid = cells.reshape(num_rows, num_cols, bands, edge, edge).transpose(0, 3, 1, 4, 2)
    return grid.reshape(num_rows * edge, num_cols * edge, bands)
