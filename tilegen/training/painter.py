"""Painter: the generator as training uses it, on planes and with mixing; one module, so that it can be distributed."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from tilegen.model.generator import Generator
from tilegen.training.mixing import Mixing
from tilegen.training.planes import Planes


class Painter(nn.Module):
    """Images of planes by `generator`.

    Args:
        generator: the network.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self, planes: Planes, others: Planes, mixing: Mixing, dtype: torch.dtype
    ) -> tuple[Float32[Tensor, "batch bands rows cols"], Float32[Tensor, "num_ws batch site_rows site_cols w_dim"]]:
        """The images of `planes`, mixed with the w of `others`, and the w of every layer that they were made from."""
        generator, window = self.generator, planes.window
        plan, device = generator.plan(window), generator.synthesis.const.device
        w, other = (generator.mapping(some.read_latents(plan["sites"], device)) for some in (planes, others))
        ws = mixing.mixed(w, other, plan["sites"], generator.config.num_ws)
        content = planes.read_content(plan["content"], device)
        return generator.synthesis(ws, content, planes.noise, plan, dtype), ws


@torch.no_grad()
def painted(generator: Generator, planes: Planes, dtype: torch.dtype) -> Float32[Tensor, "batch bands rows cols"]:
    """The images of `planes`, without mixing."""
    plan, device = generator.plan(planes.window), generator.synthesis.const.device
    ws = generator.for_all_layers(generator.mapping(planes.read_latents(plan["sites"], device)))
    content = planes.read_content(plan["content"], device)
    return generator.synthesis(ws, content, planes.noise, plan, dtype)
