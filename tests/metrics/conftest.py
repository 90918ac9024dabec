"""Weights and features that tests of judges share."""

from pathlib import Path

import numpy as np
import pytest

from tilegen.testing.squeezenets import random_squeezenet


@pytest.fixture(scope="session")
def random_weights() -> dict[str, np.ndarray]:
    """SqueezeNet's tensors by name."""
    return random_squeezenet()


@pytest.fixture
def weight_file(tmp_path: Path, random_weights: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "squeezenet.npz"
    np.savez(path, **random_weights)
    return path
