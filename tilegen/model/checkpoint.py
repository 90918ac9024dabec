"""Checkpoints: one safetensors file with a JSON card. Loading runs no code and trusts no number in the file."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.errors import CheckpointError, InputError
from tilegen.fields.counter import RNG_VERSION
from tilegen.model.config import GeneratorConfig
from tilegen.model.generator import Generator

FORMAT_VERSION = 1
RUN_CHECKPOINT = "model.safetensors"
"""Name of the checkpoint in the folder of a training run."""

_METADATA_KEY = "tilegen_checkpoint"
_MAX_HEADER_BYTES = 4 << 20
_MAX_FILE_BYTES = 1 << 30
_DTYPES = ("F16", "BF16", "F32")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint says of itself.

    Args:
        architecture: the generator's configuration.
        digest: SHA-256 over the architecture and the names, shapes and bytes of all tensors.
        num_images: training crops seen by the discriminator.
        resolution_m: ground size of one pixel of the training imagery, metres.
        about: data, licence, attribution, training settings and time, free JSON.

    Raises:
        InputError: a number is out of range.
    """

    architecture: GeneratorConfig
    digest: str
    num_images: int
    resolution_m: float
    about: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    rng_version: str = RNG_VERSION

    def __post_init__(self) -> None:
        if not 0 < self.resolution_m < 1e7 or self.num_images < 0:
            raise InputError(
                f"resolution_m is a ground size in metres, not {self.resolution_m}; num_images is not negative."
            )


def model_digest(architecture: GeneratorConfig, tensors: dict[str, Tensor]) -> str:
    """SHA-256 over all that decides pixels: the architecture with its prior, and each tensor in order of the names."""
    sha = hashlib.sha256(json.dumps(to_dict(architecture), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def save_generator(
    path: Path,
    generator: Generator,
    *,
    num_images: int,
    resolution_m: float,
    about: dict[str, Any],
    dtype: torch.dtype = torch.float16,
) -> Card:
    """Write `generator` with its card; `dtype` float16 halves the file at no visible cost."""
    tensors = {
        name: tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)
        for name, tensor in generator.state_dict().items()
    }
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise CheckpointError(f"Weights do not fit {dtype} or are not finite; nothing was written to {path}.")
    card = Card(
        architecture=generator.config,
        digest=model_digest(generator.config, tensors),
        num_images=num_images,
        resolution_m=resolution_m,
        about=about,
    )
    write_atomically(path, save(tensors, metadata={_METADATA_KEY: json.dumps(to_dict(card))}))
    return card


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, after checking its declared length against the file's.

    Raises:
        CheckpointError: no such file, too large, or not a safetensors file.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if size_bytes > _MAX_FILE_BYTES or not 2 <= header_bytes <= min(_MAX_HEADER_BYTES, size_bytes - 8):
                raise CheckpointError(f"{path} is not a tilegen checkpoint (.safetensors), or it is truncated.")
            header = json.loads(file.read(header_bytes))
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is not a tilegen checkpoint (.safetensors), or it is truncated.") from None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise CheckpointError(f"{path} is not a tilegen checkpoint: its header is malformed.")
    return header


def read_card(path: Path) -> Card:
    """The card alone; nothing is allocated.

    Raises:
        CheckpointError: not a tilegen checkpoint, or one of a version that this tilegen cannot read.
    """
    return _parse_card(path, read_header(path))


def _parse_card(path: Path, header: dict[str, Any]) -> Card:
    text = header.get("__metadata__", {}).get(_METADATA_KEY)
    if not isinstance(text, str):
        raise CheckpointError(
            f"{path} has no card of a model. Give a checkpoint, such as {RUN_CHECKPOINT} of a training run."
        )
    try:
        values = json.loads(text)
        version = values.get("format_version")
        if (version, values.get("rng_version")) != (FORMAT_VERSION, RNG_VERSION):
            raise CheckpointError(
                f"{path} has format {version} and randomness {values.get('rng_version')}; this tilegen reads "
                f"{FORMAT_VERSION} and {RNG_VERSION}. Update tilegen."
            )
        return from_dict(Card, values)
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = f": {error}" if isinstance(error, InputError) else "."
        raise CheckpointError(f"The card of {path} is not valid{reason}") from None


def _check_shapes(path: Path, header: dict[str, Any], network: nn.Module) -> None:
    """Every tensor of the file against the architecture of its card, from the header alone."""
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if missing := sorted(expected.keys() ^ entries.keys()):
        raise CheckpointError(f"{path} does not match its card: tensor {missing[0]!r} is missing or unknown.")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("shape") != expected[name] or entry.get("dtype") not in _DTYPES:
            raise CheckpointError(f"{path} does not match its card: tensor {name!r} has another shape or dtype.")


def load_generator(path: Path) -> tuple[Generator, Card]:
    """A generator in evaluation mode, float32, on the CPU, and its card.

    Raises:
        CheckpointError: the file is missing, truncated, foreign or altered, or its tensors do not fit its card.
    """
    header = read_header(path)
    card = _parse_card(path, header)
    with torch.device("meta"):
        skeleton = Generator(card.architecture)
    _check_shapes(path, header, skeleton)
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from None
    if model_digest(card.architecture, tensors) != card.digest:
        raise CheckpointError(f"The weights in {path} are not those of its card (digest differs). Fetch it again.")
    skeleton.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return skeleton.eval().requires_grad_(False), card


def resolve_checkpoint(model: str) -> Path:
    """Path of a checkpoint: "default" is the one in the package, anything else a file or a training run's folder.

    Raises:
        InputError: no such file.
    """
    bundled = Path(__file__).parent.parent / "weights" / f"{model}.safetensors"
    if model.isidentifier() and bundled.is_file():
        return bundled
    path = Path(model)
    if path.is_dir():
        path = path / RUN_CHECKPOINT
    if not path.is_file():
        raise InputError(
            f"No model {model!r}: give 'default', a .safetensors checkpoint, or the folder of a training run."
        )
    return path


def checkpoint_here(model: str, digest: str) -> Path:
    """Path on this machine of a checkpoint that another one has at `model`: the same, or that of the default weights.

    Raises:
        CheckpointError: there is no file, and the default weights have another digest.
    """
    path = Path(model)
    if path.is_file():
        return path
    bundled = resolve_checkpoint("default")
    if read_card(bundled).digest != digest:
        raise CheckpointError(
            f"{platform.node()} has no {path} (digest {digest[:12]}...). Put the checkpoint there too, or on a disk "
            "that all workers share."
        )
    return bundled
