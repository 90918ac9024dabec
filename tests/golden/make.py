"""Freeze the bits of the fields: writes fields.json beside this file. Run it only together with a new RNG_VERSION.

python tests/golden/make.py
"""

import hashlib
import json
from pathlib import Path

import torch

from tilegen.fields.counter import RNG_VERSION
from tilegen.fields.latent import ContentField, LatentField
from tilegen.fields.noise import NoiseField
from tilegen.fields.prior import default_prior
from tilegen.geometry.window import Window

GOLDEN = Path(__file__).with_name("fields.json")
CPU = torch.device("cpu")

SEEDS = {"0": (0,), "7": (7,), "2**64-1": (2**64 - 1,), "three": (1, 2**63, 12345)}
WINDOWS = {
    "origin": Window.from_size(9, 13),
    "negative": Window.from_size(8, 17, row0=-31, col0=-5),
    "2**41": Window.from_size(7, 11, row0=2**41 + 3, col0=-(2**41) - 1),
    "2**59": Window.from_size(5, 6, row0=-(2**59), col0=2**59 + 7),
}


def digest(values: torch.Tensor) -> str:
    """SHA-256 of the little-endian float32 bytes."""
    return hashlib.sha256(values.contiguous().numpy().astype("<f4").tobytes()).hexdigest()


def digests() -> dict[str, str]:
    """Digests of all fields of a few worlds in a few windows."""
    found = {"rng_version": RNG_VERSION}
    for seeds_name, seeds in SEEDS.items():
        for window_name, window in WINDOWS.items():
            reads = {
                "latent": LatentField(prior=default_prior(32, 4), seeds=seeds).read(window, CPU),
                "content": ContentField(channels=11, seeds=seeds).read(window, CPU),
                "noise 0": NoiseField(seeds=seeds).read(0, window, CPU),
                "noise 9": NoiseField(seeds=seeds).read(9, window, CPU),
            }
            found |= {f"{name}, seed {seeds_name}, {window_name}": digest(read) for name, read in reads.items()}
    return found


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(digests(), indent=1) + "\n")
