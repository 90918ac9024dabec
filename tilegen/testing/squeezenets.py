"""SqueezeNet with random weights: shaped like the real one, and free."""

from __future__ import annotations

import numpy as np

from tilegen.squeezenet import squeezenet


def random_squeezenet() -> dict[str, np.ndarray]:
    """Its tensors by name, half precision as in weight files; so large that features are about 1."""
    rng = np.random.default_rng(0)
    shapes = {name: tuple(tensor.shape) for name, tensor in squeezenet().state_dict().items()}
    random = {name: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])) for name, shape in shapes.items()}
    random["0.weight"] *= 50
    return {f"features.{name}": array.astype(np.float16) for name, array in random.items()}
