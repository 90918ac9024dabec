"""Digests of what the compiled kernels give, for tests that run them in processes with another instruction set."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from tilegen.fields.latent import LatentField
from tilegen.fields.noise import NoiseField
from tilegen.fields.prior import default_prior
from tilegen.geometry.window import Window


def fields_digest() -> str:
    """Of some latents and some noise."""
    window, cpu = Window.from_size(61, 47, row0=-9, col0=2**40), torch.device("cpu")
    latent = LatentField(prior=default_prior(64, 8), seeds=(7,)).read(window, cpu)
    return digest(latent, NoiseField(seeds=(7,)).read(2, window, cpu))


def digest(*tensors: Tensor) -> str:
    """SHA-256 of the values."""
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()
