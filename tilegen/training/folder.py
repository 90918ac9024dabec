"""The folder of a run: config in run.json, state in state.safetensors; begun, resumed or continued elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.errors import TrainingError
from tilegen.model.checkpoint import RUN_CHECKPOINT, load_generator
from tilegen.training.config import TrainConfig
from tilegen.training.shards import load_shards, save_shards
from tilegen.training.state import TrainState

CONFIG, STATE, SHARDS = "run.json", "state.safetensors", "shards"
"""Names in the folder."""

_RESULTS = (STATE, RUN_CHECKPOINT, "log.jsonl")
"""What a new run would replace, or cut back."""


def open_run(folder: Path, config: TrainConfig, device: torch.device) -> TrainState:
    """A new run in `folder`, which exists, or the one that lies there, if it has the same config.

    Raises:
        TrainingError: the folder holds a run of another config, files of no run, or a state that cannot be read.
    """
    _describe(folder, config)
    if not (folder / STATE).exists():
        return TrainState.new(config, device)
    state = TrainState.load(folder / STATE, device=device)
    if state.config != config:
        raise TrainingError(f"{folder / STATE} is of another run than {CONFIG} beside it. Give another --out.")
    return state


def load_config(folder: Path) -> TrainConfig:
    """The config of the run in `folder`, which may be one of shards.

    Raises:
        TrainingError: there is none.
    """
    try:
        described = (folder / CONFIG).read_text() if (folder / CONFIG).exists() else None
        values = load_shards(folder)[0]["config"] if described is None else json.loads(described)
        return from_dict(TrainConfig, values)
    except (OSError, ValueError, TypeError, KeyError, RecursionError, TrainingError) as error:
        raise TrainingError(f"{folder} holds no training run of this tilegen ({error}).") from None


def continue_run(old: Path, new: Path, config: TrainConfig) -> None:
    """Begin a run in `new` where the run in `old` stands, whole or as shards, under another config.

    Does nothing if there is a run in `new` already.

    Raises:
        TrainingError: `old` holds no whole state, or one of other networks than those of `config`; `new` holds another
            run, or files of no run.
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
    _describe(new, config)
    state.save(new / STATE)


def begin_from_model(model: Path, new: Path, config: TrainConfig) -> None:
    """Begin a run in `new` with the generator of the checkpoint `model`, and discriminators that know nothing yet.

    Does nothing if there is a run in `new` already.

    Raises:
        CheckpointError: `model` cannot be used. TrainingError: its network is not that of `config`; `new` holds another
            run, or files of no run.
    """
    if (new / STATE).exists():
        return
    generator, card = load_generator(model)
    if generator.config != config.generator:
        raise TrainingError(f"{model} has another network than this run. Give its preset, bands and prior.")
    state = TrainState.new(config)
    for network in (state.generator, state.average):
        network.load_state_dict(generator.state_dict())
    state.history += ({"generator_of": card.digest, "after_num_images": card.num_images},)
    _describe(new, config)
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
    try:
        state = TrainState.new(config)
        state.generator.load_state_dict(parts["generator"])
        state.average.load_state_dict(parts["average"])
        state.discriminator.grow(parts["discriminator"])
        state.set_counters(metadata)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"The shards in {folder} do not fit their config ({reason}). Copy them again.") from None
    return state


def _describe(folder: Path, config: TrainConfig) -> None:
    """Write the config of a new run, or see that the run that lies there has the same.

    Raises:
        TrainingError: it has another one, or there is no run but something that a run would replace.
    """
    described = json.dumps(to_dict(config), indent=1).encode()
    if (folder / CONFIG).exists():
        if (folder / CONFIG).read_bytes() != described:
            raise TrainingError(
                f"{folder} holds a run with other settings or data. Give another --out to start a new one."
            )
        return
    if kept := [name for name in _RESULTS if (folder / name).exists()]:
        raise TrainingError(f"{folder} holds a {kept[0]} but no {CONFIG}. It will not be replaced; give another --out.")
    write_atomically(folder / CONFIG, described)
