"""The StyleGAN2 of labml-nn in a plain training step: one style per image, eager."""

from __future__ import annotations

import copy
import types

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from tilegen.data.dataset import PackedDataset
from tilegen.model.ema import ema_beta, ema_update
from tilegen.model.pixels import as_image
from tilegen.training.config import TrainConfig
from tilegen.training.loss import GAMES, gradient_penalty

R1_INTERVAL = 16
"""Steps between penalties in a real run; a benchmark may take them more often and weigh them accordingly."""


class Baseline:
    """labml-nn's StyleGAN2 in a plain eager step that does what tilegen's does: D, G on the same fakes, the average.

    Args:
        config: of the run, both sides alike; reduced precision is torch's autocast.
        repaired: compute the same with two replacements, without which most of the time on a CPU goes into gradients
            of images blurred one channel at a time.
    """

    def __init__(self, config: TrainConfig, dataset: PackedDataset, rank: int, device: str, *, repaired: bool) -> None:
        from labml_nn.gan.stylegan import Discriminator, Generator, MappingNetwork

        wanted, self.crop_px = config.generator, config.discriminator.crop_px
        widths = {"n_features": wanted.channels[-1], "max_features": max(wanted.channels)}
        log_px = self.crop_px.bit_length() - 1
        torch.manual_seed(config.seed)
        self.config, self.dataset, self.device, self.num_images = config, dataset, device, 0
        self.mapping = MappingNetwork(wanted.w_dim, wanted.mapping_layers)
        self.synthesis = Generator(log_px, wanted.w_dim, **widths)
        self.generator = nn.ModuleList([self.mapping, self.synthesis]).to(device)
        self.discriminator = Discriminator(log_px, **widths).to(device)
        if repaired:
            repair(self.generator)
            repair(self.discriminator)
        # The blur kernels are parameters that do not learn: they must stay so.
        self.weights_d = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        lr, lazy = config.lr, R1_INTERVAL / (R1_INTERVAL + 1)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=lr, betas=(0.0, 0.99))
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=lr * lazy, betas=(0.0, 0.99**lazy))
        torch.manual_seed(rank)
        self.rng = np.random.default_rng([config.seed, rank])

    def images(self, batch: int) -> Tensor:
        """Fakes, each with one w for all its layers and fresh noise."""
        num_blocks, device = self.synthesis.n_blocks, self.device
        planes = [torch.randn(2, batch, 1, 4 << block, 4 << block, device=device) for block in range(num_blocks)]
        w = self.mapping(torch.randn(batch, self.config.generator.w_dim, device=device))
        return self.synthesis(w.expand(num_blocks, -1, -1), planes)

    def step(self) -> None:
        """One update of D, G and the average."""
        config, game = self.config, GAMES["logistic"]
        crops = self.dataset.crops(self.rng, crop_px=self.crop_px, batch=config.share, dihedral=True)
        real = as_image(crops.to(self.device))
        with self.precision():
            fake = self.images(config.share)
        self.discriminator_learns(True)
        self.adam_d.zero_grad(set_to_none=True)
        game.discriminator_loss(self.logits(real), self.logits(fake.detach())).backward()
        if self.num_images // config.batch % config.r1_interval == 0:
            real = real.requires_grad_(True)
            penalty = gradient_penalty(self.discriminator(real).squeeze(1), real, config.r1_gamma)
            (penalty * R1_INTERVAL).backward()
        self.update(self.adam_d, self.discriminator)

        self.discriminator_learns(False)
        self.adam_g.zero_grad(set_to_none=True)
        judged = self.logits(fake)
        game.generator_loss(judged, judged).backward()
        self.update(self.adam_g, self.generator)
        self.num_images += config.batch
        beta = ema_beta(config.batch, self.num_images, config.ema_halflife_kimg, config.ema_rampup)
        ema_update(self.average, self.generator, beta)

    def discriminator_learns(self, learns: bool) -> None:
        """Whether gradients of the weights of D are wanted."""
        for weight in self.weights_d:
            weight.requires_grad_(learns)

    def precision(self) -> torch.autocast:
        """Autocast, or nothing."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.config.bfloat16)

    def logits(self, crops: Tensor) -> Tensor:
        """What D says."""
        with self.precision():
            return self.discriminator(crops).squeeze(1).float()

    def update(self, adam: torch.optim.Adam, network: nn.Module) -> None:
        """Average the gradients over the processes in one message, if there are several, and step."""
        if self.config.num_processes > 1:
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            flat = parameters_to_vector(gradients)
            dist.all_reduce(flat)
            vector_to_parameters(flat / self.config.num_processes, gradients)
        adam.step()


def repair(network: nn.Module) -> None:
    """Let every blur and modulated convolution compute the same in a faster way."""
    from labml_nn.gan.stylegan import Conv2dWeightModulate, Smooth

    for module in network.modules():
        if isinstance(module, Smooth):
            module.forward = types.MethodType(blurred, module)
        elif isinstance(module, Conv2dWeightModulate):
            module.forward = types.MethodType(modulated, module)


def blurred(module: nn.Module, x: Tensor) -> Tensor:
    """One depthwise convolution instead of a batch of one-channel images."""
    kernel = module.kernel.expand(x.shape[1], 1, 3, 3)
    return F.conv2d(module.pad(x), kernel, groups=x.shape[1])


def modulated(module: nn.Module, x: Tensor, style: Tensor) -> Tensor:
    """Features scaled before and after one convolution for the whole batch, instead of weights for each image."""
    weight = module.weight()
    x = F.conv2d(x * style[:, :, None, None], weight, padding=module.padding)
    if module.demodulate:
        gain = torch.rsqrt(F.linear(style.square(), weight.square().sum(dim=(2, 3))) + module.eps)
        x = x * gain[:, :, None, None]
    return x
