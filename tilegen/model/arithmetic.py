"""Where and how tensors are computed: the device, and one arithmetic for all rendering (docs/adr/0005)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tilegen.errors import InputError


class _Pin:
    """Process-wide settings, held while anybody renders: threads may overlap, the last one out restores them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._saved = (1, "highest")

    def enter(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._saved = (torch.get_num_threads(), torch.get_float32_matmul_precision())
            self._num_inside += 1
            # With more threads torch adds some sums in another order: a few bytes of a tile change by one.
            torch.set_num_threads(1)
            torch.set_float32_matmul_precision("highest")

    def leave(self) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                torch.set_num_threads(self._saved[0])
                torch.set_float32_matmul_precision(self._saved[1])


_PIN = _Pin()


@contextmanager
def fixed_arithmetic(device: torch.device) -> Iterator[None]:
    """No gradients, one CPU thread, full float32 products, no autocast, no TF32, no choice of algorithms by timing."""
    _PIN.enter()
    try:
        with (
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        _PIN.leave()


def chosen_device(device: str, *, here: bool = True) -> str:
    """A device that is there: "auto" is CUDA if there is any; "cpu", "cuda" and "cuda:N" are themselves.

    Args:
        here: False for a device of other machines, which this one need not have.

    Raises:
        InputError: the device does not exist.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind, index = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError:
        kind, index = "", 0
    if kind not in {"cpu", "cuda"}:
        raise InputError(f"Unknown device {device!r}. Choose auto, cpu, cuda or cuda:N.")
    if not here or kind == "cpu":
        return device
    if not torch.cuda.is_available():
        raise InputError(f"There is no CUDA device for --device {device}. Use --device cpu.")
    if index >= torch.cuda.device_count():
        raise InputError(f"There is no --device {device}: CUDA devices are 0 to {torch.cuda.device_count() - 1} here.")
    return device
