"""Architectures as plain data, and how large they are."""

import dataclasses
import json

import pytest
import torch

from tilegen.config import from_dict, to_dict
from tilegen.errors import InputError
from tilegen.fields.prior import default_prior
from tilegen.model.config import GENERATOR_PRESETS, GeneratorConfig, preset_discriminator
from tilegen.model.generator import Generator

MILLIONS = {"nano": 0.065, "mini": 0.664, "tiny": 1.12, "S": 4.55, "paper": 24.8}


@pytest.mark.parametrize("preset", GENERATOR_PRESETS)
def test_presets_are_as_large_as_planned(preset: str) -> None:
    with torch.device("meta"):
        generator = Generator(GENERATOR_PRESETS[preset])
    count = sum(parameter.numel() for parameter in generator.parameters()) / 1e6
    assert count == pytest.approx(MILLIONS[preset], rel=0.02)


@pytest.mark.parametrize("preset", GENERATOR_PRESETS)
def test_a_config_comes_back_from_json(preset: str) -> None:
    for config in (GENERATOR_PRESETS[preset], preset_discriminator(GENERATOR_PRESETS[preset], 64)):
        assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(("preset", "cell_px"), [("nano", 8), ("mini", 16), ("tiny", 32), ("S", 32), ("paper", 64)])
def test_a_cell_is_a_power_of_two_pixels(preset: str, cell_px: int) -> None:
    assert GENERATOR_PRESETS[preset].cell_px == cell_px


OUT_OF_RANGE = {
    "no level": {"channels": ()},
    "one level": {"channels": (8,)},
    "ten levels": {"channels": (8,) * 10},
    "no channels": {"channels": (8, 0)},
    "too many channels": {"channels": (8, 4097)},
    "negative channels": {"channels": (8, -8)},
    "no w": {"w_dim": 0},
    "endless w": {"w_dim": 10**30},
    "no mapping": {"mapping_layers": 0},
    "endless mapping": {"mapping_layers": 10**6},
    "no bands": {"band_names": ()},
    "endless z": {"prior": default_prior(8192, 4)},
    "no z": {"prior": dataclasses.replace(default_prior(64, 4), scales=())},
    "no content": {"prior": default_prior(64, 0)},
    "endless content": {"prior": default_prior(64, 10**30)},
}


@pytest.mark.parametrize("change", OUT_OF_RANGE)
def test_an_architecture_out_of_range_is_refused(change: str) -> None:
    with pytest.raises(InputError, match="Not a usable architecture"):
        dataclasses.replace(GENERATOR_PRESETS["nano"], **OUT_OF_RANGE[change])


def test_any_number_of_bands_can_be_made() -> None:
    config: GeneratorConfig = dataclasses.replace(GENERATOR_PRESETS["nano"], band_names=("a", "b", "c", "d", "e"))
    with torch.device("meta"):
        assert Generator(config).synthesis.to_image[0].conv.weight.shape[0] == 5
