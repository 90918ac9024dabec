"""The folder of a run: config in run.json, state in state.safetensors; begun, resumed or continued elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.errors import InputError, TrainingError
from tilegen.training.config import TrainConfig
from tilegen.training.shards import load_shards, save_shards
from tilegen.training.state import TrainState

CONFIG, STATE, SHARDS = "run.json", "state.safetensors", "shards"
"""Names in the folder."""


def open_run(folder: Path, config: TrainConfig, device: torch.device) -> TrainState:
    """A new run in `folder`, or the one that lies there, if it has the same config.

    Raises:
        TrainingError: the folder holds a run of another config, or a state that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = _described(config)
    if (folder / CONFIG).exists() and (folder / CONFIG).read_text() != described:
        raise TrainingError(f"{folder} holds a run with other settings or data. Give another --out to start a new one.")
    if (folder / STATE).exists():
        if not (folder / CONFIG).exists():
            raise TrainingError(f"{folder} holds a training state without its {CONFIG}. Give another --out.")
        return TrainState.load(folder / STATE, device=device)
    write_atomically(folder / CONFIG, described.encode())
    return TrainState.new(config, device)


def load_config(folder: Path) -> TrainConfig:
    """The config of the run in `folder`, which may be one of shards.

    Raises:
        TrainingError: there is none.
    """
    try:
        described = (folder / CONFIG).read_text() if (folder / CONFIG).exists() else None
        values = load_shards(folder)[0]["config"] if described is None else json.loads(described)
        return from_dict(TrainConfig, values)
    except (OSError, ValueError, KeyError, InputError, TrainingError) as error:
        raise TrainingError(f"{folder} holds no training run of this tilegen ({error}).") from None


def continue_run(old: Path, new: Path, config: TrainConfig) -> None:
    """Begin a run in `new` where the run in `old` stands, whole or as shards, under another config.

    Does nothing if there is a run in `new` already.

    Raises:
        TrainingError: `old` holds no whole state, or one of other networks than those of `config`.
    """
    if (new / STATE).exists():
        return
    before = load_config(old)
    state = TrainState.load(old / STATE, config) if (old / STATE).exists() else _from_shards(old, config)
    changed = {
        field.name: to_dict(before)[field.name]
        for field in dataclasses.fields(config)
        if getattr(before, field.name) != getattr(config, field.name)
    }
    state.history += ({"until_num_images": state.num_images} | changed,)
    new.mkdir(parents=True, exist_ok=True)
    write_atomically(new / CONFIG, _described(config).encode())
    state.save(new / STATE)


def export_shards(state: TrainState, folder: Path) -> None:
    """Leave the run as small files, to be continued on another machine; see `shards`."""
    save_shards(
        folder / SHARDS,
        generator=state.generator,
        discriminator=state.discriminator,
        average=state.average,
        metadata={"config": to_dict(state.config)} | state.counters(),
    )


def _from_shards(folder: Path, config: TrainConfig) -> TrainState:
    metadata, parts = load_shards(folder)
    state = TrainState.new(config)
    try:
        for name, tensors in parts.items():
            getattr(state, name).load_state_dict(tensors)
        state.set_counters(metadata)
    except (RuntimeError, KeyError) as error:
        raise TrainingError(f"The shards in {folder} are of other networks ({error}). Give their own preset.") from None
    return state


def _described(config: TrainConfig) -> str:
    return json.dumps(to_dict(config), indent=1)
