"""Augmentations of what the discriminator sees: drawn on the CPU as plain numbers, applied on any device.

The pipe of Karras et al. 2020, "Training GANs with limited data" (section 2 and appendix B), cut down to what leaves
overhead imagery plausible: no rotation but by quarter turns, no change of hue. Why, and why a resampling is two matrix
products, is in docs/adr/0008-augmentation-and-the-sun.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from tilegen.errors import InputError

# Appendix B of the paper, with scale and colours half as strong: a pixel has a size on the ground, a colour a meaning.
_SHIFT = 0.125
"""Whole-pixel shifts reach so far, and fractional ones have this standard deviation; share of the crop."""
_SCALE_STD = 0.1
"""Of log2 of the zoom."""
_BRIGHTNESS_STD = 0.1
"""Added to images in [-1, 1]."""
_CONTRAST_STD = 0.25
"""Of log2 of the factor."""
_SATURATION_STD = 0.5
"""Of log2 of the factor."""
_CUTOUT = 0.5
"""Edge of the hole, share of the crop."""

_NUM_TRANSFORMS = 8
"""Symmetry, whole shift, zoom, fractional shift, brightness, contrast, saturation, hole."""
_NUM_VALUES = 11
"""Of which two belong to each shift and to the hole."""

_LOBES = 3
"""Of the Lanczos kernel: a sinc, cut off smoothly after so many zeros on each side."""


@dataclass(frozen=True, kw_only=True)
class Augmentations:
    """What is done to each image of a batch, one row per image, on the CPU.

    Geometry is one inverse affine map: after the transposition, output position x (pixels from the crop's centre) shows
    input position slope * x + offset, rows and columns each with their own.
    """

    transposed: Bool[Tensor, "n"]
    slope: Float64[Tensor, "n 2"]  # input pixels per output pixel along rows and columns; negative mirrors
    offset_px: Float64[Tensor, "n 2"]
    gain: Float64[Tensor, "n"]  # image becomes gain * image + grey * mean of its bands + brightness
    grey: Float64[Tensor, "n"]
    brightness: Float64[Tensor, "n"]
    hole_px: Int64[Tensor, "n 4"]  # rows [0, 1) and columns [2, 3) that are set to 0

    def share(self, rank: int, num_processes: int) -> Augmentations:
        """The rows of one process: contiguous, of equal count.

        Raises:
            InputError: the rows cannot be shared out evenly.
        """
        count = len(self.transposed)
        if count % num_processes or not 0 <= rank < num_processes:
            raise InputError(f"{count} images cannot be shared out to process {rank} of {num_processes}.")
        rows = slice(rank * count // num_processes, (rank + 1) * count // num_processes)
        return Augmentations(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def sample_augmentations(
    rng: np.random.Generator,
    count: int,
    p: float,
    *,
    num_bands: int,
    crop_px: int,
    dihedral: bool = True,
    cutout: bool = False,
) -> Augmentations:
    """Draw each transform of each image with probability `p`, independently (Karras et al. 2020, section 2.3).

    Args:
        rng: the only source of chance. It moves on by the same amount whatever `p` is; a larger `p` adds transforms to
            those of a smaller one, and a larger `count` adds rows.
        count: how many images.
        p: probability of each transform. Below 1 the augmentations do not leak into the generated images.
        num_bands: bands of the images; a single one has no saturation.
        crop_px: edge of the images.
        dihedral: turn and mirror too; a transform whose strength is uniform over the group.
        cutout: set a square of half the crop's edge to 0, too.

    Raises:
        InputError: `p` is no probability.
    """
    if not 0 <= p <= 1:
        raise InputError(f"The probability of an augmentation lies between 0 and 1, not at {p}.")
    drawn = torch.from_numpy(rng.random((count, _NUM_TRANSFORMS + _NUM_VALUES)))
    gates, values = drawn[:, :_NUM_TRANSFORMS] < p, drawn[:, _NUM_TRANSFORMS:]
    gates = gates & torch.tensor([dihedral, True, True, True, True, True, num_bands > 1, cutout])
    return Augmentations(
        **_sampled_geometry(gates[:, :4], values[:, :6], crop_px),
        **_sampled_colours(gates[:, 4:7], values[:, 6:9]),
        hole_px=_sampled_holes(gates[:, 7:], values[:, 9:], crop_px),
    )


def _sampled_geometry(
    gates: Bool[Tensor, "n 4"], values: Float64[Tensor, "n 6"], crop_px: int
) -> dict[str, Shaped[Tensor, "n ..."]]:
    """A window shifted by whole pixels and by fractions, zoomed and mirrored about its centre."""
    turn, shift, zoom, move = gates.split(1, dim=1)
    element = torch.where(turn, (values[:, :1] * 8).floor(), 0.0).long()
    mirror = 1.0 - 2.0 * torch.cat([element // 2 % 2, element // 4], dim=1)
    whole = (_SHIFT * crop_px * (2 * values[:, 1:3] - 1)).round() * shift
    step = torch.exp2(-_SCALE_STD * _normal(values[:, 3:4]) * zoom)
    fraction = _SHIFT * crop_px * _normal(values[:, 4:6]) * move
    return {
        "transposed": (element % 2 == 1).squeeze(1),
        "slope": mirror * step,
        "offset_px": whole + fraction,
    }


def _sampled_colours(gates: Bool[Tensor, "n 3"], values: Float64[Tensor, "n 3"]) -> dict[str, Float64[Tensor, "n"]]:
    """Brightness, then contrast about mid-grey, then saturation about the mean of the bands."""
    brightness, contrast, saturation = (_normal(values) * gates).unbind(1)
    contrast, saturation = torch.exp2(_CONTRAST_STD * contrast), torch.exp2(_SATURATION_STD * saturation)
    return {
        "gain": contrast * saturation,
        "grey": contrast * (1 - saturation),
        "brightness": contrast * _BRIGHTNESS_STD * brightness,
    }


def _sampled_holes(gate: Bool[Tensor, "n 1"], values: Float64[Tensor, "n 2"], crop_px: int) -> Int64[Tensor, "n 4"]:
    """Squares centred anywhere, so part of one may lie outside; without the transform they are empty."""
    edge = round(_CUTOUT * crop_px)
    first = (values * crop_px - edge / 2).round().long()
    last = first + edge * gate
    return torch.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], dim=1)


def augmented(images: Float[Tensor, "n bands px px"], augmentations: Augmentations) -> Float[Tensor, "n bands px px"]:
    """Images of range [-1, 1] as the discriminator sees them; an affine map, so R1 may be taken through it.

    Turns, mirrorings and shifts by whole pixels copy, and an image to which nothing is done comes out as it went in.

    Raises:
        InputError: there are not as many rows as images.
    """
    if len(images) != len(augmentations.transposed):
        raise InputError(f"{len(images)} images need as many augmentations, not {len(augmentations.transposed)}.")
    return _with_holes(_recoloured(_moved(images, augmentations), augmentations), augmentations.hole_px)


def _normal(uniform: Float64[Tensor, "n k"]) -> Float64[Tensor, "n k"]:
    """Of [0, 1), by the inverse of the distribution; 0 itself would lie infinitely far out."""
    return torch.special.ndtri(uniform.clamp(min=2.0**-54))


def _moved(images: Float[Tensor, "n bands px px"], maps: Augmentations) -> Float[Tensor, "n bands px px"]:
    """Apply the geometry, reflecting at the borders."""
    if bool(maps.transposed.any()):
        images = torch.where(maps.transposed.to(images.device)[:, None, None, None], images.mT, images)
    if bool((maps.slope == 1).all() and (maps.offset_px == 0).all()):
        return images
    rows, cols = (_resampling(maps.slope[:, axis], maps.offset_px[:, axis], like=images) for axis in (0, 1))
    return rows[:, None] @ images @ cols[:, None].mT


def _resampling(
    slope: Float64[Tensor, "n"], offset_px: Float64[Tensor, "n"], *, like: Float[Tensor, "n bands px px"]
) -> Float[Tensor, "n px px"]:
    """Matrices that resample one axis with the Lanczos kernel, widened where the image shrinks, so nothing aliases.

    Without zoom and fraction each row is a single 1: the product copies.
    """
    num_px = like.shape[-1]
    reach = math.ceil(_LOBES * max(1.0, float(slope.abs().max())))
    slope, offset_px = slope.to(like)[:, None], offset_px.to(like)[:, None]
    centre = (num_px - 1) / 2
    source = centre + slope * (torch.arange(num_px).to(like) - centre) + offset_px  # pixel j has its centre at j
    taps = source.floor()[..., None] + torch.arange(1 - reach, reach + 1).to(like)
    weights = _lanczos((taps - source[..., None]) / slope.abs().clamp(min=1)[..., None])
    weights = weights / weights.sum(dim=2, keepdim=True)
    columns = _reflected(taps.long(), num_px)
    matrix = weights.new_zeros(len(slope), num_px, num_px)
    # Reflected taps may meet in one column. Added one after the other, they have one order on every device.
    for tap in range(2 * reach):
        matrix.scatter_add_(2, columns[..., tap : tap + 1], weights[..., tap : tap + 1])
    return matrix


def _lanczos(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sinc(x) * sinc(x / 3) for abs(x) < 3 (Duchon 1979), exactly 0 and 1 at integers."""
    kernel = torch.sinc(x) * torch.sinc(x / _LOBES) * (x.abs() < _LOBES)
    return torch.where(x == x.round(), (x == 0).to(x), kernel)


def _reflected(index: Int64[Tensor, "*shape"], num_px: int) -> Int64[Tensor, "*shape"]:
    """Any index, mirrored into [0, num_px) at the centres of the outermost pixels, as often as it takes."""
    period = max(2 * (num_px - 1), 1)
    folded = index % period
    return torch.minimum(folded, period - folded)


def _recoloured(images: Float[Tensor, "n bands px px"], maps: Augmentations) -> Float[Tensor, "n bands px px"]:
    if bool((maps.gain == 1).all() and (maps.brightness == 0).all() and (maps.grey == 0).all()):
        return images
    gain, grey, brightness = (
        value.to(images)[:, None, None, None] for value in (maps.gain, maps.grey, maps.brightness)
    )
    return gain * images + grey * images.mean(dim=1, keepdim=True) + brightness


def _with_holes(
    images: Float[Tensor, "n bands px px"], hole_px: Int64[Tensor, "n 4"]
) -> Float[Tensor, "n bands px px"]:
    if bool((hole_px[:, 0] == hole_px[:, 1]).all()):
        return images
    row0, row1, col0, col1 = hole_px.to(images.device)[:, :, None].unbind(1)
    pixel = torch.arange(images.shape[-1], device=images.device)
    in_rows, in_cols = (row0 <= pixel) & (pixel < row1), (col0 <= pixel) & (pixel < col1)
    return images.masked_fill((in_rows[:, :, None] & in_cols[:, None, :])[:, None], 0.0)
