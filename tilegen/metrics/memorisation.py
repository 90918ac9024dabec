"""Memorisation: whether fakes lie nearer to the training imagery than photographs that training never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from scipy.stats import mannwhitneyu
from torch import Tensor

from tilegen.errors import MetricError

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5)
"""Of the distances to the nearest training crop; copies show in the lowest."""

_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The training crop that is nearest to each image, in any orientation.

    Args:
        distances: between features of unit length, 0..2.
        nearest: index of the training crop.
        orientation: element of the dihedral group that the training crop was turned by.
    """

    distances: Float32[Tensor, " n"]
    nearest: Int64[Tensor, " n"]
    orientation: Int64[Tensor, " n"]

    def closest(self, count: int) -> Int64[Tensor, " count"]:
        """Indices of the images nearest to their training crop, nearest first."""
        return self.distances.argsort()[:count]


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """Fakes against held-out crops, by their distance to the training crops.

    Args:
        nearer: probability that a random fake is nearer to the training crops than a random held-out crop; 1/2 where
            nothing is memorised, 1 where everything is.
        p_value: of a two-sided Mann-Whitney test. Crops of one chip are not independent, so it is too small.
        fake_quantiles: distances of the fakes at `QUANTILES`.
        held_out_quantiles: distances of the held-out crops.
    """

    nearer: float
    p_value: float
    fake_quantiles: tuple[float, ...]
    held_out_quantiles: tuple[float, ...]


def nearest_training(
    images: Float32[Tensor, "n features"], training: Float32[Tensor, "symmetries m features"]
) -> Neighbours:
    """Nearest neighbours of unturned `images` among the training crops in all their orientations.

    Features are scaled to unit length: bland crops, whose features are short, would be near to everything.
    """
    gallery = F.normalize(training.flatten(0, 1), dim=1)
    found = [torch.cdist(F.normalize(rows, dim=1), gallery).min(dim=1) for rows in images.split(_ROWS)]
    indices = torch.cat([nearest.indices for nearest in found])
    return Neighbours(
        distances=torch.cat([nearest.values for nearest in found]),
        nearest=indices % training.shape[1],
        orientation=indices // training.shape[1],
    )


def memorisation(fake: Neighbours, held_out: Neighbours) -> Memorisation:
    """Compare the distances of the two (Meehan et al. 2020, who use the same U statistic cell by cell).

    Raises:
        MetricError: no fakes or no held-out crops.
    """
    num_fake, num_held_out = len(fake.distances), len(held_out.distances)
    if min(num_fake, num_held_out) == 0:
        raise MetricError("Memorisation needs at least one fake and one held-out crop.")
    fake_distances, held_out_distances = fake.distances.double().numpy(), held_out.distances.double().numpy()
    test = mannwhitneyu(held_out_distances, fake_distances)
    return Memorisation(
        nearer=float(test.statistic / (num_fake * num_held_out)),
        p_value=float(test.pvalue),
        fake_quantiles=tuple(np.quantile(fake_distances, QUANTILES).tolist()),
        held_out_quantiles=tuple(np.quantile(held_out_distances, QUANTILES).tolist()),
    )
