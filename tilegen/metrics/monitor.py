"""Monitor: the distance to held-out photographs while a network is trained, cheap enough for every snapshot."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import UInt8
from torch import Tensor

from tilegen.bands import RGB
from tilegen.errors import MetricError
from tilegen.metrics.distances import MIN_IMAGES, halves, kernel_distance
from tilegen.metrics.features import FeatureExtractor, as_rgb, symmetric_features


class KidMonitor:
    """KID of fakes against held-out crops, whose features are taken once.

    Args:
        extractor: what sees the images.
        held_out: crops that training does not see; as many fakes are painted at each call.
        band_names: of the crops and of the fakes.
        dihedral: average over the eight orientations, at eight times the cost.
        seed: of the subsets.

    Raises:
        MetricError: fewer than eight held-out crops.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        held_out: UInt8[Tensor, "n bands edge edge"],
        *,
        band_names: tuple[str, ...] = RGB,
        dihedral: bool = False,
        seed: int = 0,
    ) -> None:
        if len(held_out) < 2 * MIN_IMAGES:
            raise MetricError(f"Monitoring needs at least {2 * MIN_IMAGES} held-out crops, got {len(held_out)}.")
        self._extractor, self._band_names, self._dihedral, self._seed = extractor, band_names, dihedral, seed
        self._num_images = len(held_out)
        self._held_out = symmetric_features(extractor, as_rgb(held_out, band_names), dihedral=dihedral)
        self.floor = kernel_distance(*halves(self._held_out, seed=seed), seed=seed).mean
        """KID between two halves of the held-out crops: what chance alone gives."""

    def __call__(self, paint: Callable[[int], UInt8[Tensor, "n bands edge edge"]]) -> dict[str, float]:
        """KID of `paint(count)` by name: "kid", "kid_std" and "kid_floor"."""
        fakes = as_rgb(paint(self._num_images), self._band_names)
        features = symmetric_features(self._extractor, fakes, dihedral=self._dihedral)
        distance = kernel_distance(self._held_out, features, seed=self._seed)
        return {"kid": distance.mean, "kid_std": distance.std, "kid_floor": self.floor}
