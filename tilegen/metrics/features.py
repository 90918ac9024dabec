"""Features: what a trained network sees in an image, the space in which images are compared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from tilegen.bands import shown_bands
from tilegen.errors import MetricError
from tilegen.squeezenet import read_squeezenet

NUM_SYMMETRIES = 8
"""Elements of the dihedral group of the square."""

MIN_INPUT_PX = 64
"""Edge to which smaller crops are enlarged: the network halves its input four times."""

_FEATURE_UNIT = 25.0  # root mean square of the features of aerial imagery at 64 px; KID's kernel expects about 1
_BATCH = {"cpu": 8, "cuda": 256}  # on a CPU, what fits its caches is twice as fast


@runtime_checkable
class FeatureExtractor(Protocol):
    """Anything that turns images into vectors, and says which network did."""

    @property
    def name(self) -> str:
        """Network, layer and input size."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        ...

    def __call__(self, images: UInt8[Tensor, "n 3 rows cols"]) -> Float32[Tensor, "n features"]:
        """One vector per image, on the CPU."""
        ...


class SqueezeNetFeatures:
    """Mean over space of the last fire module of SqueezeNet 1.0, over 25. Made by `SqueezeNetFeatures.open`.

    Args:
        network: as `squeezenet` builds it; takes RGB in 0..1, for the weights hold the mean colour.
        digest: SHA-256 of the weight file.
        input_px: images of another size are resized to this edge, antialiased.
        device: "cpu", "cuda" or "cuda:N".
        num_threads: batches that are looked at side by side. Best with torch at one thread: its own threads wait for
            each other in every layer, for long where the cores are shared.
    """

    def __init__(
        self, network: nn.Sequential, digest: str, *, input_px: int, device: str = "cpu", num_threads: int = 1
    ) -> None:
        # channels_last: twice as fast on a CPU
        self._network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self._input_px, self._device, self._num_threads = input_px, device, num_threads
        self.digest = digest

    @classmethod
    def open(
        cls, path: str | Path, *, input_px: int = MIN_INPUT_PX, device: str = "cpu", num_threads: int = 1
    ) -> SqueezeNetFeatures:
        """Read weights named as torchvision names them: .npz or .safetensors. No code in the file is run.

        Raises:
            MetricError: the file is missing, truncated, too large, or does not hold this network.
        """
        if not 32 <= input_px <= 1024:
            raise MetricError(f"SqueezeNet sees images of 32 to 1024 px, not {input_px} px.")
        digest, network = read_squeezenet(Path(path))
        return cls(network, digest, input_px=input_px, device=device, num_threads=num_threads)

    @property
    def name(self) -> str:
        """Network, layer and input size."""
        return f"SqueezeNet 1.0, mean of fire9, {self._input_px} px"

    def __call__(self, images: UInt8[Tensor, "n 3 rows cols"]) -> Float32[Tensor, "n features"]:
        """One vector per image, on the CPU.

        Raises:
            MetricError: the weights are so large that the features are not finite.
        """
        batches = images.split(_BATCH[torch.device(self._device).type])
        with ThreadPoolExecutor(self._num_threads) as pool:
            features = torch.cat(list(pool.map(self._features, batches)))
        if not bool(features.isfinite().all()):
            raise MetricError("The weights of SqueezeNet give features that are not finite. Fetch the file again.")
        return features

    @torch.no_grad()
    def _features(self, images: UInt8[Tensor, "n 3 rows cols"]) -> Float32[Tensor, "n features"]:
        pixels = images.to(self._device).float() / 255
        if images.shape[2:] != (self._input_px, self._input_px):
            edge = (self._input_px, self._input_px)
            pixels = F.interpolate(pixels, size=edge, mode="bilinear", antialias=True, align_corners=False)
        features = self._network(pixels.contiguous(memory_format=torch.channels_last))
        return features.mean(dim=(2, 3)).cpu() / _FEATURE_UNIT


def as_rgb(images: UInt8[Tensor, "n bands rows cols"], band_names: tuple[str, ...]) -> UInt8[Tensor, "n 3 rows cols"]:
    """The bands that a person is shown, see `shown_bands`."""
    return images[:, list(shown_bands(band_names))]


def symmetric_features(
    extractor: FeatureExtractor, images: UInt8[Tensor, "n 3 edge edge"], *, dihedral: bool = True
) -> Float32[Tensor, "symmetries n features"]:
    """Features of the images in all eight orientations, or in the one they have.

    Trained networks see overhead images differently when they are turned, and people do not; distances are therefore
    averaged over the orientations of both sides (`distances`).
    """
    turns = range(NUM_SYMMETRIES if dihedral else 1)
    return torch.stack([extractor(oriented(images, element)) for element in turns])


def oriented(images: UInt8[Tensor, "n 3 edge edge"], element: int) -> UInt8[Tensor, "n 3 edge edge"]:
    """Element 0..7 of the dihedral group: `element % 4` quarter turns, then a reflection from 4 on."""
    turned = torch.rot90(images, element % 4, dims=(2, 3))
    return turned.flip(3) if element >= 4 else turned
