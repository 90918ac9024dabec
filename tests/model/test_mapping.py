"""The mapping network: each site on its own, truncation towards the mean."""

import pytest
import torch

from tilegen.model.mapping import MappingNetwork


@pytest.fixture
def mapping() -> MappingNetwork:
    torch.manual_seed(0)
    network = MappingNetwork(12, 16, 3).eval().requires_grad_(False)
    network.w_avg.normal_()
    return network


def test_each_site_is_mapped_on_its_own(mapping: MappingNetwork) -> None:
    z = torch.randn(2, 12, 3, 4)
    whole = mapping(z)
    assert whole.shape == (2, 3, 4, 16)
    torch.testing.assert_close(whole[1:, 2:, 1:2], mapping(z[1:, :, 2:, 1:2]))


def test_the_length_of_z_does_not_matter(mapping: MappingNetwork) -> None:
    z = torch.randn(1, 12, 2, 2)
    torch.testing.assert_close(mapping(z), mapping(3 * z), rtol=1e-4, atol=1e-5)


def test_activations_keep_their_size() -> None:
    """Equalised layers of gain sqrt(2): near 1 for fresh weights of many channels, at any learning rate multiplier."""
    torch.manual_seed(0)
    w = MappingNetwork(256, 256, 4)(torch.randn(1, 256, 8, 8))
    assert w.square().mean().sqrt().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("psi", [0.0, 0.5, 0.7, 1.0, 1.5])
def test_truncation_goes_from_the_mean_through_w(mapping: MappingNetwork, psi: float) -> None:
    z = torch.randn(1, 12, 3, 3)
    expected = mapping.w_avg + psi * (mapping(z) - mapping.w_avg)
    torch.testing.assert_close(mapping(z, psi), expected)


def test_the_mean_is_followed_when_told_only(mapping: MappingNetwork) -> None:
    z, before = torch.randn(4, 12, 5, 5), mapping.w_avg.clone()
    mean = mapping.train()(z).mean(dim=(0, 1, 2))
    assert torch.equal(mapping.w_avg, before)
    mapping.follow(mean)
    torch.testing.assert_close(mapping.w_avg, 0.995 * before + 0.005 * mean)
