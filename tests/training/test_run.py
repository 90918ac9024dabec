"""Whole runs: several processes that share a batch, and a run that is told to stop from outside."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tilegen.data.prepare import prepare_dataset
from tilegen.errors import InputError, OutputError, TrainingError
from tilegen.model.checkpoint import load_generator
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.training.config import TrainConfig
from tilegen.training.loop import Schedule
from tilegen.training.run import _await, continued, run_training
from tilegen.training.state import TrainState


def test_two_processes_share_a_batch_and_resume_bit_by_bit(
    texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Three steps straight, and one and two; each process takes two of four crops."""
    config = config_of(num_processes=2)
    for folder, kimg in (("straight", 0.012), ("resumed", 0.004), ("resumed", 0.012)):
        run_training(config, texture, tmp_path / folder, Schedule(kimg=kimg), report=lambda line: None)
    straight, resumed = (load_file(tmp_path / folder / "state.safetensors") for folder in ("straight", "resumed"))
    assert [name for name, tensor in straight.items() if not torch.equal(tensor, resumed[name])] == []
    assert TrainState.load(tmp_path / "straight" / "state.safetensors").num_images == 12
    assert not torch.distributed.is_initialized()


def test_a_process_that_dies_ends_the_run_with_a_sentence(
    texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Killed after the first step: its partner notices in the next."""

    def kill(line: str) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    schedule = Schedule(kimg=1.0, report_s=0.0, render_px=0)
    with pytest.raises(TrainingError, match=r"A training process died\. Run the same command again to resume"):
        run_training(config_of(num_processes=2), texture, tmp_path / "run", schedule, report=kill)


def test_nobody_waits_for_a_process_that_died_before_it_joined() -> None:
    context = multiprocessing.get_context("spawn")
    dead = context.Process(target=os._exit, args=(3,))
    dead.start()
    with pytest.raises(TrainingError, match="A training process died"):
        _await([dead], context.Semaphore(0))


def test_processes_do_not_share_one_gpu(texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 processes do not share one GPU\. Give --device cuda, or --processes 1"):
        run_training(config_of(num_processes=2), texture, tmp_path / "run", Schedule(kimg=1.0), device="cuda:1")
    with pytest.raises(InputError, match=r"9 processes need as many GPUs, and there are \d\. Give --processes \d\."):
        run_training(config_of(num_processes=9, batch=36), texture, tmp_path / "run", Schedule(kimg=1.0), device="cuda")
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_critic_begins_nothing_without_its_weights(
    texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = config_of(critic_weight=1.0, critic_digest="00")
    with pytest.raises(InputError, match="This run has a critic: give --features"):
        run_training(config, texture, tmp_path / "run", Schedule(kimg=1.0))
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_what_is_not_changed(
    texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = config_of(lr=0.001, area_mixing=0.1)
    run_training(config, texture, tmp_path / "run", Schedule(kimg=0.004, render_px=0), report=lambda line: None)
    assert continued(tmp_path / "run", texture) == config
    changed = continued(tmp_path / "run", texture, lr=0.003, layer_mixing=0.2)
    assert (changed.lr, changed.sampling.layer_mixing, changed.sampling.area_mixing) == (0.003, 0.2, 0.1)
    assert continued(tmp_path / "run", texture, crop_px=64).discriminator == config_of(crop_px=64).discriminator
    with pytest.raises(InputError, match="goes on with those or with larger ones: --crop-px 32, 64, 128"):
        continued(tmp_path / "run", texture, crop_px=16)
    write_image(tmp_path / "grey" / "1.png", textured_pixels(80, 80, bands=1))
    prepare_dataset([tmp_path / "grey"], tmp_path / "grey.safetensors", num_bands=1, val_fraction=0.0, resolution_m=1.0)
    with pytest.raises(InputError, match="paints red, green, blue, the data have"):
        continued(tmp_path / "run", tmp_path / "grey.safetensors")


def test_a_folder_is_trained_in_by_one_run_at_a_time(
    texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """The second one is refused while the first goes on, and touches nothing; afterwards the folder is free."""
    refused = []

    def try_again(line: str) -> None:
        with pytest.raises(OutputError, match=r"Another run is working on .*run\. Wait for it") as refusal:
            run_training(config_of(seed=5), texture, tmp_path / "run", Schedule(kimg=0.004), report=print)
        refused.append(refusal)

    schedule = Schedule(kimg=0.008, report_s=0.0, render_px=0)
    run_training(config_of(), texture, tmp_path / "run", schedule, report=try_again)
    assert len(refused) == 2
    assert TrainState.load(tmp_path / "run" / "state.safetensors").config == config_of()
    run_training(config_of(), texture, tmp_path / "run", schedule, report=print)


def test_sigterm_ends_a_run_well(texture: Path, tmp_path: Path) -> None:
    """A real run of two processes, both told to stop after the first snapshot: exit code 143, and a whole snapshot."""
    command = [sys.executable, "-m", "tilegen", "train", "spacenet", "--data", texture, "--out", tmp_path / "run"]
    options = ["--preset", "nano", "--crop-px", "32", "--batch", "4", "--processes", "2", "--snapshot-minutes", "1e-6"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        while running.poll() is None and not (tmp_path / "run" / "sheets").exists():
            with suppress(subprocess.TimeoutExpired):
                running.wait(timeout=0.05)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
        out, err = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM, err
    assert "Interrupted. What is finished is kept: run the same command again to resume." in err
    assert "Checkpoint:" not in out
    state = TrainState.load(tmp_path / "run" / "state.safetensors")
    assert load_generator(tmp_path / "run" / "model.safetensors")[1].num_images == state.num_images
    assert not list((tmp_path / "run").glob("*.tmp"))
