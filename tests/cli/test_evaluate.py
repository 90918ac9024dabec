"""`tilegen evaluate`: a small model against made-up chips, and what it refuses."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilegen.data.prepare import prepare_dataset
from tilegen.metrics.report import FILES
from tilegen.model.checkpoint import load_generator, read_card, save_generator
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.testing.squeezenets import random_squeezenet


def packed(folder: Path, *, resolution_m: float = 0.5, bands: int = 3, val_fraction: float = 0.5) -> Path:
    for number in range(4):
        write_image(folder / "chips" / f"{number}.tif", textured_pixels(80, 90, bands=bands, seed=number))
    out = folder / "texture.safetensors"
    prepare_dataset(
        [folder / "chips"], out, num_bands=bands, min_px=1, val_fraction=val_fraction, resolution_m=resolution_m
    )
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("texture"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    np.savez(path, **random_squeezenet())
    return path


def test_a_model_is_judged_and_the_report_says_by_what(run, folder, model, data, weights):
    words = (model, "--data", data, "--features", weights, "--out", "report", "--num", 16, "--crop-px", 32)
    result = run("evaluate", *words)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (folder / "report").iterdir()) == sorted(FILES)
    record = json.loads((folder / "report" / "report.json").read_text())
    assert record["origin"]["model digest"] == read_card(model).digest
    assert record["origin"]["extractor digest"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (record["origin"]["num"], record["origin"]["seed"], record["origin"]["crop_px"]) == (16, 0, 32)
    assert record["origin"]["trained on these data"] is False
    assert record["scores"]["kid"]["fake-val"]["mean"] > record["scores"]["kid"]["train-train"]["mean"]
    assert "| fake-val |" in result.stdout

    again = run("evaluate", *words)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--features", "a.npz", "--out", "b"], "Missing option '--data'"),
        (["--data", "a", "--out", "b"], "Missing option '--features'"),
        (["--data", "a", "--features", "b", "--out", "c", "--num", "15"], "'--num': 15 is not in the range"),
        (["--data", "a", "--features", "b", "--out", "c", "--crop-px", "8"], "'--crop-px': 8 is not in the range"),
        (["--data", "a", "--features", "b", "--out", "c", "--seed", "-1"], "'--seed': -1 is not in the range"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_options_out_of_range_are_refused(refused, words, said):
    assert said in refused("evaluate", "default", *words, exit_code=2)


def test_what_is_not_there_is_refused(refused, model, data, weights):
    assert "No model" in refused("evaluate", "a.b", "--data", data, "--features", weights, "--out", "c")
    assert "cannot be read" in refused("evaluate", model, "--data", "a", "--features", weights, "--out", "c")
    assert "no weight file" in refused("evaluate", model, "--data", data, "--features", "a.npz", "--out", "c")


def test_a_crop_that_no_chip_holds_is_refused(refused, model, data, weights):
    words = ("--data", data, "--features", weights, "--out", "c", "--crop-px", 81)
    assert "no chip" in refused("evaluate", model, *words).lower()


def test_data_without_held_out_chips_are_refused(refused, model, tmp_path, weights):
    all_train = packed(tmp_path / "all", val_fraction=0.0)
    said = refused("evaluate", model, "--data", all_train, "--features", weights, "--out", "c")
    assert "no chip in the split 'val'" in said


def test_data_of_another_ground_size_or_other_bands_are_refused(refused, model, tmp_path, weights):
    coarse = packed(tmp_path / "coarse", resolution_m=1.0)
    assert "0.5 m" in refused("evaluate", model, "--data", coarse, "--features", weights, "--out", "c")
    grey = packed(tmp_path / "grey", bands=1)
    assert "3 bands" in refused("evaluate", model, "--data", grey, "--features", weights, "--out", "c")


def test_a_model_may_say_anything_of_its_training(run, folder, model, data, weights):
    generator, card = load_generator(model)
    foreign = folder / "foreign.safetensors"
    save_generator(foreign, generator, num_images=0, resolution_m=card.resolution_m, about={"train": "on everything"})
    words = ("--data", data, "--features", weights, "--out", "report", "--num", 16, "--crop-px", 32)
    result = run("evaluate", foreign, *words)
    assert result.exit_code == 0, result.stderr
