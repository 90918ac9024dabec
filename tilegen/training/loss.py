"""Losses and penalties, each with its equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor


@runtime_checkable
class Game(Protocol):
    """What both networks play for, given logits of real and fake crops in pairs."""

    def discriminator_loss(self, real: Float32[Tensor, "n"], fake: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
        """What D makes small."""

    def generator_loss(self, real: Float32[Tensor, "n"], fake: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
        """What G makes small."""


@dataclass(frozen=True)
class Logistic:
    """The original game, the generator's side not saturating (Goodfellow et al. 2014, Eq. 1 and section 3)."""

    def discriminator_loss(self, real: Float32[Tensor, "n"], fake: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
        """Mean softplus(D(fake)) + mean softplus(-D(real))."""
        return F.softplus(fake).mean() + F.softplus(-real).mean()

    def generator_loss(self, real: Float32[Tensor, "n"], fake: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
        """Mean softplus(-D(fake))."""
        return F.softplus(-fake).mean()


@dataclass(frozen=True)
class Relativistic:
    """Pairs of a real and a fake crop are compared (Jolicoeur-Martineau 2019; R3GAN: Huang et al. 2024, Eq. 2)."""

    def discriminator_loss(self, real: Float32[Tensor, "n"], fake: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
        """Mean softplus(D(fake) - D(real))."""
        return F.softplus(fake - real).mean()

    def generator_loss(self, real: Float32[Tensor, "n"], fake: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
        """Mean softplus(D(real) - D(fake))."""
        return F.softplus(real - fake).mean()


GAMES: dict[str, Game] = {"logistic": Logistic(), "relativistic": Relativistic()}


def gradient_penalty(
    logits: Float32[Tensor, "n"], images: Float32[Tensor, "n bands rows cols"], gamma: float
) -> Float32[Tensor, ""]:
    """gamma / 2 * E[|dD/dx|^2]: R1 at real images, R2 at fake ones (Mescheder et al. 2018, Eqs. 9 and 10).

    `images` must require gradients; logits may come from augmented images.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() * (gamma / 2)


def path_lengths(
    images: Float32[Tensor, "n bands rows cols"],
    ws: Float32[Tensor, "num_ws n site_rows site_cols w_dim"],
    noise: Float32[Tensor, "n bands rows cols"],
) -> Float32[Tensor, "n"]:
    """|J^T y| of each image (StyleGAN2, Eq. 4): y is `noise` / sqrt(rows * cols), J the derivative of the image by w.

    The squared length is a mean over layers and a sum over sites and channels. Sites see nearly disjoint pixels, each
    with its share of the noise, so the sum has the scale of a vector latent's whatever the size of the crop.
    """
    rows, cols = images.shape[-2:]
    projected = (images * noise).sum() / (rows * cols) ** 0.5
    (gradient,) = torch.autograd.grad(projected, ws, create_graph=True)
    return gradient.square().sum(dim=(2, 3, 4)).mean(dim=0).sqrt()
