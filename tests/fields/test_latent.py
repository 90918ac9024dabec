"""The latent and content fields: any window is a crop, every site N(0, 1), near sites alike as planned."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilegen.errors import InputError
from tilegen.fields.latent import ContentField, Kernel, LatentField, scale_kernel
from tilegen.fields.prior import SITES_PER_CELL, Prior, Scale, default_prior
from tilegen.geometry.window import Window
from tilegen.testing.strategies import nested_windows, seeds

CPU = torch.device("cpu")
PRIOR = default_prior(16, 8)
SIGMAS = [0.5, 1.0, 1.5, 4.0, 16.0, 40.0]


def one_scale(sigma_cells: float, channels: int = 8) -> Prior:
    return Prior(scales=(Scale(name="only", channels=channels, sigma_cells=sigma_cells),), content_channels=1)


# A window is a crop


@given(pair=nested_windows(max_side=40), some=st.lists(seeds(), min_size=1, max_size=3))
@settings(max_examples=40)
def test_a_window_of_the_latent_is_a_crop_of_any_larger_one(pair: tuple[Window, Window], some: list[int]) -> None:
    """Bit by bit. A matrix product for the filter once failed this: its sums depend on the size."""
    inner, outer = pair
    field = LatentField(prior=PRIOR, seeds=tuple(some))
    assert torch.equal(field.read(inner, CPU), field.read(outer, CPU)[..., *inner.within(outer)])


@given(pair=nested_windows(max_side=40), seed=seeds(), channels=st.integers(1, 19))
@settings(max_examples=40)
def test_a_window_of_the_content_is_a_crop_of_any_larger_one(
    pair: tuple[Window, Window], seed: int, channels: int
) -> None:
    inner, outer = pair
    field = ContentField(channels=channels, seeds=(seed,))
    assert torch.equal(field.read(inner, CPU), field.read(outer, CPU)[..., *inner.within(outer)])


def test_a_batch_is_its_worlds_one_by_one() -> None:
    window = Window.from_size(5, 9, row0=-3)
    together = LatentField(prior=PRIOR, seeds=(4, 5, 4)).read(window, CPU)
    for number, seed in enumerate((4, 5, 4)):
        assert torch.equal(together[number : number + 1], LatentField(prior=PRIOR, seeds=(seed,)).read(window, CPU))


def test_a_channel_does_not_depend_on_how_many_there_are() -> None:
    window = Window.from_size(6, 6)
    few, many = (ContentField(channels=channels, seeds=(1,)).read(window, CPU) for channels in (5, 50))
    assert torch.equal(few, many[:, :5])


# One scale at a time


@pytest.mark.parametrize("name", [scale.name for scale in PRIOR.scales])
def test_a_scale_is_reseeded_alone(name: str) -> None:
    """Its channels become those of the other seed, for each field its own; all others stay bit by bit."""
    window = Window.from_size(6, 7, row0=-3, col0=2**33)
    found = LatentField(prior=PRIOR, seeds=(1, 2), scale_seeds={name: (8, 9)}).read(window, CPU)
    own, other = (LatentField(prior=PRIOR, seeds=seeds).read(window, CPU) for seeds in ((1, 2), (8, 9)))
    first = 0
    for scale in PRIOR.scales:
        channels = slice(first, first + scale.channels)
        first = channels.stop
        assert torch.equal(found[:, channels], (other if scale.name == name else own)[:, channels])
    assert not torch.equal(own, other)


def test_seeds_of_scales_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="no scale 'climate'"):
        LatentField(prior=PRIOR, seeds=(1,), scale_seeds={"climate": (2,)})
    with pytest.raises(InputError, match="'world' has 1 seeds for 2 fields"):
        LatentField(prior=PRIOR, seeds=(1, 2), scale_seeds={"world": (2,)})
    with pytest.raises(InputError, match="whole number from 0"):
        LatentField(prior=PRIOR, seeds=(1,), scale_seeds={"world": (-2,)})


# Exactly N(0, 1)


@pytest.mark.parametrize("sigma_cells", SIGMAS)
def test_every_phase_has_unit_variance(sigma_cells: float) -> None:
    """White nodes of variance 1, so the variance is the sum of the squared float32 weights; between nodes too."""
    kernel = scale_kernel(sigma_cells)
    energy = torch.tensor(kernel.weights, dtype=torch.float32).double().square().sum(dim=1)
    assert energy.shape == (kernel.spacing,)
    torch.testing.assert_close(energy, torch.ones_like(energy), rtol=0, atol=1e-6)
    assert kernel.spacing <= max(1, sigma_cells * SITES_PER_CELL / 2)


@pytest.mark.parametrize("sigma_cells", SIGMAS)
def test_the_field_has_mean_0_and_variance_1_at_every_phase(sigma_cells: float) -> None:
    """Over 2**13 worlds at neighbouring sites, on and between the nodes."""
    spacing = scale_kernel(sigma_cells).spacing
    window = Window.from_size(1, min(spacing, 8) + 1, row0=-7, col0=-2)
    values = LatentField(prior=one_scale(sigma_cells), seeds=tuple(range(1024))).read(window, CPU)
    by_phase = values[:, :, 0].permute(2, 0, 1).flatten(1)
    bound = 5 * math.sqrt(2 / by_phase.shape[1])
    torch.testing.assert_close(by_phase.var(dim=1), torch.ones(window.width), rtol=0, atol=bound)
    torch.testing.assert_close(by_phase.mean(dim=1), torch.zeros(window.width), rtol=0, atol=bound)


def test_the_world_scale_is_one_vector() -> None:
    values = LatentField(prior=PRIOR, seeds=(9,)).read(Window.from_size(20, 30, row0=-(2**40)), CPU)
    world = values[:, : PRIOR.scales[0].channels]
    assert (world == world[..., :1, :1]).all()
    assert torch.equal(
        world[..., 0, 0], LatentField(prior=PRIOR, seeds=(9,)).read(Window.from_size(1, 1), CPU)[:, :2, 0, 0]
    )


# Correlation


def covariance(kernel: Kernel, num_sites: int) -> torch.Tensor:
    """Of sites 0, 1, ... of a row with each other: products of their weights at the nodes they share."""
    num_nodes = (num_sites - 1) // kernel.spacing + 1 + 2 * kernel.reach
    matrix = torch.zeros(num_sites, num_nodes, dtype=torch.float64)
    for site in range(num_sites):
        block, phase = divmod(site, kernel.spacing)
        matrix[site, block : block + 2 * kernel.reach + 1] = torch.tensor(kernel.weights[phase], dtype=torch.float64)
    return matrix @ matrix.T


@pytest.mark.parametrize("sigma_cells", SIGMAS)
def test_the_correlation_is_a_gaussian_of_the_distance(sigma_cells: float) -> None:
    """exp(-d**2 / (4 sigma**2)), the same from every site: the nodes do not print through."""
    sigma = sigma_cells * SITES_PER_CELL
    sites = torch.arange(math.ceil(6 * sigma) + 1, dtype=torch.float64)
    expected = torch.exp(-((sites[:, None] - sites) ** 2) / (4 * sigma**2))
    torch.testing.assert_close(covariance(scale_kernel(sigma_cells), len(sites)), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("sigma_cells", [1.0, 4.0])
def test_sites_correlate_as_planned_along_rows_columns_and_both(sigma_cells: float) -> None:
    values = LatentField(prior=one_scale(sigma_cells), seeds=tuple(range(1500))).read(
        Window.from_size(14, 14, row0=-5, col0=2**40), CPU
    )
    sigma = sigma_cells * SITES_PER_CELL
    first = values[..., 2, 3].flatten()
    for rows, cols in [(0, 1), (1, 0), (0, 4), (4, 0), (3, 3), (11, 0), (9, 10)]:
        found = torch.corrcoef(torch.stack([first, values[..., 2 + rows, 3 + cols].flatten()]))[0, 1].item()
        expected = math.exp(-(rows**2 + cols**2) / (4 * sigma**2))
        assert found == pytest.approx(expected, abs=0.05)


def test_scales_and_channels_are_independent() -> None:
    """Also the content, which is drawn from its own stream."""
    window, many = Window.from_size(1, 1, row0=3, col0=-9), tuple(range(4000))
    latent = LatentField(prior=PRIOR, seeds=many).read(window, CPU)[..., 0, 0]
    content = ContentField(channels=8, seeds=many).read(window, CPU)[..., 0, 0]
    correlation = torch.corrcoef(torch.cat([latent, content], dim=1).T).fill_diagonal_(0)
    assert correlation.abs().max().item() < 5 / math.sqrt(len(many))


# O(1) access


@given(
    window=st.builds(Window.from_size, st.integers(1, 50), st.integers(1, 50), row0=st.integers(-50, 50)),
    steps=st.integers(-(2**40), 2**40),
    sigma_cells=st.sampled_from(SIGMAS),
)
def test_as_many_nodes_are_read_at_any_distance(window: Window, steps: int, sigma_cells: float) -> None:
    """E6: near or far, the same shapes; and never more than the window and its reach."""
    kernel = scale_kernel(sigma_cells)
    near, far = (kernel.nodes(w) for w in (window, window.shifted(steps * kernel.spacing, -steps * kernel.spacing)))
    assert near.shape == far.shape
    assert near.height <= (window.height - 2) // kernel.spacing + 2 + 2 * kernel.reach
    assert 2 * kernel.reach + 1 <= 26


# What is refused


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=r"from 0 to 2\*\*64 - 1"):
        LatentField(prior=PRIOR, seeds=(3, seed))
    with pytest.raises(InputError, match=r"from 0 to 2\*\*64 - 1"):
        ContentField(channels=1, seeds=(3, seed)).read(Window.from_size(1, 1), CPU)


@pytest.mark.parametrize(("channels", "sigma_cells"), [(0, 1.0), (4, 0.4), (4, -1.0), (4, 5000.0), (4, math.nan)])
def test_a_scale_out_of_range_is_refused(channels: int, sigma_cells: float) -> None:
    with pytest.raises(InputError, match=r"sigma_cells from 0\.5 to 4096"):
        Scale(name="local", channels=channels, sigma_cells=sigma_cells)


@pytest.mark.parametrize("z_dim", [8, 64, 100, 256, 512])
def test_the_default_prior_shares_all_channels_out(z_dim: int) -> None:
    prior = default_prior(z_dim, content_channels=32)
    assert prior.channels == z_dim
    shares = [scale.channels / z_dim for scale in prior.scales]
    assert shares == pytest.approx([1 / 8, 1 / 4, 1 / 4, 3 / 8], abs=0.06)
