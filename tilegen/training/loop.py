"""The training loop: step, report, snapshot, stop."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.errors import DataError, InputError, TrainingError
from tilegen.model.checkpoint import save_generator
from tilegen.training.config import TrainConfig
from tilegen.training.parallel import agreed
from tilegen.training.sheets import save_sheet
from tilegen.training.state import TrainState
from tilegen.training.step import train_step


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When to stop and when to report. Not part of the run's identity: a resumed run may have another one.

    Args:
        kimg: stop after this many thousand images in all.
        minutes: stop after this many minutes of this call; None for no limit.
        report_s: seconds between two lines of progress.
        snapshot_s: seconds between two snapshots; there is one at the end in any case.
    """

    kimg: float
    minutes: float | None = None
    report_s: float = 20.0
    snapshot_s: float = 300.0

    def __post_init__(self) -> None:
        minutes = 1.0 if self.minutes is None else self.minutes
        if not all(math.isfinite(limit) and limit > 0 for limit in (self.kimg, minutes, self.snapshot_s)):
            raise InputError("--kimg, --minutes and --snapshot-minutes must be positive and finite.")


def open_run(folder: Path, config: TrainConfig) -> TrainState:
    """A new run in `folder`, or the one that lies there, if it has the same config.

    Raises:
        TrainingError: the folder holds a run of another config, or a state that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described, state_path = json.dumps(to_dict(config), indent=1), folder / "state.safetensors"
    config_path = folder / "run.json"
    if config_path.exists() and config_path.read_text() != described:
        raise TrainingError(f"{folder} holds a run with other settings or data. Give another --out to start a new one.")
    if state_path.exists():
        if not config_path.exists():
            raise TrainingError(f"{folder} holds a training state without its run.json. Give another --out.")
        return TrainState.load(state_path)
    write_atomically(config_path, described.encode())
    return TrainState.new(config)


def load_config(folder: Path) -> TrainConfig:
    """The config of the run in `folder`.

    Raises:
        TrainingError: there is none.
    """
    try:
        return from_dict(TrainConfig, json.loads((folder / "run.json").read_text()))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder} holds no training run ({error}).") from None


def continue_run(old: Path, new: Path, **changes: Any) -> None:
    """Begin a run in `new` where the run in `old` stands, with some fields of its config changed.

    Does nothing if there is a run in `new` already.

    Raises:
        TrainingError: `old` holds no whole state.
    """
    if (new / "state.safetensors").exists():
        return
    state = TrainState.load(old / "state.safetensors")
    before = {name: getattr(state.config, name) for name in changes}
    state = TrainState.load(old / "state.safetensors", dataclasses.replace(state.config, **changes))
    state.history += ({"until_num_images": state.num_images} | before,)
    new.mkdir(parents=True, exist_ok=True)
    write_atomically(new / "run.json", json.dumps(to_dict(state.config), indent=1).encode())
    state.save(new / "state.safetensors")


def train(
    state: TrainState,
    dataset: PackedDataset,
    folder: Path,
    schedule: Schedule,
    *,
    rank: int = 0,
    report: Callable[[str], None] = print,
) -> None:
    """Train until `schedule` says stop, or until SIGTERM or Ctrl-C: in each case with a snapshot.

    Process 0 decides, reports and writes; the others (`rank` > 0) follow.
    """
    stop = _StopSignal() if rank == 0 else None
    started, start_images, start_seconds = time.monotonic(), state.num_images, state.seconds
    last_report = last_snapshot = started
    sums: dict[str, list[float]] = defaultdict(list)
    try:
        while True:
            now = time.monotonic()
            state.seconds = start_seconds + now - started
            spent = schedule.minutes is not None and now - started >= 60 * schedule.minutes
            done = agreed(spent or state.num_images >= 1000 * schedule.kimg or (stop is not None and stop.seen))
            if rank == 0 and sums and (done or now - last_report >= schedule.report_s):
                rate = (now - started) / max(state.num_images - start_images, 1)
                report(_report(state, folder, sums, rate, schedule))
                last_report = now
            if rank == 0 and (done or now - last_snapshot >= schedule.snapshot_s):
                save_snapshot(state, dataset, folder)
                last_snapshot = now
            if done:
                return
            for name, value in train_step(state, dataset, rank).items():
                sums[name].append(value)
    finally:
        if stop is not None:
            stop.restore()


def resolution_m(dataset: PackedDataset) -> float:
    """Ground size of a pixel of the dataset, metres.

    Raises:
        DataError: the dataset does not know it, so neither would the model.
    """
    if dataset.card.resolution_m is None:
        raise DataError("The dataset does not know its ground size. Pack it again with --resolution-m.")
    return dataset.card.resolution_m


def save_snapshot(state: TrainState, dataset: PackedDataset, folder: Path) -> None:
    """The averaged generator as a checkpoint, a sample sheet, and last the state to resume from."""
    card = dataset.card
    about = {
        "data": list(card.sources),
        "licence": card.licence,
        "attribution": card.attribution,
        "train": to_dict(state.config),
        "train_before": list(state.history),
        "train_seconds": round(state.seconds),
    }
    save_generator(
        folder / "model.safetensors",
        state.average,
        num_images=state.num_images,
        resolution_m=resolution_m(dataset),
        about=about,
    )
    dtype = torch.bfloat16 if state.config.bfloat16 else torch.float32
    save_sheet(folder / "sheets" / f"{state.num_images // 1000:06d}.png", state.average, dtype)
    state.save(folder / "state.safetensors")


def _report(
    state: TrainState, folder: Path, sums: dict[str, list[float]], seconds_per_image: float, schedule: Schedule
) -> str:
    """Append the means since the last report to log.jsonl and empty them; returns the line for the terminal."""
    means = {name: sum(values) / len(values) for name, values in sums.items()}
    sums.clear()
    means["noise_rms"] = _noise_rms(state)
    record: dict[str, Any] = {"num_images": state.num_images, "seconds": round(state.seconds, 1)}
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(record | {name: round(value, 5) for name, value in means.items()}) + "\n")
    left_s = max(1000 * schedule.kimg - state.num_images, 0) * seconds_per_image
    if schedule.minutes is not None:
        left_s = min(left_s, 60 * schedule.minutes)
    eta = f"{int(left_s) // 3600}:{int(left_s) // 60 % 60:02d} h"
    return (
        f"{state.num_images / 1000:8.1f} kimg  {1000 * seconds_per_image:5.1f} s/kimg  ETA {eta}  "
        f"D(real) {means['logit_real']:+.2f}  D(fake) {means['logit_fake']:+.2f}  sign {means['sign_real']:+.2f}  "
        f"R1 {means.get('r1', float('nan')):.3f}  G {means['loss_g']:.2f}  noise {means['noise_rms']:.3f}"
    )


@torch.no_grad()
def _noise_rms(state: TrainState) -> float:
    parameters = state.generator.synthesis.named_parameters()
    strengths = torch.cat([value for name, value in parameters if name.endswith("noise_strength")])
    return float(strengths.square().mean().sqrt())


class _StopSignal:
    """Remembers SIGTERM and Ctrl-C so that the loop can end with a snapshot."""

    def __init__(self) -> None:
        self.seen = False
        self._previous = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.seen = True

    def restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
