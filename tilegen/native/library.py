"""Loads the compiled kernels that fit this processor, if the package was installed with them."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

_BEST_FIRST = {"AVX512": ("avx512", "avx2", "baseline"), "AVX2": ("avx2", "baseline")}


@functools.cache
def library(source: str) -> ctypes.CDLL | None:
    """The kernels of `source` ("fields" or "layers"), or None if they were not compiled at installation."""
    for name in _BEST_FIRST.get(torch.backends.cpu.get_cpu_capability(), ("baseline",)):
        for path in Path(__file__).parent.glob(f"_{source}_{name}.*.so"):
            return ctypes.CDLL(str(path))
    return None
