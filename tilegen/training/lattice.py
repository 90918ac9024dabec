"""The lattice penalty: what repeats with the period of the cells, measured without bias and made small.

A generator whose cells all have the same place-dependent mean or contrast paints a faint lattice. Crops at random
phases do not show it to a discriminator, whose own statistics do not know the phase; this penalty does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float32
from torch import Tensor

_GRADIENT_EPS = 1e-4
"""Under the root of the squared slope, where its gradient has no end; images go from -1 to 1."""


def local_statistics(image: Float32[Tensor, "n bands rows cols"]) -> tuple[Float32[Tensor, "n _ _ _"], ...]:
    """What must not depend on the phase: the bands, the squared deviation of their mean, and its slope."""
    grey = image.mean(dim=1, keepdim=True)
    deviation = (grey - grey.detach().mean(dim=(2, 3), keepdim=True)).square()
    # Between neighbours: a central difference does not see stripes of single pixels.
    across = grey[..., :-1, 1:] - grey[..., :-1, :-1]
    down = grey[..., 1:, :-1] - grey[..., :-1, :-1]
    slope = (across.square() + down.square() + _GRADIENT_EPS).sqrt()
    return image, deviation, slope


def folded(values: Float32[Tensor, "n c rows cols"], period: int) -> Float32[Tensor, "n c period period"]:
    """Means of all places of one phase, less the mean of all phases. What is left of whole periods is cut off."""
    rows, cols = (size // period * period for size in values.shape[-2:])
    cells = values[..., :rows, :cols].unflatten(-1, (-1, period)).unflatten(-3, (-1, period))
    means = cells.mean(dim=(-4, -2))
    return means - means.mean(dim=(-2, -1), keepdim=True)


def lattice_penalty(
    image: Float32[Tensor, "n bands rows cols"],
    period: int,
    sum_over_processes: Callable[[Tensor], Tensor],
) -> tuple[Float32[Tensor, ""], Float32[Tensor, ""]]:
    """(the penalty, what to minimise) for images whose windows all have the same phase. tilegen's own.

    With d_i the deviation map of image i, the penalty is the mean over pairs i != j of <d_i, d_j>, over the variance
    of the statistic, added up over the statistics. Its expectation is the squared spread of the true phase means: the
    square of one map would add its sampling noise. It may be negative.

    The second value has the gradient of the penalty over the images of all processes, times their number, as the mean
    of gradients over processes then is that of the whole: sums of maps come from `sum_over_processes`.

    Args:
        image: at least two over all processes, of at least two periods.
        period: edge of a cell, pixels.
        sum_over_processes: adds up a tensor over all processes.
    """
    penalty, surrogate = image.new_zeros(()), image.new_zeros(())
    num = int(sum_over_processes(image.new_full((), float(len(image)))).item())
    for statistic in local_statistics(image):
        maps = folded(statistic, period)
        kept = maps.detach()
        total = sum_over_processes(kept.sum(dim=0))
        own = sum_over_processes(kept.square().sum(dim=0))
        moments = torch.stack([statistic.detach().mean(dim=(0, 2, 3)), statistic.detach().square().mean(dim=(0, 2, 3))])
        mean, square = sum_over_processes(moments * len(image)) / num
        scale = (num * (num - 1) * (square - mean.square()))[:, None, None]
        penalty = penalty + ((total.square() - own) / scale).mean()
        surrogate = surrogate + (2 * maps * (total - kept) / scale).sum(dim=0).mean()
    return penalty, surrogate * (num / len(image))
