"""What a training run is; stored beside what it made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilegen.errors import InputError
from tilegen.model.config import DiscriminatorConfig, GeneratorConfig

LOSSES = ("logistic", "relativistic")

DIHEDRAL = ("data", "ada", "none")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Which planes training draws, beyond the prior itself. Rendering knows nothing of it.

    Args:
        shared_scales: scales whose seed the windows of a group share, as the crops of a group share a chip.
        constant_share: probability that a group's latents do not vary over its windows, as in StyleGAN2: keeps the
            vector behaviour, on which `w_avg`, truncation and directions rest.
        width_octaves: kernel widths are multiplied by 2**u in each step, u even in [-this, this], so that users may
            choose other correlation lengths than those of the prior.
        layer_mixing: probability that an image takes the w of its upper layers from another plane (StyleGAN, 3.1).
        area_mixing: probability that it does so within a smooth random area only, as an edit inside a polygon will.
        fixed_input: every image starts from the same content at the same place, so that z alone tells images apart;
            with a prior of constant scales this is StyleGAN2's learned constant and vector latent.
    """

    shared_scales: tuple[str, ...] = ("world", "region")
    constant_share: float = 0.15
    width_octaves: float = 0.5
    layer_mixing: float = 0.5
    area_mixing: float = 0.3
    fixed_input: bool = False

    def __post_init__(self) -> None:
        shares = (self.constant_share, self.layer_mixing, self.area_mixing)
        if not all(0 <= share <= 1 for share in shares) or not 0 <= self.width_octaves <= 2:
            raise InputError(f"Probabilities go from 0 to 1 and --width-octaves from 0 to 2, got {self}.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the numbers of a run, so that the same config and data give the same run.

    Args:
        generator: architecture of G.
        discriminator: architecture of D; its `crop_px` is the size of all crops, its `group_size` how many
            consecutive ones come from one chip, or one world.
        dataset_digest: digest of the packed dataset.
        sampling: which planes are drawn.
        batch: crops per step over all processes.
        lr: learning rate of both networks (Adam, beta1 0, beta2 0.99).
        loss: "logistic" (non-saturating, with R1) or "relativistic" (with R1 and R2).
        r1_gamma: weight of the R1 penalty; 0.2 at 64 px and batch 16.
        r1_interval: steps between penalties (lazy regularisation, StyleGAN2 section 4.1).
        path_length_weight: of the path length penalty; 0 for none, 2 in StyleGAN2.
        path_length_interval: steps between those.
        lattice_weight: of the penalty on what repeats with the period of the cells; 0 for none.
        critic_weight: of the second discriminator, which sees crops through a frozen network; 0 for none.
        critic_digest: SHA-256 of the weights of that network.
        dihedral: where crops are turned and mirrored: in the "data", as an augmentation of real and fake crops
            alike ("ada"), or not at all ("none"). docs/adr/0008-augmentation-and-the-sun.md.
        ada_target: mean sign of D(real) that adaptive augmentation aims at; 0 for no augmentation.
        ada_kimg: thousand images in which its probability can go from 0 to 1.
        ema_halflife_kimg: half-life of the averaged generator, thousand images.
        ema_rampup: the half-life is at most this share of the images seen.
        bfloat16: run convolutions in bfloat16; penalties, D's head and RGB sums stay in float32.
        num_processes: data-parallel processes; each takes batch / num_processes crops.
        seed: start of all randomness.
    """

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    dataset_digest: str
    sampling: SamplingConfig = SamplingConfig()
    batch: int = 16
    lr: float = 0.002
    loss: str = "logistic"
    r1_gamma: float = 0.2
    r1_interval: int = 16
    path_length_weight: float = 0.0
    path_length_interval: int = 4
    lattice_weight: float = 30.0
    critic_weight: float = 0.0
    critic_digest: str = ""
    dihedral: str = "ada"
    ada_target: float = 0.6
    ada_kimg: float = 100.0
    ema_halflife_kimg: float = 20.0
    ema_rampup: float = 0.05
    bfloat16: bool = True
    num_processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_processes < 1 or self.batch < 1 or self.batch % self.num_processes:
            raise InputError(f"--batch {self.batch} must be a multiple of --processes {self.num_processes}.")
        if self.share % self.discriminator.group_size:
            raise InputError(
                f"Each of {self.num_processes} processes would have {self.share} crops, and they come in groups of "
                f"{self.discriminator.group_size}. Give fewer --processes, or a larger --batch."
            )
        weights = (self.r1_gamma, self.path_length_weight, self.lattice_weight, self.critic_weight)
        if not (0 < self.lr < math.inf and all(0 <= weight < math.inf for weight in weights)):
            raise InputError("--lr must be positive, the weights of penalties not negative, and all of them finite.")
        if self.critic_weight and not self.critic_digest:
            raise InputError("A critic looks through a trained network: give --features with its weights.")
        if min(self.r1_interval, self.path_length_interval) < 1:
            raise InputError("Penalties come every step or less often: intervals must be at least 1.")
        if not 0 <= self.ada_target < 1 or not 0 < self.ada_kimg < math.inf:
            raise InputError("--ada-target goes from 0 to 1, and --ada-kimg must be positive and finite.")
        if not (0 < self.ema_halflife_kimg < math.inf and 0 < self.ema_rampup < math.inf):
            raise InputError("--ema-halflife-kimg must be positive and finite, and so must the ramp-up.")
        if not 0 <= self.seed < 1 << 63:
            raise InputError(f"--seed goes from 0 to 2**63 - 1, got {self.seed}.")
        if self.loss not in LOSSES or self.dihedral not in DIHEDRAL:
            raise InputError(f"--loss is {' or '.join(LOSSES)}, --dihedral one of {', '.join(DIHEDRAL)}.")
        self._check_generator()

    def _check_generator(self) -> None:
        if self.lattice_weight and (self.batch < 2 or self.discriminator.crop_px < 2 * self.generator.cell_px):
            raise InputError(
                f"The lattice penalty needs a batch of two crops, two cells of {self.generator.cell_px} px wide. "
                "Give --lattice-weight 0 to train without."
            )
        self.generator.prior.check_scales(self.sampling.shared_scales)

    @property
    def share(self) -> int:
        """Crops per step of each process."""
        return self.batch // self.num_processes
