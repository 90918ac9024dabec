"""Small shards: the networks of a run in a few small files, to go on from where large files cannot travel.

A set is one safetensors file cut into pieces, each wrapped in a safetensors file of its own that says which piece of
which set it is. So a tensor may be larger than a shard, and there are no more shards than needed.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from tilegen.atomic import new_file
from tilegen.config import from_dict, to_dict
from tilegen.errors import InputError, TrainingError

MAX_SHARDS = 8
"""Most files in a set."""

_PARTS = ("generator", "discriminator", "average")
_PATTERN = "shard-*-of-*.safetensors"
_METADATA_KEY, _PIECE_KEY = "tilegen_shards", "tilegen_shard"
_HEADER_BYTES = 1024
"""Room for the header of a shard; it takes about 300 bytes."""


@dataclass(frozen=True, kw_only=True)
class _Label:
    """Which piece of which set a shard holds."""

    digest: str  # SHA-256 of the whole file
    index: int  # from 0
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count <= MAX_SHARDS:
            raise InputError(f"piece {self.index} of {self.count}")


def save_shards(
    folder: Path,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    average: nn.Module,
    metadata: dict[str, Any],
    max_bytes: int = 15 << 20,
) -> list[Path]:
    """Write the networks as shard-00001-of-0000n.safetensors and so on; replaces the set that lies in `folder`.

    The average is rounded to float16, like a checkpoint. There are no moments of Adam: beta1 is 0, and the second
    moment is warm again after some hundred steps. Until all shards are on the disk, the earlier set stays as it is.

    Args:
        folder: made if need be.
        generator: G as it trains.
        discriminator: D as it trains.
        average: moving average of G.
        metadata: anything that JSON can hold.
        max_bytes: size of the largest shard.

    Returns:
        The files, in order.

    Raises:
        TrainingError: a value is not finite, or there would be more than 8 shards. OutputError: they cannot be written.
    """
    assert max_bytes > _HEADER_BYTES
    whole = save(_tensors(generator, discriminator, average), {_METADATA_KEY: json.dumps(metadata, allow_nan=False)})
    digest = hashlib.sha256(whole).hexdigest()
    pieces = torch.frombuffer(bytearray(whole), dtype=torch.uint8).split(max_bytes - _HEADER_BYTES)
    if len(pieces) > MAX_SHARDS:
        raise TrainingError(
            f"The networks take {len(pieces)} shards of at most {max_bytes} bytes, but a set has at most {MAX_SHARDS}. "
            "Train a smaller network or allow larger shards."
        )
    folder.mkdir(parents=True, exist_ok=True)
    paths = _paths(folder, len(pieces))
    with ExitStack() as files:
        for index, (path, piece) in enumerate(zip(paths, pieces, strict=True)):
            label = _Label(digest=digest, index=index, count=len(pieces))
            file = files.enter_context(new_file(path))
            file.write(save({"bytes": piece}, {_PIECE_KEY: json.dumps(to_dict(label))}))
            file.flush()  # so that a full disk shows here, while no shard has its name yet
    for stale in set(folder.glob(_PATTERN)) - set(paths):
        stale.unlink()
    return paths


def load_shards(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """What `save_shards` wrote: metadata, and float32 state dicts of "generator", "discriminator" and "average".

    Raises:
        TrainingError: a shard is missing, truncated or altered, of another set, or of another program.
    """
    found = sorted(folder.glob(_PATTERN))
    if not found:
        raise TrainingError(
            f"{folder} holds no shards of a run. Give the folder of {_paths(folder, 1)[0].name} or alike."
        )
    shards = [_read(path) for path in found]
    first = shards[0][0]
    expected = _paths(folder, first.count)
    if missing := sorted(set(expected) - set(found)):
        raise TrainingError(f"{missing[0]} is missing. Copy all {first.count} shards of the run into one folder.")
    for path, (label, _) in zip(found, shards, strict=True):
        if path not in expected or label != replace(first, index=expected.index(path)):
            raise TrainingError(f"{path} is of another set than {found[0].name}. Keep the shards of one set only.")
    whole = b"".join(piece for _, piece in shards)
    if hashlib.sha256(whole).hexdigest() != first.digest:
        raise TrainingError(f"The shards in {folder} are damaged (their digest differs). Copy them again.")
    try:
        return _parsed(whole)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise TrainingError(f"The shards in {folder} hold no networks of a run ({error}). Copy others.") from None


def _paths(folder: Path, count: int) -> list[Path]:
    return [folder / f"shard-{index:05d}-of-{count:05d}.safetensors" for index in range(1, count + 1)]


def _tensors(generator: nn.Module, discriminator: nn.Module, average: nn.Module) -> dict[str, Tensor]:
    """All tensors of the networks under "part.name", on the CPU.

    Raises:
        TrainingError: a value is not finite, or not in float16.
    """
    tensors = {}
    for part, network in zip(_PARTS, (generator, discriminator, average), strict=True):
        for name, tensor in network.state_dict().items():
            dtype = torch.float16 if part == "average" else torch.float32
            kept = tensor.to("cpu", dtype).clone(memory_format=torch.contiguous_format)
            if not bool(kept.isfinite().all()):
                raise TrainingError(
                    f"{part}.{name} is not finite or does not fit {kept.dtype}. Lower --lr or raise --r1-gamma; the "
                    "earlier shards are intact."
                )
            tensors[f"{part}.{name}"] = kept
    return tensors


def _read(path: Path) -> tuple[_Label, bytes]:
    """What one shard says of itself, and its piece of the set."""
    try:
        with safe_open(path, "pt") as file:
            label = from_dict(_Label, json.loads((file.metadata() or {})[_PIECE_KEY]))
            piece: bytes = file.get_tensor("bytes").numpy().tobytes()
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is not a whole shard of a tilegen run ({error}). Copy it again.") from None
    return label, piece


def _parsed(whole: bytes) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Metadata and parts of a set whose digest was checked."""
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for name, tensor in load(whole).items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor.float()
    return json.loads(header["__metadata__"][_METADATA_KEY]), parts
