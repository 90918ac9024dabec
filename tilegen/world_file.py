"""The JSON file that says which world: model, seed and grid, neither pixels nor weights. Plain data, and checked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.errors import CheckpointError, InputError, OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window

_KIND, _VERSION = "tilegen world", 1
_LARGEST_BYTES = 1 << 20
_LARGEST_WHOLE = 1 << 53  # that a float is equal to, with all below


@dataclass(frozen=True, kw_only=True)
class WorldFile:
    """What the file says, beside what kind of file it is. Device and engine are for whoever opens it to choose.

    Args:
        model: "default", or the path of a checkpoint relative to the folder of the file.
        model_digest: of the checkpoint; another one is refused.
        rng_version: of the random numbers that a seed means.
        seed: see `open_world`, as for the next ones.
        scale_seeds: by scale.
        truncation_psi: 1 as trained.
        dtype: of the convolutions.
        crs: of the grid.
        res: edge of a pixel in units of the CRS.
        anchor: of the grid, see `GeoReference`.
        window: what to show of the world unless somebody asks for something else; None if nothing is said.
    """

    model: str
    model_digest: str
    rng_version: str
    seed: int
    scale_seeds: dict[str, int]
    truncation_psi: float
    dtype: str
    crs: str
    res: float
    anchor: tuple[float, float] = (0.0, 0.0)
    window: Window | None = None

    @classmethod
    def of(cls, path: Path, config: Mapping[str, Any], georef: GeoReference, window: Window | None) -> WorldFile:
        """What a file at `path` is to say of a world.

        Args:
            config: the fields of its `WorldConfig`.
        """
        from tilegen.fields.counter import RNG_VERSION
        from tilegen.model.checkpoint import resolve_checkpoint

        is_bundled = Path(config["model"]) == resolve_checkpoint("default").absolute()
        return cls(
            model="default" if is_bundled else os.path.relpath(config["model"], path.absolute().parent),
            model_digest=config["digest"],
            rng_version=RNG_VERSION,
            seed=config["seed"],
            scale_seeds=dict(config["scale_seeds"]),
            truncation_psi=config["truncation_psi"],
            dtype=config["dtype"],
            crs=georef.crs,
            res=georef.res,
            anchor=georef.anchor,
            window=window,
        )

    def write(self, path: Path, *, overwrite: bool) -> None:
        """Write the file in one step.

        Raises:
            InputError: the name does not end in .json. OutputError: something is there, or it cannot be written.
        """
        if not is_world_file_name(str(path)):
            raise InputError(f"{path}: the description of a world is a file whose name ends in .json.")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists. Give another name or overwrite=True.")
        if path.exists() and not is_world_file(path):
            raise OutputError(f"{path} does not describe a world. It will not be overwritten; give another name.")
        said = {"kind": _KIND, "version": _VERSION, **to_dict(self)}
        write_atomically(path, json.dumps(said, indent=2).encode() + b"\n")

    def options(self, path: Path, open_world: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """What to open the world with.

        Args:
            path: of the file.
            open_world: whose defaults mean that nothing was given.
            given: what was asked for beside the file, which says it already.

        Raises:
            InputError: something was; or this tilegen has other random numbers.
            CheckpointError: the model is not there, or is another one.
        """
        from tilegen.fields.counter import RNG_VERSION
        from tilegen.model.checkpoint import read_card, resolve_checkpoint

        defaults = signature(open_world).parameters
        if more := [name for name, value in given.items() if value != defaults[name].default]:
            raise InputError(
                f"{path} says which world it is. Leave out {' and '.join(more)}, or open its model instead."
            )
        if self.rng_version != RNG_VERSION:
            raise InputError(f"{path} wants random numbers {self.rng_version}, and this tilegen has {RNG_VERSION}.")
        model = self.model if self.model == "default" else os.path.normpath(path.absolute().parent / self.model)
        if self.model != "default" and not Path(model).is_file():
            raise CheckpointError(
                f"{path} needs the model {model} (digest {self.model_digest[:12]}), which is not there."
            )
        if (found := read_card(resolve_checkpoint(model)).digest) != self.model_digest:
            raise CheckpointError(
                f"{path} describes a world of the model {self.model_digest[:12]}, and {model} is {found[:12]}. "
                "Put the one that it was saved with in its place."
            )
        return {"model": model, **{name: getattr(self, name) for name in given}}


def is_world_file_name(path: str) -> bool:
    """Whether a file is meant as the description of a world."""
    return path.lower().endswith(".json")


def is_world_file(path: Path) -> bool:
    """Whether the file at `path` says that it describes a world. Never raises, and reads a small file only."""
    try:
        return is_world_file_name(path.name) and _values(path).get("kind") == _KIND
    except InputError:
        return False


def read_world_file(path: Path) -> WorldFile:
    """What the file at `path` says.

    Raises:
        InputError: it is not there or no such file, of another version, or says too much, too little or nonsense.
    """
    said = _values(path)
    if said.pop("kind", None) != _KIND:
        raise InputError(f"{path} does not describe a world of tilegen. Write such a file with World.save.")
    if (version := said.pop("version", None)) != _VERSION:
        raise InputError(f"{path} has version {version!r}; this tilegen reads {_VERSION}. Update tilegen.")
    for name in ("truncation_psi", "res"):
        if type(whole := said.get(name)) is int and abs(whole) < _LARGEST_WHOLE:
            said[name] = float(whole)
    try:
        world = from_dict(WorldFile, said)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not all(map(math.isfinite, (world.truncation_psi, world.res, *world.anchor))):
        raise InputError(f"{path}: truncation_psi, res and anchor must be finite numbers.")
    return world


def _values(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: there is none.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"{path} is too large to describe a world.")
        said = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        said = None
    if not isinstance(said, dict):
        raise InputError(f"{path} does not describe a world of tilegen. Write such a file with World.save.")
    return said
