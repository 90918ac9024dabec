"""Losses, each with its equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor


def discriminator_loss(real_logits: Float32[Tensor, "n"], fake_logits: Float32[Tensor, "m"]) -> Float32[Tensor, ""]:
    """Logistic loss: mean softplus(D(fake)) + mean softplus(-D(real)) (Goodfellow et al. 2014, Eq. 1)."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def generator_loss(fake_logits: Float32[Tensor, "n"]) -> Float32[Tensor, ""]:
    """Non-saturating loss: mean softplus(-D(fake)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake_logits).mean()


def r1_penalty(
    real_logits: Float32[Tensor, "n"], real: Float32[Tensor, "n bands rows cols"], gamma: float
) -> Float32[Tensor, ""]:
    """gamma / 2 * E[|dD/dx|^2] at real images (Mescheder et al. 2018, Eq. 9). `real` must require gradients."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() * (gamma / 2)
