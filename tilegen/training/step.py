"""One training step: a batch of real crops, a batch of windows of endless planes, one update of each network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tilegen.data.dataset import PackedDataset
from tilegen.errors import TrainingError
from tilegen.geometry.window import Window
from tilegen.model.ema import ema_beta, ema_update
from tilegen.model.pixels import as_image
from tilegen.training.loss import discriminator_loss, generator_loss, r1_penalty
from tilegen.training.parallel import average_gradients
from tilegen.training.state import TrainState

_FARTHEST_PX = 1 << 30
"""Training windows lie within this distance of the origin."""


def sample_worlds(rng: np.random.Generator, batch: int, crop_px: int) -> tuple[tuple[int, ...], Window]:
    """Fresh worlds, and one window for all of them at a random place, so at a random phase within its cells.

    Training seeds have their highest bit set: no world that a user is likely to ask for was seen in training.
    """
    seeds = tuple(int(seed) | 1 << 63 for seed in rng.integers(0, 1 << 63, size=batch))
    row0, col0 = (int(start) for start in rng.integers(-_FARTHEST_PX, _FARTHEST_PX, size=2))
    return seeds, Window.from_size(crop_px, crop_px, row0=row0, col0=col0)


def train_step(state: TrainState, dataset: PackedDataset, rank: int) -> dict[str, float]:
    """Update D, then G on the same fakes, then the average. Returns scalars to log.

    Raises:
        TrainingError: a loss is not finite.
    """
    config = state.config
    share, dtype = config.batch // config.num_processes, torch.bfloat16 if config.bfloat16 else torch.float32
    rng = np.random.default_rng([config.seed, state.num_images, rank])
    real = as_image(dataset.crops(rng, crop_px=config.discriminator.crop_px, batch=share, dihedral=True))
    seeds, window = sample_worlds(rng, share, config.discriminator.crop_px)

    fake = state.generator(seeds, window, dtype=dtype)
    scalars = _update_discriminator(state, real, fake.detach(), dtype)
    scalars |= _update_generator(state, fake, dtype)
    # Gradients are averaged, so what breaks one process reaches process 0 with the next step: it speaks for all.
    if rank == 0 and not all(np.isfinite(value) for value in scalars.values()):
        raise TrainingError(
            f"A loss is not finite after {state.num_images} images: {scalars}. Lower --lr or raise --r1-gamma; "
            "the last snapshot is intact."
        )
    state.num_images += config.batch
    beta = ema_beta(config.batch, state.num_images, config.ema_halflife_kimg, config.ema_rampup)
    ema_update(state.average, state.generator, beta)
    return scalars


def _update_discriminator(state: TrainState, real: Tensor, fake: Tensor, dtype: torch.dtype) -> dict[str, float]:
    config, network = state.config, state.discriminator.requires_grad_(True)
    state.adam_d.zero_grad(set_to_none=True)
    real_logits, fake_logits = network(real, dtype), network(fake, dtype)
    loss = discriminator_loss(real_logits, fake_logits)
    loss.backward()
    scalars = {
        "loss_d": loss.item(),
        "logit_real": real_logits.mean().item(),
        "logit_fake": fake_logits.mean().item(),
        "sign_real": real_logits.sign().mean().item(),
    }
    if state.num_images // config.batch % config.r1_interval == 0:
        real = real.requires_grad_(True)
        penalty = r1_penalty(network(real), real, config.r1_gamma)
        (penalty * config.r1_interval).backward()
        scalars["r1"] = penalty.item()
    average_gradients(network.parameters())
    state.adam_d.step()
    return scalars


def _update_generator(state: TrainState, fake: Tensor, dtype: torch.dtype) -> dict[str, float]:
    state.adam_g.zero_grad(set_to_none=True)
    loss = generator_loss(state.discriminator.requires_grad_(False)(fake, dtype))
    loss.backward()
    average_gradients(state.generator.parameters())
    state.adam_g.step()
    return {"loss_g": loss.item()}
