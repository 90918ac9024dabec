"""Weights and features that tests of judges share."""

from pathlib import Path

import numpy as np
import pytest

from tilegen.metrics.features import squeezenet


@pytest.fixture(scope="session")
def random_weights() -> dict[str, np.ndarray]:
    """SqueezeNet's tensors by name, half precision as in weight files; random, so large that features are about 1."""
    rng = np.random.default_rng(0)
    shapes = {name: tuple(tensor.shape) for name, tensor in squeezenet().state_dict().items()}
    random = {name: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])) for name, shape in shapes.items()}
    random["0.weight"] *= 50
    return {f"features.{name}": array.astype(np.float16) for name, array in random.items()}


@pytest.fixture
def weight_file(tmp_path: Path, random_weights: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "squeezenet.npz"
    np.savez(path, **random_weights)
    return path
