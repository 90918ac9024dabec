"""What a training run is; stored beside what it made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilegen.errors import InputError
from tilegen.model.config import DiscriminatorConfig, GeneratorConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the numbers of a run, so that the same config and data give the same run.

    Args:
        generator: architecture of G.
        discriminator: architecture of D; its `crop_px` is the size of all crops.
        dataset_digest: digest of the packed dataset.
        batch: crops per step over all processes.
        lr: learning rate of both networks (Adam, beta1 0, beta2 0.99).
        r1_gamma: weight of the R1 penalty; 0.2 at 64 px and batch 16.
        r1_interval: steps between penalties (lazy regularisation, StyleGAN2 section 4.1).
        ema_halflife_kimg: half-life of the averaged generator, thousand images.
        ema_rampup: the half-life is at most this share of the images seen.
        bfloat16: run convolutions in bfloat16; the penalty, D's head and RGB sums stay in float32.
        num_processes: data-parallel processes; each takes batch / num_processes crops.
        seed: start of all randomness.
    """

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    dataset_digest: str
    batch: int = 16
    lr: float = 0.002
    r1_gamma: float = 0.2
    r1_interval: int = 16
    ema_halflife_kimg: float = 20.0
    ema_rampup: float = 0.05
    bfloat16: bool = True
    num_processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_processes < 1 or self.batch < 1 or self.batch % self.num_processes:
            raise InputError(f"--batch {self.batch} must be a multiple of --processes {self.num_processes}.")
        if not (0 < self.lr < math.inf and 0 <= self.r1_gamma < math.inf and self.r1_interval >= 1):
            raise InputError("--lr must be positive, --r1-gamma not negative, and both finite.")
