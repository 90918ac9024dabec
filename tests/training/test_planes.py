"""Planes of a batch: which seeds they share, how wide their kernels are, and that any process can take its share."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.fields.latent import LatentField
from tilegen.fields.prior import default_prior
from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS, preset_discriminator
from tilegen.training.config import SamplingConfig, TrainConfig
from tilegen.training.planes import Planes, constant, sample_planes

CPU = torch.device("cpu")
PRIOR = default_prior(z_dim=16, content_channels=4)
SITES = Window.from_size(5, 6, row0=-3, col0=8)


def planes(seed: int = 0, count: int = 16, group_size: int = 4, **sampling: object) -> Planes:
    config = SamplingConfig(**sampling)
    return sample_planes(np.random.default_rng(seed), PRIOR, config, count=count, group_size=group_size, crop_px=32)


def test_worlds_of_training_are_none_that_a_user_asks_for() -> None:
    """Their seeds have the highest bit; their windows lie at any phase, on all sides of the origin."""
    drawn = [planes(seed, count=4) for seed in range(200)]
    seeds = {seed for some in drawn for seed in some.seeds}
    assert len(seeds) == 800
    assert all(1 << 63 <= seed < 1 << 64 for seed in seeds)
    windows = [some.window for some in drawn]
    assert {window.shape for window in windows} == {(32, 32)}
    assert {(w.row0 % 4, w.col0 % 4) for w in windows} == {(row, col) for row in range(4) for col in range(4)}
    assert min(w.row0 for w in windows) < 0 < max(w.row0 for w in windows)


def test_a_group_shares_its_slow_scales_and_nothing_else() -> None:
    """Channels 0-1 are the world's, 2-5 the region's, the others each plane's own."""
    some = planes(constant_share=0.0)
    z = some.read_latents(SITES, CPU).unflatten(0, (4, 4))
    shared, own = z[:, :, :6], z[:, :, 6:]
    assert torch.equal(shared, shared[:, :1].expand_as(shared))
    assert len(shared[:, 0].flatten(1).unique(dim=0)) == 4
    assert len(own.flatten(0, 1).flatten(1).unique(dim=0)) == 16
    content = some.read_content(SITES, CPU)
    assert len(content.flatten(1).unique(dim=0)) == 16


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 16), min_size=1, max_size=3))
def test_shares_put_together_are_the_batch(seed: int, cuts: list[int]) -> None:
    whole = planes(seed, constant_share=0.4)
    edges = sorted({0, 16, *cuts})
    shares = [whole.share(start, stop) for start, stop in pairwise(edges)]
    assert torch.equal(torch.cat([some.read_latents(SITES, CPU) for some in shares]), whole.read_latents(SITES, CPU))
    assert torch.equal(torch.cat([some.read_content(SITES, CPU) for some in shares]), whole.read_content(SITES, CPU))
    assert tuple(seed for some in shares for seed in some.noise.seeds) == whole.seeds


def test_some_groups_are_constant_in_space() -> None:
    """As often as asked for, and then in every channel; N(0, 1) all the same."""
    flat = []
    for seed in range(150):
        z = planes(seed, constant_share=0.25).read_latents(SITES, CPU).unflatten(0, (4, 4))
        is_flat = (z == z[..., :1, :1]).flatten(1).all(dim=1)
        assert bool(is_flat.logical_or((z != z[..., :1, :1]).flatten(1).any(dim=1)).all())
        flat += is_flat.tolist()
    assert np.mean(flat) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 600) ** 0.5)


def test_a_constant_prior_has_one_vector_for_all_sites() -> None:
    field = LatentField(prior=constant(PRIOR), seeds=tuple(range(2000)))
    z = field.read(SITES, CPU)
    assert torch.equal(z, z[..., :1, :1].expand_as(z))
    assert z[..., 0, 0].var().item() == pytest.approx(1, abs=0.03)


def test_kernel_widths_are_drawn_around_those_of_the_prior() -> None:
    """Five widths within half an octave, as likely as one another; the same factor for all scales."""
    drawn = []
    for seed in range(400):
        (field,) = planes(seed, constant_share=0.0, width_octaves=0.5).latents
        world, *rest = (scale.sigma_cells for scale in field.prior.scales)
        assert world is None
        factors = {round(sigma / own.sigma_cells, 6) for sigma, own in zip(rest, PRIOR.scales[1:], strict=True)}
        assert len(factors) == 1
        drawn.append(factors.pop())
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_allclose(values, 2.0 ** (np.arange(-2, 3) / 4), rtol=1e-5)
    assert counts.min() > 50


def test_no_width_leaves_what_a_scale_allows() -> None:
    wide = replace(PRIOR, scales=(*PRIOR.scales[:3], replace(PRIOR.scales[3], sigma_cells=0.5)))
    for seed in range(20):
        some = sample_planes(
            np.random.default_rng(seed), wide, SamplingConfig(width_octaves=2.0), count=4, group_size=4, crop_px=32
        )
        sigmas = [scale.sigma_cells for field in some.latents for scale in field.prior.scales]
        assert all(sigma is None or sigma >= 0.5 for sigma in sigmas)


def test_with_a_fixed_input_only_latents_and_noise_tell_planes_apart() -> None:
    some, other = (planes(seed, fixed_input=True) for seed in (0, 1))
    assert some.window == other.window == Window.from_size(32, 32)
    content = torch.cat([some.read_content(SITES, CPU), other.read_content(SITES, CPU)])
    assert torch.equal(content, content[:1].expand_as(content))
    assert len(set(some.seeds + other.seeds)) == 32


@pytest.mark.parametrize(
    "options", [{"constant_share": 1.5}, {"layer_mixing": -0.1}, {"area_mixing": float("nan")}, {"width_octaves": 3.0}]
)
def test_sampling_out_of_range_is_refused(options: dict) -> None:
    with pytest.raises(InputError, match="Probabilities go from 0 to 1"):
        SamplingConfig(**options)


def test_a_group_can_only_share_scales_that_there_are() -> None:
    generator = GENERATOR_PRESETS["nano"]
    with pytest.raises(InputError, match=r"no scale 'climate'\. This prior has world, region"):
        TrainConfig(
            generator=generator,
            discriminator=preset_discriminator(generator, 32),
            dataset_digest="",
            sampling=SamplingConfig(shared_scales=("world", "climate")),
        )
