"""The lattice penalty: unbiased, sensitive to a planted lattice, and with the gradient that it says."""

import pytest
import torch
from torch import Tensor

from tilegen.training.lattice import folded, lattice_penalty, local_statistics


def alone(values: Tensor) -> Tensor:
    """A sum over one process."""
    return values


def noise(count: int, *, px: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(seed))


def test_folding_takes_the_mean_of_each_phase() -> None:
    values = torch.arange(7 * 9.0).view(1, 1, 7, 9)
    found = folded(values, 3)
    phases = torch.tensor([[[values[0, 0, r:6:3, c::3].mean() for c in range(3)] for r in range(3)]])
    torch.testing.assert_close(found[0], phases - phases.mean())


@pytest.mark.parametrize("period", [4, 8])
def test_the_penalty_of_stationary_noise_is_zero_on_average(period: int) -> None:
    """The square of a single map would not be: it has the variance of its means."""
    found = torch.stack([lattice_penalty(noise(8, seed=seed), period, alone)[0] for seed in range(300)])
    error = found.std().item() / len(found) ** 0.5
    assert abs(found.mean().item()) < 4 * error
    biased = sum(folded(s, period).mean(dim=0).square().mean() / s.var() for s in local_statistics(noise(8)))
    assert biased > 20 * error


@pytest.mark.parametrize("kind", ["mean", "contrast", "slope"])
def test_a_planted_lattice_is_seen_whichever_statistic_it_is_in(kind: str) -> None:
    """A fifth of the standard deviation, at one phase of 4 x 4 pixels, or stripes that stand or lie by phase."""
    images = noise(16, px=64)
    clean = lattice_penalty(images, 4, alone)[0]
    if kind == "mean":
        images[..., ::4, ::4] += 0.5
    elif kind == "contrast":
        images[..., ::4, ::4] *= 1.6
    else:
        images[..., 1::4] = images[..., ::4]
    assert lattice_penalty(images, 4, alone)[0] > clean + 0.005


def test_what_to_minimise_has_the_gradient_of_the_penalty() -> None:
    """The plain twin: autograd through the mean over pairs, variances held."""
    images = noise(6).double().float().requires_grad_(True)
    _, surrogate = lattice_penalty(images, 8, alone)
    (found,) = torch.autograd.grad(surrogate, images)

    pairs = torch.zeros(())
    for statistic in local_statistics(images):
        maps = folded(statistic, 8)
        products = torch.einsum("ichw,jchw->ijchw", maps, maps)
        off = ~torch.eye(6, dtype=torch.bool)
        variance = statistic.detach().var(dim=(0, 2, 3), unbiased=False)[:, None, None]
        pairs = pairs + (products[off].mean(dim=0) / variance).mean()
    (expected,) = torch.autograd.grad(pairs, images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    assert lattice_penalty(images, 8, alone)[0].item() == pytest.approx(pairs.item(), rel=1e-4)


def test_gradients_of_two_processes_average_to_that_of_one() -> None:
    """Each process sees its own images, and sums over both."""
    images = noise(8).requires_grad_(True)
    (expected,) = torch.autograd.grad(lattice_penalty(images, 8, alone)[1], images)
    halves = [images.detach()[:4].requires_grad_(True), images.detach()[4:].requires_grad_(True)]
    messages: list[list[Tensor]] = [[], []]
    for rank in (0, 1):
        lattice_penalty(halves[rank], 8, lambda values, rank=rank: messages[rank].append(values) or values * 2)
    found = []
    for half in halves:
        sums = iter([one + other for one, other in zip(*messages, strict=True)])
        (gradient,) = torch.autograd.grad(lattice_penalty(half, 8, lambda _, sums=sums: next(sums))[1], half)
        found.append(gradient / 2)
    torch.testing.assert_close(torch.cat(found), expected, rtol=1e-4, atol=1e-7)


def test_a_step_down_the_gradient_removes_a_lattice() -> None:
    images = noise(16)
    images[..., ::8, ::8] += 1.0
    images.requires_grad_(True)
    before = lattice_penalty(images, 8, alone)[0].item()
    optimiser = torch.optim.SGD([images], lr=2000.0)
    for _ in range(20):
        optimiser.zero_grad()
        lattice_penalty(images, 8, alone)[1].backward()
        optimiser.step()
    assert lattice_penalty(images, 8, alone)[0].item() < 0.2 * before
