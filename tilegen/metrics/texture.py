"""Texture: spectrum, semivariogram and histograms of fakes beside those of photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.stats import wasserstein_distance
from torch import Tensor

from tilegen.errors import MetricError


@dataclass(frozen=True, kw_only=True)
class TextureDifference:
    """How the texture of fakes differs from that of photographs; 0 throughout where it does not.

    Args:
        spectrum_db: mean over the spatial frequencies of the absolute difference of the power spectra, decibels.
        fine_db: power of the fakes over that of photographs at wavelengths below 4 px, decibels; negative is smooth.
        semivariogram: mean over the lags of the absolute difference of the semivariograms, over the real one.
        histograms: Wasserstein distance of the code values, for each band.
    """

    spectrum_db: float
    fine_db: float
    semivariogram: float
    histograms: tuple[float, ...]


def texture_difference(real: UInt8[Tensor, "n bands edge edge"], fake: UInt8[Tensor, "m _ _ _"]) -> TextureDifference:
    """All of the above; spectrum and semivariogram of the mean over the bands.

    Raises:
        MetricError: no images, of another shape, below 16 px, or of one uniform colour.
    """
    if min(len(real), len(fake)) == 0 or real.shape[1:] != fake.shape[1:] or real.shape[2] < 16:
        raise MetricError("Textures are compared between images of one shape, of 16 px or more. Give others.")
    real_light, fake_light = (images.double().mean(dim=1).numpy() for images in (real, fake))
    real_power, fake_power = radial_spectrum(real_light), radial_spectrum(fake_light)
    real_steps, fake_steps = semivariogram(real_light), semivariogram(fake_light)
    if min(real_power.min(), fake_power.min()) <= 0 or real_steps.min() <= 0:
        raise MetricError("Some images have no texture at all: they are of one uniform colour.")
    fine = slice(real.shape[2] // 4, None)
    return TextureDifference(
        spectrum_db=float(np.abs(_decibels(fake_power / real_power)).mean()),
        fine_db=float(_decibels(fake_power[fine].sum() / real_power[fine].sum())),
        semivariogram=float((np.abs(fake_steps - real_steps) / real_steps).mean()),
        histograms=tuple(_histogram_distance(real[:, band], fake[:, band]) for band in range(real.shape[1])),
    )


def radial_spectrum(light: Float64[np.ndarray, "n edge edge"]) -> Float64[np.ndarray, " frequencies"]:
    """Mean power at 1, 2, ... edge / 2 periods per image, over directions and images.

    Each image loses its mean and is tapered by a Hann window, for it does not continue periodically.
    """
    edge = light.shape[1]
    taper = np.hanning(edge + 1)[:-1]
    tapered = (light - light.mean(axis=(1, 2), keepdims=True)) * taper[:, None] * taper
    power = (np.abs(np.fft.fft2(tapered)) ** 2).mean(axis=0)
    frequency = np.fft.fftfreq(edge, d=1 / edge)
    radius = np.rint(np.hypot(frequency[:, None], frequency)).astype(int)
    sums, counts = np.bincount(radius.ravel(), weights=power.ravel()), np.bincount(radius.ravel())
    return (sums / counts)[1 : edge // 2 + 1]


def semivariogram(light: Float64[np.ndarray, "n edge edge"]) -> Float64[np.ndarray, " lags"]:
    """Half the mean squared difference of pixels 1, 2, 4, ... edge / 2 px apart along rows and columns (Matheron)."""
    lags = 2 ** np.arange(int(np.log2(light.shape[1])))
    return np.array(
        [
            (
                np.square(light[:, lag:] - light[:, :-lag]).mean()
                + np.square(light[:, :, lag:] - light[:, :, :-lag]).mean()
            )
            / 4
            for lag in lags
        ]
    )


def _histogram_distance(real: UInt8[Tensor, "n rows cols"], fake: UInt8[Tensor, "m rows cols"]) -> float:
    values = np.arange(256)
    counts = [np.bincount(images.flatten().numpy(), minlength=256) for images in (real, fake)]
    return float(wasserstein_distance(values, values, *counts))


def _decibels(ratio: Float64[np.ndarray, "*shape"] | float) -> Float64[np.ndarray, "*shape"] | float:
    return 10 * np.log10(ratio)
