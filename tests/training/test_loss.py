"""Losses in closed form."""

import math

import pytest
import torch

from tilegen.training.loss import discriminator_loss, generator_loss, r1_penalty


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def test_an_undecided_discriminator_pays_two_bits() -> None:
    zeros = torch.zeros(4)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(zeros).item() == pytest.approx(math.log(2))


def test_losses_are_the_cross_entropies_of_their_logits() -> None:
    """-log sigmoid(real) and -log(1 - sigmoid(fake)); the generator's is -log sigmoid(fake)."""
    real, fake = [0.3, -2.0, 5.0], [1.0, -0.7]
    expected_d = sum(map(softplus, fake)) / 2 + sum(softplus(-x) for x in real) / 3
    assert discriminator_loss(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(expected_d)
    expected_g = sum(softplus(-x) for x in fake) / 2
    assert generator_loss(torch.tensor(fake)).item() == pytest.approx(expected_g)


def test_the_right_logits_cost_nothing_and_the_wrong_ones_their_size() -> None:
    big = torch.full((3,), 100.0)
    assert discriminator_loss(big, -big).item() == pytest.approx(0, abs=1e-6)
    assert discriminator_loss(-big, big).item() == pytest.approx(200)
    assert generator_loss(-big).item() == pytest.approx(100)


@pytest.mark.parametrize("gamma", [0.0, 0.2, 10.0])
def test_the_penalty_of_a_linear_discriminator_is_its_squared_slope(gamma: float) -> None:
    """D(x) = <a, x> + b has the gradient a everywhere: gamma / 2 |a|**2, whatever the images."""
    torch.manual_seed(0)
    slope = torch.randn(3, 8, 8, requires_grad=True)
    real = torch.randn(5, 3, 8, 8, requires_grad=True)
    penalty = r1_penalty((slope * real).sum(dim=(1, 2, 3)) + 7, real, gamma)
    assert penalty.item() == pytest.approx(gamma / 2 * slope.square().sum().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, slope)
    torch.testing.assert_close(gradient, gamma * slope.detach())


def test_the_penalty_is_a_mean_over_images() -> None:
    """D(x) = |x|**2 / 2 has the gradient x: each image counts with its own norm."""
    torch.manual_seed(0)
    real = torch.randn(4, 1, 3, 3, requires_grad=True)
    penalty = r1_penalty(real.square().sum(dim=(1, 2, 3)) / 2, real, gamma=2.0)
    assert penalty.item() == pytest.approx(real.square().sum(dim=(1, 2, 3)).mean().item(), rel=1e-5)
