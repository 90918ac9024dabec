"""Losses and penalties in closed form."""

import math

import pytest
import torch
from torch import Tensor

from tilegen.training.loss import Logistic, Relativistic, gradient_penalty, path_lengths


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def test_an_undecided_discriminator_pays_two_bits() -> None:
    zeros = torch.zeros(4)
    assert Logistic().discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert Logistic().generator_loss(zeros, zeros).item() == pytest.approx(math.log(2))
    assert Relativistic().discriminator_loss(zeros, zeros).item() == pytest.approx(math.log(2))
    assert Relativistic().generator_loss(zeros, zeros).item() == pytest.approx(math.log(2))


def test_logistic_losses_are_the_cross_entropies_of_their_logits() -> None:
    """-log sigmoid(real) and -log(1 - sigmoid(fake)); the generator's is -log sigmoid(fake)."""
    real, fake = [0.3, -2.0, 5.0], [1.0, -0.7, 0.1]
    expected_d = sum(map(softplus, fake)) / 3 + sum(softplus(-x) for x in real) / 3
    found_d = Logistic().discriminator_loss(torch.tensor(real), torch.tensor(fake))
    assert found_d.item() == pytest.approx(expected_d)
    expected_g = sum(softplus(-x) for x in fake) / 3
    assert Logistic().generator_loss(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(expected_g)


def test_relativistic_losses_know_differences_of_pairs_only() -> None:
    real, fake = [0.3, -2.0, 5.0], [1.0, -0.7, 0.1]
    game, shift = Relativistic(), torch.tensor([10.0, -3.0, 0.5])
    expected_d = sum(softplus(f - r) for r, f in zip(real, fake, strict=True)) / 3
    expected_g = sum(softplus(r - f) for r, f in zip(real, fake, strict=True)) / 3
    for more in (torch.zeros(3), shift):
        logits = torch.tensor(real) + more, torch.tensor(fake) + more
        assert game.discriminator_loss(*logits).item() == pytest.approx(expected_d, rel=1e-5)
        assert game.generator_loss(*logits).item() == pytest.approx(expected_g, rel=1e-5)


def test_the_right_logits_cost_nothing_and_the_wrong_ones_their_size() -> None:
    big = torch.full((3,), 100.0)
    for game, wrong in ((Logistic(), 200), (Relativistic(), 200)):
        assert game.discriminator_loss(big, -big).item() == pytest.approx(0, abs=1e-6)
        assert game.discriminator_loss(-big, big).item() == pytest.approx(wrong)
        assert game.generator_loss(-big, big).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.2, 10.0])
def test_the_penalty_of_a_linear_discriminator_is_its_squared_slope(gamma: float) -> None:
    """D(x) = <a, x> + b has the gradient a everywhere: gamma / 2 |a|**2, whatever the images."""
    torch.manual_seed(0)
    slope = torch.randn(3, 8, 8, requires_grad=True)
    real = torch.randn(5, 3, 8, 8, requires_grad=True)
    penalty = gradient_penalty((slope * real).sum(dim=(1, 2, 3)) + 7, real, gamma)
    assert penalty.item() == pytest.approx(gamma / 2 * slope.square().sum().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, slope)
    torch.testing.assert_close(gradient, gamma * slope.detach())


def test_the_penalty_is_a_mean_over_images() -> None:
    """D(x) = |x|**2 / 2 has the gradient x: each image counts with its own norm."""
    torch.manual_seed(0)
    real = torch.randn(4, 1, 3, 3, requires_grad=True)
    penalty = gradient_penalty(real.square().sum(dim=(1, 2, 3)) / 2, real, gamma=2.0)
    assert penalty.item() == pytest.approx(real.square().sum(dim=(1, 2, 3)).mean().item(), rel=1e-5)


# Path lengths of a linear generator: every site of w paints its own block of pixels


def painted(ws: Tensor, weights: Tensor, block: int) -> Tensor:
    """The image whose block at a site is the sum over layers of `weights[layer]` . w there; [n, 1, rows, cols]."""
    sites = torch.einsum("lnrcd,ld->nrc", ws, weights)
    return sites.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, None]


@pytest.mark.parametrize("num_sites", [2, 5])
def test_path_lengths_of_a_linear_generator(num_sites: int) -> None:
    """The derivative at a site is weights[layer] on its block: mean_l |weights_l|**2 * sum over sites (sum of y)**2."""
    torch.manual_seed(0)
    block, layers, dims = 4, 3, 6
    weights = torch.randn(layers, dims)
    ws = torch.randn(layers, 2, num_sites, num_sites, dims, requires_grad=True)
    images = painted(ws, weights, block)
    noise = torch.randn_like(images)
    y = noise / images[0, 0].numel() ** 0.5
    sums = y.unflatten(2, (num_sites, block)).unflatten(4, (num_sites, block)).sum(dim=(3, 5))
    expected = (weights.square().sum(dim=1).mean() * sums.square().sum(dim=(1, 2, 3))).sqrt()
    torch.testing.assert_close(path_lengths(images, ws, noise), expected)


def test_path_lengths_do_not_depend_on_the_size_of_the_crop() -> None:
    """Four times the sites, four times the pixels, and the same length on average."""
    torch.manual_seed(0)
    weights, means = torch.randn(2, 5), []
    for num_sites in (4, 8, 16):
        ws = torch.randn(2, 200, num_sites, num_sites, 5, requires_grad=True)
        images = painted(ws, weights, 4)
        means.append(path_lengths(images, ws, torch.randn_like(images)).mean().item())
    assert max(means) == pytest.approx(min(means), rel=0.05)


def test_path_lengths_can_be_learned_from() -> None:
    weights = torch.randn(2, 5, requires_grad=True)
    ws = torch.randn(2, 3, 4, 4, 5, requires_grad=True)
    images = painted(ws, weights, 2)
    path_lengths(images, ws, torch.randn_like(images)).mean().backward()
    assert weights.grad is not None
    assert weights.grad.abs().max() > 0
