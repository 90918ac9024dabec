"""One training step: real crops against windows of endless planes, one update of each network and of the average."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.data.dataset import PackedDataset
from tilegen.errors import TrainingError
from tilegen.model.ema import ema_beta, ema_update
from tilegen.training.ada import next_probability
from tilegen.training.augment import Augmentations, augmented
from tilegen.training.batch import Batch, sample_batch
from tilegen.training.critic import Critic, Eyes
from tilegen.training.lattice import lattice_penalty
from tilegen.training.loss import GAMES, gradient_penalty, path_lengths
from tilegen.training.painter import Painter
from tilegen.training.parallel import distributed, mean_over_processes, sum_over_processes
from tilegen.training.state import TrainState

_ADA_INTERVAL = 4
"""Steps between two changes of the probability of augmentation (StyleGAN2-ADA)."""

_PATH_LENGTH_DECAY = 0.01
"""Share of the new in the mean path length (StyleGAN2, appendix B)."""

Scalars = dict[str, Tensor]


class Trainer:
    """Advances a state step by step, as one of the processes that share each batch.

    Args:
        state: what learns.
        dataset: what it learns from.
        rank: number of this process.
        eyes: the network that the critic sees through, if the config has a critic.
    """

    def __init__(self, state: TrainState, dataset: PackedDataset, rank: int = 0, eyes: Eyes | None = None) -> None:
        self.state = state
        self._dataset = dataset
        self._rank = rank
        self._game = GAMES[state.config.loss]
        self._painter = distributed(Painter(state.generator))
        self._discriminator = distributed(state.discriminator)
        self._critic = None
        if state.config.critic_weight:
            assert eyes is not None
            assert state.critic is not None
            assert state.adam_critic is not None
            self._critic = Critic(eyes, state.critic, state.adam_critic, self._game)
        self._dtype = torch.bfloat16 if state.config.bfloat16 else torch.float32

    def step(self) -> dict[str, float]:
        """Update D, then G on the same fakes, then the average. Returns scalars to log, means over all processes.

        Raises:
            TrainingError: a scalar is not finite. The state has changed, and must not be saved.
        """
        state, config = self.state, self.state.config
        batch = sample_batch(
            config,
            self._dataset,
            num_images=state.num_images,
            augment_p=state.augment_p,
            rank=self._rank,
            device=state.device,
        )
        fake, ws = self._painter(batch.planes, batch.others, batch.mixing, self._dtype)
        state.generator.mapping.follow(mean_over_processes(ws.detach()[0].mean(dim=(0, 1, 2))))
        tensors = self._update_discriminator(batch, fake.detach())
        tensors |= self._update_generator(batch, fake)
        # One message and one wait for the device per step, and all processes see the same numbers.
        means = mean_over_processes(torch.stack([value.detach().float() for value in tensors.values()])).tolist()
        scalars = dict(zip(tensors, means, strict=True))
        if not all(map(math.isfinite, means)):
            raise TrainingError(
                f"A loss is not finite after {state.num_images} images: {scalars}. Lower --lr or raise --r1-gamma; "
                "the last snapshot is intact."
            )
        state.num_images += config.batch
        self._update_average()
        self._update_augmentation(scalars["sign_real"])
        return scalars

    def _update_discriminator(self, batch: Batch, fake: Float32[Tensor, "n bands rows cols"]) -> Scalars:
        state, config = self.state, self.state.config
        state.discriminator.requires_grad_(True)
        state.adam_d.zero_grad(set_to_none=True)
        crops = torch.cat([augmented(batch.real, batch.on_real), augmented(fake, batch.on_fake)])
        real_logits, fake_logits = self._discriminator(crops, self._dtype).chunk(2)
        loss = self._game.discriminator_loss(real_logits, fake_logits)
        loss.backward()
        scalars = {
            "loss_d": loss,
            "logit_real": real_logits.mean(),
            "logit_fake": fake_logits.mean(),
            "sign_real": real_logits.sign().mean(),
        }
        if self._is_due(config.r1_interval):
            scalars["r1"] = self._penalise(batch.real, batch.on_real)
            if config.loss == "relativistic":
                scalars["r2"] = self._penalise(fake, batch.on_fake)
        state.adam_d.step()
        return scalars

    def _penalise(self, images: Float32[Tensor, "n bands rows cols"], how: Augmentations) -> Tensor:
        """Add the gradient of R1 or R2, in float32, once for all steps until the next time (lazy regularisation)."""
        config = self.state.config
        images = images.detach().requires_grad_(True)
        logits = self._discriminator(augmented(images, how))
        penalty = gradient_penalty(logits, images, config.r1_gamma)
        # 0 * logits: DDP waits for every parameter, also for a bias whose gradient the penalty does not touch.
        (penalty * config.r1_interval + 0 * logits.sum()).backward()
        return penalty

    def _update_generator(self, batch: Batch, fake: Float32[Tensor, "n bands rows cols"]) -> Scalars:
        state, config = self.state, self.state.config
        state.discriminator.requires_grad_(False)
        state.adam_g.zero_grad(set_to_none=True)
        crops = augmented(fake, batch.on_fake_again)
        fake_logits = state.discriminator(crops, self._dtype)
        loss = self._game.generator_loss(self._logits_to_beat(batch, fake_logits), fake_logits)
        scalars = {"loss_g": loss}
        if self._critic is not None:
            scalars |= self._critic.step(augmented(batch.real, batch.on_real), crops)
            loss = loss + config.critic_weight * scalars["critic_loss_g"]
        if config.lattice_weight:
            scalars["lattice"], surrogate = lattice_penalty(fake, config.generator.cell_px, sum_over_processes)
            loss = loss + config.lattice_weight * surrogate
        loss.backward()
        if config.path_length_weight and self._is_due(config.path_length_interval):
            scalars |= self._penalise_path_lengths(batch)
        state.adam_g.step()
        return scalars

    @torch.no_grad()
    def _logits_to_beat(self, batch: Batch, fake_logits: Float32[Tensor, "n"]) -> Float32[Tensor, "n"]:
        """D of the real crops, now that it has learned; of no use to the logistic game, which never looks at them."""
        if self.state.config.loss == "logistic":
            return torch.zeros_like(fake_logits)
        return self.state.discriminator(augmented(batch.real, batch.on_real), self._dtype)

    def _penalise_path_lengths(self, batch: Batch) -> Scalars:
        """Add the gradient of the path length penalty, in float32 (StyleGAN2, Eq. 4)."""
        state, config = self.state, self.state.config
        assert batch.path_noise is not None
        images, ws = self._painter(batch.planes, batch.others, batch.mixing, torch.float32)
        lengths = path_lengths(images, ws, batch.path_noise)
        mean = float(mean_over_processes(lengths.detach().mean()))
        state.path_length_mean += _PATH_LENGTH_DECAY * (mean - state.path_length_mean)
        penalty = (lengths - state.path_length_mean).square().mean()
        weight = config.path_length_weight * config.path_length_interval
        (penalty * weight + 0 * images.mean()).backward()  # 0 * images: see _penalise
        return {"path_length": lengths.mean(), "path_length_penalty": penalty}

    def _update_average(self) -> None:
        state, config = self.state, self.state.config
        beta = ema_beta(config.batch, state.num_images, config.ema_halflife_kimg, config.ema_rampup)
        ema_update(state.average, state.generator, beta)

    def _update_augmentation(self, sign_real: float) -> None:
        state, config = self.state, self.state.config
        if not config.ada_target:
            return
        state.sign_sum += sign_real
        if self._is_due(_ADA_INTERVAL):
            state.augment_p = next_probability(
                state.augment_p,
                state.sign_sum / _ADA_INTERVAL,
                target=config.ada_target,
                num_images=_ADA_INTERVAL * config.batch,
                ada_kimg=config.ada_kimg,
            )
            state.sign_sum = 0.0

    def _is_due(self, interval: int) -> bool:
        return self.state.num_images // self.state.config.batch % interval == 0
