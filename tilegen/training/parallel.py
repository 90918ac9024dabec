"""Data-parallel processes: each takes a share of the batch, torch's DDP averages the gradients."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_TIMEOUT = timedelta(minutes=10)
"""A process that says nothing for so long is dead; a step takes seconds, a snapshot with its scores minutes."""


def join(rank: int, num_processes: int, rendezvous: str, device: torch.device) -> None:
    """Enter the group of `num_processes`; `rendezvous` is a file that all of them see. Nothing to do for one."""
    if num_processes > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, init_method=f"file://{rendezvous}", rank=rank, world_size=num_processes, timeout=_TIMEOUT
        )


def leave() -> None:
    """Leave the group, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def distributed(module: nn.Module) -> nn.Module:
    """The module itself, or one that averages its gradients over the processes in each backward pass."""
    return DistributedDataParallel(module) if dist.is_initialized() else module


@torch.no_grad()
def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes; the tensor itself for one."""
    if not dist.is_initialized():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes."""
    return sum_over_processes(values) / (dist.get_world_size() if dist.is_initialized() else 1)


def agreed(flag: bool, device: torch.device) -> bool:
    """The first process's `flag`, known to all: they stop together or not at all."""
    if not dist.is_initialized():
        return flag
    message = torch.tensor([flag], device=device)
    dist.broadcast(message, src=0)
    return bool(message.item())
