"""Style mixing: which layers take the other plane's w, and where."""

import numpy as np
import pytest
import torch

from tilegen.geometry.window import Window
from tilegen.training.config import SamplingConfig
from tilegen.training.mixing import Mixing, sample_mixing

SITES = Window.from_size(40, 50, row0=-7, col0=3)
NUM_WS = 8


def taken(mixing: Mixing) -> torch.Tensor:
    """[num_ws, batch, rows, cols]: the share of the other w, which is 1 where the own one is 0."""
    shape = (len(mixing.crossovers), *SITES.shape, 3)
    ws = mixing.mixed(torch.zeros(shape), torch.ones(shape), SITES, NUM_WS)
    assert torch.equal(ws, ws[..., :1].expand_as(ws))
    return ws[..., 0]


def test_layers_from_the_crossover_on_take_the_other_w_everywhere() -> None:
    found = taken(Mixing(crossovers=(0, 3, 8), area_seeds=(None, None, None)))
    for image, crossover in enumerate((0, 3, 8)):
        expected = (torch.arange(NUM_WS) >= crossover).float()[:, None, None].expand(-1, *SITES.shape)
        assert torch.equal(found[:, image], expected)


def test_an_area_is_smooth_the_same_in_all_its_layers_and_covers_half_of_the_plane() -> None:
    found = taken(Mixing(crossovers=(2,) * 30, area_seeds=tuple(range(30))))
    assert found[:2].abs().max() == 0
    assert torch.equal(found[2:], found[2:3].expand_as(found[2:]))
    mask = found[2]
    assert mask.min() < 0.05
    assert mask.max() > 0.95
    assert mask.mean().item() == pytest.approx(0.5, abs=0.1)
    # Sites are half a cell apart; the field's slope is some standard deviations of N(0, 1) / (sqrt(2) * 4 sites).
    assert mask.diff(dim=1).abs().max() < 0.6
    assert mask.diff(dim=1).abs().mean() < 0.15


def test_images_are_mixed_as_often_as_asked_for() -> None:
    rng, sampling = np.random.default_rng(0), SamplingConfig(layer_mixing=0.6, area_mixing=0.25)
    mixing = sample_mixing(rng, sampling, count=20000, num_ws=NUM_WS)
    crossovers, areas = np.array(mixing.crossovers), np.array([seed is not None for seed in mixing.area_seeds])
    assert areas.mean() == pytest.approx(0.25, abs=0.015)
    in_layers = (crossovers >= 1) & (crossovers < NUM_WS)
    assert in_layers.mean() == pytest.approx(0.6, abs=0.015)
    assert (crossovers[in_layers].min(), crossovers[in_layers].max()) == (1, NUM_WS - 1)
    assert np.bincount(crossovers[in_layers])[1:].std() < 100
    # An area without a crossover takes all layers; an image with neither takes none.
    assert set(crossovers[~in_layers & areas]) == {0}
    assert set(crossovers[~in_layers & ~areas]) == {NUM_WS}


def test_without_mixing_nothing_is_taken() -> None:
    mixing = sample_mixing(
        np.random.default_rng(0), SamplingConfig(layer_mixing=0.0, area_mixing=0.0), count=4, num_ws=NUM_WS
    )
    assert taken(mixing).abs().max() == 0


def test_a_share_mixes_as_the_batch_does() -> None:
    whole = sample_mixing(np.random.default_rng(1), SamplingConfig(), count=12, num_ws=NUM_WS)
    assert torch.equal(taken(whole.share(3, 9)), taken(whole)[:, 3:9])
