"""From the range of a network to pixels of 8 and of 16 bits, and what a card may say of them."""

import pytest
import torch

from tilegen.errors import CheckpointError
from tilegen.model.pixels import EIGHT_BITS, Radiometry, as_uint8, radiometry_of


def test_the_range_of_the_network_fills_the_range_of_the_pixels_and_leaves_nodata_free():
    image = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert as_uint8(image).tolist() == [1, 1, 128, 255, 255]
    assert Radiometry(dtype="uint16").pixels(image).int().tolist() == [1, 1, 32768, 65535, 65535]


def test_16_bits_are_those_of_8_with_more_behind():
    image = torch.linspace(-1, 1, 1001)
    fine, coarse = Radiometry(dtype="uint16").pixels(image).int() / 257, as_uint8(image).int()
    assert (fine - coarse).abs().max() <= 1


@pytest.mark.parametrize("function", [as_uint8])
def test_what_is_not_finite_is_refused(function):
    with pytest.raises(CheckpointError, match="not finite"):
        function(torch.tensor([0.0, float("nan")]))


def test_a_card_says_what_pixels_are():
    said = {"pixels": {"dtype": "uint16", "scales": [1e-4, 2], "offsets": [-0.1, 0]}}
    assert radiometry_of(said, 2) == Radiometry(dtype="uint16", scales=(1e-4, 2.0), offsets=(-0.1, 0.0))
    assert radiometry_of({"licence": "CC0"}, 3) == EIGHT_BITS


@pytest.mark.parametrize(
    "said",
    [
        {"dtype": "float32"},
        {"scales": [1.0]},
        {"scales": [1.0, 2.0]},
        {"scales": [1.0, float("nan")], "offsets": [0.0, 0.0]},
        {"scales": "wide"},
        "uint16",
    ],
)
def test_a_card_that_makes_no_sense_is_refused(said):
    with pytest.raises(CheckpointError, match=r"The card says .* of its pixels"):
        radiometry_of({"pixels": said}, 2)
