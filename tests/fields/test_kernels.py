"""The compiled fields give the bits of their twins in torch, whatever the instruction set."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilegen.fields import kernels
from tilegen.fields.counter import Stream, normal_grid, normal_plane, plain_normal_grid, plain_normal_plane
from tilegen.fields.latent import compiled_correlated, plain_correlated, scale_kernel
from tilegen.geometry.window import Window
from tilegen.testing.digests import fields_digest
from tilegen.testing.strategies import nested_windows, seeds

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(not kernels.available(CPU), reason="tilegen was installed without a C++ compiler")


@given(pair=nested_windows(max_side=60), some=st.lists(seeds(), min_size=1, max_size=3), layer=st.integers(0, 20))
@settings(max_examples=60)
def test_noise_has_the_bits_of_its_twin(pair: tuple[Window, Window], some: list[int], layer: int) -> None:
    for window in pair:
        plain = plain_normal_plane(some, Stream.NOISE, layer, window, CPU)
        assert torch.equal(normal_plane(some, Stream.NOISE, layer, window, CPU), plain)


@given(pair=nested_windows(max_side=40), some=st.lists(seeds(), min_size=1, max_size=3), channels=st.integers(1, 40))
@settings(max_examples=60)
def test_white_vectors_have_the_bits_of_their_twin(pair: tuple[Window, Window], some: list[int], channels: int) -> None:
    for window in pair:
        plain = plain_normal_grid(some, Stream.CONTENT, 3, channels, window, CPU)
        assert torch.equal(normal_grid(some, Stream.CONTENT, 3, channels, window, CPU), plain)


@given(
    pair=nested_windows(max_side=40),
    some=st.lists(seeds(), min_size=1, max_size=2),
    sigma=st.floats(0.5, 60),
    channels=st.integers(1, 20),
)
@settings(max_examples=60)
def test_correlated_latents_have_the_bits_of_their_twin(
    pair: tuple[Window, Window], some: list[int], sigma: float, channels: int
) -> None:
    kernel = scale_kernel(sigma)
    for window in pair:
        plain = plain_correlated(some, 1, channels, kernel, window, CPU)
        assert torch.equal(compiled_correlated(some, 1, channels, kernel, window, CPU), plain)


PRINT_DIGEST = "from tilegen.testing.digests import fields_digest; print(fields_digest())"


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(capability: str) -> None:
    """torch takes the best set that there is, up to the one asked for: so do the kernels."""
    command = [sys.executable, "-c", PRINT_DIGEST]
    asked = os.environ | {"ATEN_CPU_CAPABILITY": capability}
    assert (
        subprocess.run(command, env=asked, capture_output=True, check=True).stdout.decode().strip() == fields_digest()
    )
