"""`tilegen train spacenet`: what it refuses. What it learns is tested in tests/training."""

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing option '--data'"),
        (["--data", "a.safetensors"], "Missing option '--out'"),
        (["--data", "a.safetensors", "--out", "run", "--kimg", "0"], "'--kimg': 0.0 is not in the range"),
        (["--data", "a.safetensors", "--out", "run", "--minutes", "-1"], "'--minutes': -1.0 is not in the range"),
        (["--data", "a.safetensors", "--out", "run", "--batch", "0"], "'--batch': 0 is not in the range"),
        (["--data", "a.safetensors", "--out", "run", "--processes", "0"], "'--processes': 0 is not in the range"),
        (["--data", "a.safetensors", "--out", "run", "--seed", "-1"], "'--seed': -1 is not in the range"),
        (["--data", "a.safetensors", "--out", "run", "--lr", "fast"], "'--lr': 'fast' is not a valid float"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_options_out_of_range_are_refused(refused, words, said):
    assert said in refused("train", "spacenet", *words, exit_code=2)


def test_a_dataset_that_is_not_there_is_refused(refused):
    assert "cannot be read" in refused("train", "spacenet", "--data", "a.safetensors", "--out", "run")


def test_a_file_that_is_no_dataset_is_refused(refused, folder):
    (folder / "a.safetensors").write_text("not a dataset")
    assert "a.safetensors" in refused("train", "spacenet", "--data", "a.safetensors", "--out", "run")


def test_a_checkpoint_is_no_dataset(refused, model):
    assert "no tilegen dataset" in refused("train", "spacenet", "--data", model, "--out", "run")
