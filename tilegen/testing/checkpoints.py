"""Networks with random weights, the same for the same seed: quick to make, and no layer is left at a trivial start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from tilegen.model.checkpoint import Card, save_generator
from tilegen.model.config import GENERATOR_PRESETS, GeneratorConfig
from tilegen.model.generator import Generator

NANO = GENERATOR_PRESETS["nano"]


def random_generator(config: GeneratorConfig = NANO, *, seed: int = 0) -> Generator:
    """A generator in evaluation mode whose biases and `w_avg` are random too, unlike at the start of training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(config)
        for name, parameter in generator.named_parameters():
            if name.endswith("bias"):
                parameter.data += 0.1 * torch.randn_like(parameter)
        generator.mapping.w_avg.normal_(std=0.3)
    return generator.eval().requires_grad_(False)


def save_random_checkpoint(
    path: Path, config: GeneratorConfig = NANO, *, seed: int = 0, about: Mapping[str, Any] = MappingProxyType({})
) -> Card:
    """Write `random_generator` as a checkpoint, with `about` in its card."""
    generator = random_generator(config, seed=seed)
    about = {"licence": "none: random weights", **about}
    return save_generator(path, generator, num_images=0, resolution_m=0.5, about=about)
