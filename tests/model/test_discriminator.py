"""The discriminator: shapes, the statistic of the batch, and gradients of gradients."""

import itertools

import pytest
import torch

from tilegen.errors import InputError
from tilegen.model.config import GENERATOR_PRESETS, DiscriminatorConfig, preset_discriminator
from tilegen.model.discriminator import Discriminator, minibatch_std
from tilegen.model.resample import fir
from tilegen.training.loss import gradient_penalty


@pytest.mark.parametrize(("crop_px", "bands", "batch"), [(8, 1, 1), (16, 3, 2), (32, 4, 3), (64, 3, 8)])
def test_every_crop_gets_one_logit(crop_px: int, bands: int, batch: int) -> None:
    channels = tuple(8 << i for i in range(crop_px.bit_length() - 2))
    network = Discriminator(DiscriminatorConfig(crop_px=crop_px, channels=channels, num_bands=bands))
    crops = torch.randn(batch, bands, crop_px, crop_px)
    for dtype in (torch.float32, torch.bfloat16):
        logits = network(crops, dtype)
        assert logits.shape == (batch,)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("batch", "group_size", "group"), [(8, 4, 4), (4, 4, 4), (2, 4, 2), (6, 4, 2), (1, 4, 1), (5, 4, 1)]
)
def test_the_statistic_is_the_mean_deviation_within_groups(batch: int, group_size: int, group: int) -> None:
    """The plain twin: a group is consecutive crops; odd batches share by the greatest common divisor."""
    torch.manual_seed(0)
    x = torch.randn(batch, 3, 4, 4)
    found = minibatch_std(x, group_size)
    assert torch.equal(found[:, :3], x)
    for first in range(0, batch, group):
        expected = (x[first : first + group].var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        plane = found[first : first + group, 3]
        torch.testing.assert_close(plane, expected.expand_as(plane))


def test_equal_crops_show_no_deviation() -> None:
    x = torch.randn(1, 2, 4, 4).expand(4, -1, -1, -1)
    assert minibatch_std(x, 4)[:, 2].max().item() == pytest.approx(1e-4)


def network_and_crops() -> tuple[Discriminator, torch.Tensor]:
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorConfig(crop_px=16, channels=(8, 16, 16)))
    return network, torch.randn(4, 3, 16, 16)


def test_the_penalty_reaches_every_weight() -> None:
    """A gradient of a gradient through all layers; biases act through the kinks of the activation alone."""
    network, crops = network_and_crops()
    crops.requires_grad_(True)
    gradient_penalty(network(crops), crops, gamma=1.0).backward()
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_the_gradient_of_the_penalty_is_its_slope() -> None:
    """Double backward against a finite difference along the gradient."""
    network, crops = network_and_crops()
    crops.requires_grad_(True)

    def penalty() -> torch.Tensor:
        return gradient_penalty(network(crops), crops, gamma=1.0)

    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    gradients = torch.autograd.grad(penalty(), weights)
    slope = sum(float(g.square().sum()) for g in gradients)
    step, values = 1e-3 / slope**0.5, []
    for sign in (1, -2):
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight += sign * step * gradient
        values.append(penalty().item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.05)


def test_a_crop_of_another_size_does_not_fit() -> None:
    with pytest.raises(InputError, match="judges crops of 16 px, not 32 px"):
        DiscriminatorConfig(crop_px=32, channels=(8, 16, 16))


@pytest.mark.parametrize("crop_px", [0, -8, 4, 7, 33, 48, 100])
def test_an_odd_crop_size_is_refused(crop_px: int) -> None:
    with pytest.raises(InputError, match="--crop-px must be a power of two"):
        preset_discriminator(GENERATOR_PRESETS["nano"], crop_px)


@pytest.mark.parametrize("preset", GENERATOR_PRESETS)
@pytest.mark.parametrize("crop_px", [8, 64, 256])
def test_presets_double_their_channels_towards_the_coarse_end(preset: str, crop_px: int) -> None:
    generator = GENERATOR_PRESETS[preset]
    channels = preset_discriminator(generator, crop_px).channels
    assert channels[0] == generator.channels[-1]
    assert max(channels) <= max(generator.channels)
    assert all(b in (a, 2 * a) for a, b in itertools.pairwise(channels))


def test_a_grown_one_sees_what_it_saw_and_then_its_mean() -> None:
    """Until it learns, a block that was added smooths, halves and does nothing else; the others are as before."""
    small, _ = network_and_crops()
    large = Discriminator(small.config.grown(64))
    large.grow(small.state_dict())
    assert large.config.channels == (8, 16, 16, 16, 16)
    weights = large.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in small.state_dict().items())
    x = torch.randn(2, 16, 16, 16)
    for block in list(large.blocks)[len(small.blocks) :]:
        torch.testing.assert_close(block(x), fir(x, gain=1.0, stride=2, padding=1))
        block(x).square().mean().backward()
        assert block.down.weight.grad.abs().max() > 0  # it can learn
    assert large(torch.randn(4, 3, 64, 64)).isfinite().all()


def test_one_of_the_same_crops_is_only_copied() -> None:
    network, crops = network_and_crops()
    torch.manual_seed(1)
    other = Discriminator(network.config.grown(16))
    other.grow(network.state_dict())
    assert torch.equal(other(crops), network(crops))


@pytest.mark.parametrize("crop_px", [8, 0, -16, 17, 24, 48])
def test_crops_do_not_shrink_nor_grow_by_parts(crop_px: int) -> None:
    network, _ = network_and_crops()
    with pytest.raises(InputError, match=rf"--crop-px 16, 32, 64 \.\.\., not {crop_px}"):
        network.config.grown(crop_px)


def test_weights_of_another_one_do_not_grow() -> None:
    network, _ = network_and_crops()
    wider = Discriminator(DiscriminatorConfig(crop_px=32, channels=(8, 32, 32, 32)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        wider.grow(network.state_dict())
