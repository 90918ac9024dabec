"""What a run may be."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tilegen.config import from_dict, to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.errors import DataError, InputError
from tilegen.training.config import TrainConfig
from tilegen.training.run import configured


def test_a_config_comes_back_from_json(config_of: Callable[..., TrainConfig]) -> None:
    config = config_of(lr=0.003, seed=2**62)
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_a_config_names_its_data(texture: Path, config_of: Callable[..., TrainConfig]) -> None:
    assert config_of().dataset_digest == PackedDataset.open(texture).digest


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.0},
        {"lr": -1.0},
        {"lr": math.nan},
        {"lr": math.inf},
        {"r1_gamma": -0.1},
        {"r1_gamma": math.nan},
        {"r1_gamma": math.inf},
        {"r1_interval": 0},
        {"ada_kimg": math.inf},
        {"ema_halflife_kimg": 0.0},
        {"ema_halflife_kimg": math.nan},
        {"ema_halflife_kimg": math.inf},
        {"seed": -1},
        {"seed": 2**63},
        {"batch": 0},
        {"batch": 5, "num_processes": 2},
        {"crop_px": 48},
        {"crop_px": 4},
        {"preset": "huge"},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(config_of: Callable[..., TrainConfig], options: dict) -> None:
    with pytest.raises(InputError):
        config_of(**options)


def test_a_crop_that_no_chip_holds_is_refused(config_of: Callable[..., TrainConfig]) -> None:
    with pytest.raises(DataError, match="No chip of the split 'train' has a valid square of 128 x 128"):
        config_of(crop_px=128)


def test_a_missing_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        configured(tmp_path / "none.safetensors", preset="nano", crop_px=32, num_processes=1)
