"""E3 on a GPU: the same bits as on the CPU, for every kind of field, near and far."""

import pytest
import torch
from torch import Tensor

from tilegen.fields.counter import Stream, normal_grid, normal_plane
from tilegen.fields.latent import ContentField, LatentField
from tilegen.fields.noise import NoiseField
from tilegen.fields.prior import default_prior
from tilegen.geometry.window import MAX_COORDINATE, Window
from tilegen.testing.strategies import FAR_PX

SEEDS = (0, (1 << 64) - 1)
PLACES = [(0, 0), (-77, 1001), (-FAR_PX - 5, FAR_PX), (-MAX_COORDINATE // 2, MAX_COORDINATE // 2)]
READERS = {
    "grid": lambda window, device: normal_grid(SEEDS, Stream.CONTENT, 3, 19, window, device),
    "plane": lambda window, device: normal_plane(SEEDS, Stream.NOISE, 3, window, device),
    "latent": LatentField(prior=default_prior(64, 8), seeds=SEEDS).read,
    "content": ContentField(channels=19, seeds=SEEDS).read,
    "noise": lambda window, device: NoiseField(seeds=SEEDS).read(5, window, device),
}


def bits(values: Tensor) -> Tensor:
    """The floats as integers, so that -0.0 is not 0.0."""
    return values.cpu().contiguous().view(torch.int32)


@pytest.mark.gpu
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reader", READERS)
def test_a_field_has_the_same_bits_on_a_gpu(reader: str, place: tuple[int, int]) -> None:
    window = Window.from_size(61, 83, row0=place[0], col0=place[1])
    here, there = (READERS[reader](window, torch.device(name)) for name in ("cpu", "cuda"))
    assert there.is_cuda
    assert torch.equal(bits(here), bits(there))


@pytest.mark.parametrize("reader", READERS)
def test_bits_of_one_device_are_compared_as_bits(reader: str) -> None:
    """What the test above does, where there is no GPU: equal to itself, and not to another seed's neighbour."""
    window, cpu = Window.from_size(61, 83), torch.device("cpu")
    values, again = READERS[reader](window, cpu), READERS[reader](window, cpu)
    assert torch.equal(bits(values), bits(again))
    assert not torch.equal(bits(values), bits(READERS[reader](window.shifted(0, 1), cpu)))
