"""The critic: a second discriminator, which sees crops through a frozen network that was trained on photographs.

Vision-aided training (Kumari et al. 2022) and Projected GANs (Sauer et al. 2021): such a network knows edges, corners
and materials from the start, so small heads on its features teach a generator with few images.
docs/adr/0016-a-critic-with-trained-eyes.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor, nn

from tilegen.bands import shown_bands
from tilegen.errors import TrainingError
from tilegen.model.layers import LEAKY_SLOPE, Conv
from tilegen.squeezenet import read_squeezenet
from tilegen.training.loss import Game
from tilegen.training.parallel import distributed

_ENLARGED = 2
"""Crops are enlarged so much: a roof then has the size of what the network learned to see in photographs."""

_TAPS = ((5, 256, 200.0), (10, 512, 44.0))
"""Layers whose output the heads see, its channels, and about its root mean square on aerial imagery: fire4 and fire8,
2 and 4 pixels of the crop apart per position."""

_WIDTH = 64
"""Channels of a head."""

_PATCHES = 7
"""Logits of each head along one side: means over as many patches, so that all heads weigh the same."""

Features = list[Float32[Tensor, "n _ _ _"]]
"""One map per tap, each of its own size."""


class Eyes:
    """The frozen network: crops to feature maps.

    Args:
        network: as `read_squeezenet` gives it.
        band_names: bands of the crops; the network sees those of `shown_bands`.
        device: where the crops are.
        dtype: of the convolutions.
    """

    def __init__(
        self, network: nn.Sequential, band_names: Sequence[str], device: torch.device, dtype: torch.dtype
    ) -> None:
        last = _TAPS[-1][0]
        self._layers = network[: last + 1].to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._bands, self._dtype = list(shown_bands(band_names)), dtype

    @classmethod
    def open(cls, path: Path, digest: str, band_names: Sequence[str], device: torch.device, dtype: torch.dtype) -> Eyes:
        """The network in the weight file `path`.

        Raises:
            TrainingError: the file is not the one of `digest`. MetricError: it does not hold the network.
        """
        found, network = read_squeezenet(path)
        if found != digest:
            raise TrainingError(f"{path} is not the weight file that this run began with. Give that one.")
        return cls(network, band_names, device, dtype)

    def __call__(self, images: Float32[Tensor, "n bands px px"]) -> Features:
        """Feature maps of images in [-1, 1], about 1 in size; gradients reach the images."""
        pixels = (images[:, self._bands] + 1) / 2
        pixels = F.interpolate(pixels, scale_factor=_ENLARGED, mode="bilinear", align_corners=False)
        x = pixels.to(self._dtype, memory_format=torch.channels_last)
        taps = {layer: rms for layer, _, rms in _TAPS}
        seen = []
        for index, layer in enumerate(self._layers):
            x = layer(x)
            if index in taps:
                seen.append(x.float() / taps[index])
        return seen


class Critic:
    """Eyes and heads, as one process of several that share each batch.

    Args:
        eyes: the frozen network.
        heads: what learns.
        adam: its optimiser.
        game: what critic and generator play for.
    """

    def __init__(self, eyes: Eyes, heads: CriticHeads, adam: torch.optim.Optimizer, game: Game) -> None:
        self._eyes, self._heads, self._adam, self._game = eyes, heads, adam, game
        self._shared = distributed(heads)

    def step(
        self, real: Float32[Tensor, "n bands px px"], fake: Float32[Tensor, "n bands px px"]
    ) -> dict[str, Float32[Tensor, ""]]:
        """Let the heads learn from crops, then judge the same fake ones: they are looked at once.

        Returns scalars; "critic_loss_g" is what G makes small, with its graph.
        """
        with torch.no_grad():
            real_seen = self._eyes(real)
        fake_seen = self._eyes(fake)
        self._heads.requires_grad_(True)
        self._adam.zero_grad(set_to_none=True)
        both = [torch.cat([x, y.detach()]) for x, y in zip(real_seen, fake_seen, strict=True)]
        real_logits, fake_logits = (logits.flatten() for logits in self._shared(both).chunk(2))
        loss = self._game.discriminator_loss(real_logits, fake_logits)
        loss.backward()
        self._adam.step()
        self._heads.requires_grad_(False)
        with torch.no_grad():  # of no use to the logistic game, and cheap beside the network
            to_beat = self._heads(real_seen).flatten()
        return {
            "critic_loss_d": loss,
            "critic_loss_g": self._game.generator_loss(to_beat, self._heads(fake_seen).flatten()),
            "critic_real": real_logits.mean(),
            "critic_fake": fake_logits.mean(),
        }


class CriticHeads(nn.Module):
    """One small head per feature map; logits of patches of it, positive for real."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_head(channels) for _, channels, _ in _TAPS)

    def forward(self, features: Features) -> Float32[Tensor, "n logits"]:
        """Logits of each image, those of all heads side by side."""
        logits = [head(x) for head, x in zip(self.heads, features, strict=True)]
        return torch.cat([F.adaptive_avg_pool2d(some, _PATCHES).flatten(1) for some in logits], dim=1)


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(
        Conv(channels, _WIDTH, 1, gain=math.sqrt(2)),
        nn.LeakyReLU(LEAKY_SLOPE),
        Conv(_WIDTH, _WIDTH, 3, padding=1, gain=math.sqrt(2)),
        nn.LeakyReLU(LEAKY_SLOPE),
        Conv(_WIDTH, 1, 1),
    )
