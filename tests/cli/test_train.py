"""`tilegen train spacenet`: what it refuses. What it learns is tested in tests/training."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilegen.data.prepare import prepare_dataset
from tilegen.model.checkpoint import load_generator, read_card
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.testing.disks import fill
from tilegen.testing.squeezenets import random_squeezenet
from tilegen.training.folder import load_config
from tilegen.training.state import TrainState

SQUEEZENET = Path(__file__).parents[3] / "shared" / "weights" / "squeezenet1_0_deepcompression_rgb01_fp16.npz"


@pytest.fixture
def texture(folder):
    """A packed dataset of four chips, one of them for validation."""
    for number in range(4):
        write_image(folder / "chips" / f"{number}.png", textured_pixels(80, 90, seed=number))
    prepare_dataset([folder / "chips"], folder / "a.safetensors", min_px=1, val_fraction=0.25, resolution_m=0.5)
    return folder / "a.safetensors"


SMALL = ["--preset", "nano", "--crop-px", 32, "--batch", 4, "--processes", 1, "--render-px", 64, "--kimg", 0.004]


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
        (["--data", "a.safetensors", "--out", "run", "--loss", "hinge"], "'hinge' is not one of"),
        (["--data", "a.safetensors", "--out", "run", "--sigma-cells", "region"], "'region' is no width of a scale"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_options_out_of_range_are_refused(refused, words, said):
    assert said in refused("train", "spacenet", *words, exit_code=2)


def test_one_scale_has_one_width(refused, texture):
    widths = ["--sigma-cells", "region=3", "--sigma-cells", "region=9"]
    assert "names a scale twice" in refused("train", "spacenet", "--data", texture, "--out", "run", *widths)


def test_a_dataset_that_is_not_there_is_refused(refused):
    assert "cannot be read" in refused("train", "spacenet", "--data", "a.safetensors", "--out", "run")


def test_a_file_that_is_no_dataset_is_refused(refused, folder):
    (folder / "a.safetensors").write_text("not a dataset")
    assert "a.safetensors" in refused("train", "spacenet", "--data", "a.safetensors", "--out", "run")


def test_a_checkpoint_is_no_dataset(refused, model):
    assert "no tilegen dataset" in refused("train", "spacenet", "--data", model, "--out", "run")


# Runs


def test_a_run_leaves_what_it_promises(run, texture, folder):
    """Options reach the config; curves, sheet, render, checkpoint, shards, and one line for the eye."""
    options = ["--loss", "relativistic", "--sigma-cells", "region=24", "--area-mixing", 0, "--float32", "--shards"]
    result = run("train", "spacenet", "--data", texture, "--out", "run", *SMALL, *options)
    assert result.exit_code == 0, result.stderr
    assert "Checkpoint: run/model.safetensors" in result.stdout
    config = load_config(Path("run"))
    assert (config.loss, config.sampling.area_mixing, config.bfloat16) == ("relativistic", 0.0, False)
    assert {scale.name: scale.sigma_cells for scale in config.generator.prior.scales}["region"] == 24.0
    assert config.sampling.layer_mixing == 0.5
    assert TrainState.load(Path("run/state.safetensors")).config == config
    names = {path.relative_to("run").as_posix() for path in Path("run").rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("tensorboard/events.out.tfevents")}
    assert len(events) == 1
    assert names - events == {
        "run.json", "state.safetensors", "model.safetensors", "log.jsonl", "sheets/000000.png", "renders/000000.png",
        "shards/shard-00001-of-00001.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("start", ["run", "run/shards"])
def test_a_run_goes_on_elsewhere(run, texture, folder, start):
    """From its state, or from its shards; on other data and with another weight, which the card remembers."""
    assert run("train", "spacenet", "--data", texture, "--out", "run", *SMALL, "--shards").exit_code == 0
    prepare_dataset([folder / "chips"], folder / "b.safetensors", min_px=1, val_fraction=0.0, resolution_m=0.5)
    more = ["--data", "b.safetensors", "--out", "new", "--continue-from", start, "--r1-gamma", 0.7, "--kimg", 0.008]
    result = run("train", "spacenet", *more, "--render-px", 0, "--no-tensorboard")
    assert result.exit_code == 0, result.stderr
    old, state = TrainState.load(Path("run/state.safetensors")), TrainState.load(Path("new/state.safetensors"))
    assert (state.num_images, state.config.r1_gamma, state.config.batch) == (8, 0.7, 4)
    assert state.config.bfloat16
    before = {"until_num_images": 4, "dataset_digest": old.config.dataset_digest, "r1_gamma": 0.2}
    assert state.history == (before,)
    assert load_generator(Path("new/model.safetensors"))[1].about["train_before"] == [before]
    # The second step of Adam with beta1 = 0 moves a weight by sqrt(2) times the rate at most.
    moved = (state.generator.synthesis.const - old.generator.synthesis.const).abs().max().item()
    assert 0 < moved <= 1.5 * old.config.lr
    assert run("train", "spacenet", *more, "--render-px", 0, "--no-tensorboard").exit_code == 0


@pytest.mark.parametrize("start", ["run", "run/shards"])
def test_crops_may_grow_on_the_way(run, texture, start):
    assert run("train", "spacenet", "--data", texture, "--out", "run", *SMALL, "--shards").exit_code == 0
    old = TrainState.load(Path("run/state.safetensors"))
    more = ["--continue-from", start, "--crop-px", 2 * old.config.discriminator.crop_px, "--kimg", 0.008]
    for _ in range(2):  # begun, then resumed
        result = run(
            "train", "spacenet", "--data", texture, "--out", "new", *more, "--render-px", 0, "--no-tensorboard"
        )
        assert result.exit_code == 0, result.stderr
    state = TrainState.load(Path("new/state.safetensors"))
    assert (state.num_images, state.config.discriminator.crop_px) == (8, 2 * old.config.discriminator.crop_px)
    assert state.history[0]["discriminator"]["crop_px"] == old.config.discriminator.crop_px
    known, knows = old.discriminator.from_image.weight, state.discriminator.from_image.weight
    assert 0 < (known - knows).abs().max() <= 1.5 * old.config.lr  # one step from where it was


def test_networks_cannot_change_on_the_way(run, texture, refused):
    assert run("train", "spacenet", "--data", texture, "--out", "run", *SMALL).exit_code == 0
    words = ["train", "spacenet", "--data", texture, "--out", "new", "--continue-from", "run"]
    assert "keeps its generator: give no --preset" in refused(*words, "--preset", "mini")
    assert "holds no training run" in refused(*words[:-1], "chips")


def test_other_settings_need_another_folder(run, texture, refused):
    assert run("train", "spacenet", "--data", texture, "--out", "run", *SMALL).exit_code == 0
    said = refused("train", "spacenet", "--data", texture, "--out", "run", *SMALL, "--lr", 0.1)
    assert "holds a run with other settings or data" in said


@pytest.mark.skipif(not SQUEEZENET.exists(), reason="the weights of SqueezeNet are not there")
def test_snapshots_are_scored_against_held_out_crops(run, texture):
    options = ["--data", texture, "--out", "run", "--features", SQUEEZENET]
    result = run("train", "spacenet", *options, *SMALL)
    assert result.exit_code == 0, result.stderr
    records = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    (scores,) = [record for record in records if "score/kid" in record]
    # Noise is far from texture, and two halves of the texture are near each other.
    assert scores["score/kid"] > 10 * abs(scores["score/kid_floor"])
    assert "kid " in result.stdout


def test_scores_need_their_weights_and_held_out_crops(run, texture, refused, folder):
    words = ["train", "spacenet", "--data", texture, "--out", "run", *SMALL]
    assert "nothing.npz" in refused(*words, "--features", "nothing.npz")
    (folder / "other.npz").write_bytes(b"no weights")
    assert "other.npz" in refused(*words, "--features", "other.npz")


def test_a_disk_that_fills_up_during_a_snapshot_keeps_the_last_one(run, texture, disk_of):
    """There is room for all of a second snapshot but its state, which is written beside the first and comes last."""
    disk = disk_of("16m")
    words = ["train", "spacenet", "--data", texture, "--out", disk / "run", *SMALL, "--render-px", 0]
    assert run(*words, "--no-tensorboard").exit_code == 0
    before = (disk / "run" / "state.safetensors").read_bytes()
    sizes = {path.name: path.stat().st_size for path in (disk / "run").rglob("*") if path.is_file()}
    room = len(before) * 3 // 4
    assert room > max(sizes["000000.png"], sizes["model.safetensors"])
    fill(disk / "other")
    with (disk / "other").open("r+b") as other:
        other.truncate((disk / "other").stat().st_size - room)
    result = run(*words, "--no-tensorboard", "--kimg", 0.008)
    assert result.exit_code == 1
    assert "state.safetensors" in result.stderr
    assert "The disk is full" in result.stderr
    assert (disk / "run" / "state.safetensors").read_bytes() == before
    assert not list(disk.rglob("*.tmp"))


def test_a_critic_needs_weights_and_may_begin_with_a_checkpoint(run, texture, refused, folder):
    np.savez(folder / "random.npz", **random_squeezenet())
    words = ["train", "spacenet", "--data", texture, *SMALL, "--critic-weight", 0.5]
    assert "give --features with its weights" in refused(*words, "--out", "without")
    assert not (folder / "without").exists()
    words = ["train", "spacenet", "--data", texture, *SMALL, "--snapshot-minutes", 9]
    assert run(*words, "--out", "first").exit_code == 0
    options = ["--features", "random.npz", "--critic-weight", 0.5, "--continue-from", "first/model.safetensors"]
    result = run(*words, *options, "--out", "second")
    assert result.exit_code == 0, result.stderr
    assert load_config(folder / "second").critic_digest == hashlib.sha256(Path("random.npz").read_bytes()).hexdigest()
    (begun,) = TrainState.load(folder / "second" / "state.safetensors").history
    assert begun == {"generator_of": read_card(folder / "first" / "model.safetensors").digest, "after_num_images": 4}
