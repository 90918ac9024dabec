"""SqueezeNet 1.0: a small network trained on photographs, with which images are judged, and generators taught."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tilegen.errors import MetricError

_MAX_FILE_BYTES = 64 << 20


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and 3x3 kernels side by side (SqueezeNet, Iandola et al. 2016, 3.2)."""

    def __init__(self, channels_in: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c_in rows cols"]) -> Float[Tensor, "n c_out rows cols"]:
        """The 1x1 channels, then the 3x3 channels."""
        squeezed = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1))


def squeezenet() -> nn.Sequential:
    """SqueezeNet 1.0 up to fire9 (Iandola et al. 2016, table 1); layers are numbered as in the weight files."""
    return nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(96, 16, 64),
        Fire(128, 16, 64),
        Fire(128, 32, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 32, 128),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(512, 64, 256),
    )


def read_squeezenet(path: Path) -> tuple[str, nn.Sequential]:
    """SHA-256 of the weight file, and the network: frozen, on the CPU, for RGB in 0..1.

    Tensors are named as torchvision names them, in an .npz or .safetensors. No code in the file is run.

    Raises:
        MetricError: the file is missing, truncated, too large, or does not hold this network.
    """
    network = squeezenet()
    digest, arrays = _read_weights(path)
    expected = {f"features.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: array.shape for name, array in arrays.items() if array.dtype in (np.float16, np.float32)}
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise MetricError(f"{path} does not hold SqueezeNet 1.0: it has no {name!r} of shape {shape}.")
    weights = {name.removeprefix("features."): torch.from_numpy(arrays[name]).float() for name in expected}
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise MetricError(f"{path} holds weights that are not finite. Fetch it again.")
    network.load_state_dict(weights)
    return digest, network.eval().requires_grad_(False)


def _read_weights(path: Path) -> tuple[str, Mapping[str, np.ndarray]]:
    """SHA-256 of the file, and its arrays by name. Object arrays, which may hold code, are refused."""
    try:
        _check_size(path, path.stat().st_size)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix == ".safetensors":
            return digest, safetensors.numpy.load_file(path)
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            return digest, {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    except FileNotFoundError:
        raise MetricError(f"There is no weight file {path}. Give an .npz or .safetensors of SqueezeNet 1.0.") from None
    except MetricError:
        raise
    except Exception as error:  # a hostile header of an array fails in ways that numpy does not list
        raise MetricError(f"{path} is no whole .npz or .safetensors file of weights ({error}).") from error


def _check_size(path: Path, num_bytes: int) -> None:
    if num_bytes > _MAX_FILE_BYTES:
        raise MetricError(f"{path} is too large for the weights of SqueezeNet.")
