"""Data-parallel processes on one machine: each takes a share of the batch, gradients are averaged (gloo)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

_TIMEOUT = timedelta(minutes=5)
"""A process that says nothing for so long is dead; a step takes seconds."""


def join(rank: int, num_processes: int, rendezvous: str) -> None:
    """Enter the group of `num_processes`; `rendezvous` is a file that all of them see. Nothing to do for one."""
    if num_processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=num_processes, timeout=_TIMEOUT
        )


def leave() -> None:
    """Leave the group, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def agreed(flag: bool) -> bool:
    """The first process's `flag`, known to all: they stop together or not at all."""
    if not dist.is_initialized():
        return flag
    message = torch.tensor([flag])
    dist.broadcast(message, src=0)
    return bool(message.item())
