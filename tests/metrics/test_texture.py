"""Spectra, semivariograms and histograms of fields whose statistics are known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tilegen.errors import MetricError
from tilegen.metrics.texture import radial_spectrum, semivariogram, texture_difference


def noise(num: int = 60, edge: int = 32, *, std: float = 20.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, std, (num, edge, edge))


def images(light: np.ndarray, bands: int = 2) -> Tensor:
    values = np.rint(128 + light).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(values)[:, None].repeat(1, bands, 1, 1)


def test_white_noise_has_a_flat_spectrum_and_a_flat_semivariogram() -> None:
    light = noise(200)
    power = radial_spectrum(light)
    taper_energy = (np.hanning(33)[:-1] ** 2).sum() ** 2
    np.testing.assert_allclose(power[1:], 400 * taper_energy, rtol=0.12)  # Parseval: the variance, times the taper's
    np.testing.assert_allclose(semivariogram(light), 400, rtol=0.03)


def test_a_wave_has_its_power_at_its_frequency() -> None:
    wave = 50 * np.sin(2 * np.pi * 6 * np.arange(32) / 32) + np.zeros((1, 32, 1))
    power = radial_spectrum(wave)
    assert power.argmax() + 1 == 6
    assert power[4:7].sum() > 0.99 * power.sum()  # Hann's window leaks to the next frequency on each side


def test_the_semivariogram_of_a_ramp_grows_with_the_squared_lag() -> None:
    """Half the squared step along the ramp and none across it: (h²/2 + 0) / 2."""
    ramp = np.broadcast_to(np.arange(32.0), (1, 32, 32))
    np.testing.assert_allclose(semivariogram(ramp), [lag**2 / 4 for lag in (1, 2, 4, 8, 16)])


def test_smoothing_shows_in_the_fine_part_of_the_spectrum() -> None:
    """A mean of 2 x 2 pixels takes about all power at wavelengths near 2 px."""
    light = noise(edge=33)
    smooth = (light[:, 1:, 1:] + light[:, 1:, :-1] + light[:, :-1, 1:] + light[:, :-1, :-1]) / 4
    found = texture_difference(images(light[:, 1:, 1:]), images(smooth))
    assert found.fine_db < -6
    assert found.spectrum_db > 3
    assert found.semivariogram > 0.5


def test_two_samples_of_one_texture_differ_by_chance_alone() -> None:
    found = texture_difference(images(noise(seed=0)), images(noise(seed=1)))
    assert found.spectrum_db < 0.5
    assert abs(found.fine_db) < 0.2
    assert found.semivariogram < 0.03
    assert max(found.histograms) < 0.5


def test_a_shift_of_one_band_is_its_histogram_distance() -> None:
    real = images(noise())
    fake = real.clone()
    fake[:, 1] += 7
    found = texture_difference(real, fake)
    assert found.histograms == pytest.approx((0, 7))
    assert found.spectrum_db == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("real", "fake", "said"),
    [
        (images(noise()), images(noise(edge=16)), "one shape"),
        (images(noise(edge=8)), images(noise(edge=8)), "16 px"),
        (images(noise())[:0], images(noise()), "one shape"),
        (images(noise()), images(0 * noise()), "no texture"),
    ],
)
def test_what_cannot_be_compared_is_refused(real: Tensor, fake: Tensor, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        texture_difference(real, fake)
