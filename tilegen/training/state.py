"""TrainState: everything that must survive a restart, in one file."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tilegen.atomic import write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.errors import InputError, TrainingError
from tilegen.model.discriminator import Discriminator
from tilegen.model.generator import Generator
from tilegen.training.config import TrainConfig
from tilegen.training.critic import CriticHeads

_METADATA_KEY = "tilegen_train_state"

_CPU = torch.device("cpu")


@dataclass(kw_only=True)
class Counters:
    """What a state holds beside config, networks and optimisers.

    Args:
        num_images: real crops seen.
        seconds: of training, over all calls.
        augment_p: probability of each augmentation.
        sign_sum: of D(real), over the steps since that probability was last changed.
        path_length_mean: running mean of the path lengths.
        history: what was changed on the way, and after how many images.

    Raises:
        InputError: a number is out of range.
    """

    num_images: int = 0
    seconds: float = 0.0
    augment_p: float = 0.0
    sign_sum: float = 0.0
    path_length_mean: float = 0.0
    history: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        numbers = (self.seconds, self.augment_p, self.sign_sum, self.path_length_mean)
        if self.num_images < 0 or not all(map(math.isfinite, numbers)) or not 0 <= self.augment_p <= 1:
            raise InputError(f"{self.num_images} images and {numbers} are no counters of a run.")


@dataclass(kw_only=True)
class TrainState(Counters):
    """Networks, their average, optimisers and counters. All randomness is a function of config and `num_images`."""

    config: TrainConfig
    generator: Generator
    discriminator: Discriminator
    average: Generator  # moving average of the generator: the network that is shipped
    adam_g: torch.optim.Adam
    adam_d: torch.optim.Adam
    critic: CriticHeads | None = None  # what learns of it; None without
    adam_critic: torch.optim.Adam | None = None

    @classmethod
    def new(cls, config: TrainConfig, device: torch.device = _CPU) -> TrainState:
        """A fresh state; the weights are a function of `config.seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            generator, discriminator = Generator(config.generator), Discriminator(config.discriminator)
            critic = CriticHeads() if config.critic_weight else None
        # As the activations are, and so the gradients: DDP reduces them without a copy.
        generator = generator.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = discriminator.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if critic is not None:
            critic = critic.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(
            config=config,
            generator=generator,
            discriminator=discriminator,
            average=copy.deepcopy(generator).eval().requires_grad_(False),
            adam_g=_adam(generator, config.lr, config.path_length_interval if config.path_length_weight else None),
            adam_d=_adam(discriminator, config.lr, config.r1_interval),
            critic=critic,
            adam_critic=None if critic is None else _adam(critic, config.lr, None),
        )

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.synthesis.const.device

    def save(self, path: Path) -> None:
        """Write the whole state atomically.

        Raises:
            TrainingError: a value is not finite; the state that was there stays.
        """
        tensors = {f"{part}.{name}": t for part, values in self._parts().items() for name, t in values.items()}
        if broken := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
            raise TrainingError(
                f"{broken[0]} is not finite after {self.num_images} images. Lower --lr or raise --r1-gamma; "
                "the last snapshot is intact."
            )
        packed = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        metadata: dict[str, Any] = {"config": to_dict(self.config)} | self.counters()
        metadata["digest"] = _digest(metadata, packed)
        write_atomically(path, save(packed, metadata={_METADATA_KEY: json.dumps(metadata)}))

    @classmethod
    def load(cls, path: Path, config: TrainConfig | None = None, device: torch.device = _CPU) -> TrainState:
        """The state that `save` wrote; with `config`, the same networks going on under other settings.

        D may have grown for larger crops. Its optimiser is then new: the second moment is warm again after some
        hundred steps.

        Raises:
            TrainingError: the file is not a whole training state, was altered, or is of other networks.
        """
        try:
            metadata, tensors = _unaltered(path)
            before, counters = from_dict(TrainConfig, metadata["config"]), _counters(metadata)
        except (OSError, SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise TrainingError(
                f"{path} is not a whole training state ({error}). Start again in another --out."
            ) from None
        # Outside of any try: if the device has no room, that is no fault of the file.
        state = cls.new(config or before, device)
        try:
            state._restore(tensors, before)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, KeyError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise TrainingError(
                f"{path} holds other networks than those of the run ({reason}). Start again in another --out."
            ) from None
        state._count_from(counters)
        return state

    def counters(self) -> dict[str, Any]:
        """The counters as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(Counters)}

    def set_counters(self, values: dict[str, Any]) -> None:
        """Take what `counters` gave.

        Raises:
            KeyError: one is missing. InputError: one is of another type or out of range.
        """
        self._count_from(_counters(values))

    def _count_from(self, counters: Counters) -> None:
        for field in fields(Counters):
            setattr(self, field.name, getattr(counters, field.name))

    def _parts(self) -> dict[str, dict[str, Tensor]]:
        networks = {name: network.state_dict() for name, network in self._networks().items()}
        return networks | {name: _flat(adam.state_dict()["state"]) for name, adam in self._optimisers().items()}

    def _networks(self) -> dict[str, nn.Module]:
        networks = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}
        return networks if self.critic is None else networks | {"critic": self.critic}

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        optimisers = {"adam_g": self.adam_g, "adam_d": self.adam_d}
        return optimisers if self.adam_critic is None else optimisers | {"adam_critic": self.adam_critic}

    def _restore(self, tensors: dict[str, Tensor], before: TrainConfig) -> None:
        """Take what was learned under the config `before`, as far as this run goes on with it."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = tensor
        new = set() if _same_critic(self.config, before) else {"critic", "adam_critic"}
        if self.config.discriminator.crop_px != before.discriminator.crop_px:
            self.discriminator.grow(parts["discriminator"])
            new |= {"discriminator", "adam_d"}
        for name, network in self._networks().items():
            if name not in new:
                network.load_state_dict(parts[name])
        for name, optimiser in self._optimisers().items():
            if name not in new:
                groups = optimiser.state_dict()["param_groups"]
                optimiser.load_state_dict({"state": _nested(parts.get(name, {})), "param_groups": groups})


def _counters(values: dict[str, Any]) -> Counters:
    return from_dict(Counters, {field.name: values[field.name] for field in fields(Counters)})


def _same_critic(config: TrainConfig, before: TrainConfig) -> bool:
    """Whether a run under `before` has what the critic of `config` has learned: it may be the first that has a critic,
    or one that looks through another network."""
    return bool(before.critic_weight) and before.critic_digest == config.critic_digest


def _adam(network: nn.Module, lr: float, interval: int | None) -> torch.optim.Adam:
    """Adam with beta1 0 and beta2 0.99. With an extra term every `interval` steps, both rate and beta2 are those of
    that many steps in `interval` + 1, so that the effective ones stay the same (StyleGAN2, section 4.1)."""
    lazy = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(network.parameters(), lr=lr * lazy, betas=(0.0, 0.99**lazy))


def _unaltered(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file that `save` wrote; ValueError if a byte of them is another one."""
    with safe_open(path, "pt") as file:
        metadata = json.loads((file.metadata() or {})[_METADATA_KEY])
    tensors = load_file(path)
    if metadata.pop("digest") != _digest(metadata, tensors):
        raise ValueError("its digest differs, so it was altered")
    return metadata, tensors


def _digest(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the metadata, and of each tensor in order of the names."""
    sha = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def _flat(state: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{key}": tensor for index, values in state.items() for key, tensor in values.items()}


def _nested(flat: dict[str, Tensor]) -> dict[int, dict[str, Any]]:
    nested: dict[int, dict[str, Any]] = {}
    for name, tensor in flat.items():
        index, key = name.split(".")
        nested.setdefault(int(index), {})[key] = tensor
    return nested
