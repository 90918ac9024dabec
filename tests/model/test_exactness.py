"""The contract of the endless image: a tile is a crop of the whole (E1), and nothing reduces over space (E4).

`assert_a_tile_is_a_crop` holds the real generator to it, and must object to every planted fault below.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tilegen.fields.latent import ContentField, LatentField
from tilegen.fields.noise import NoiseField
from tilegen.geometry.footprint import CONV3, Footprint
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import load_generator, resolve_checkpoint
from tilegen.model.generator import Generator
from tilegen.testing.checkpoints import random_generator
from tilegen.testing.strategies import FAR_PX, nested_windows, seeds

CPU = torch.device("cpu")
TOLERANCE = 1e-5
"""Of the image's standard deviation; E1. Measured: at most 2.7e-6 over 500 pairs of windows of the nano preset with
random weights."""

TRAINED_TOLERANCE = 2e-5
"""The same of the bundled model, whose layers amplify rounding more. Measured: 1.2e-5 in a flat window, and over six
pairs of windows at most 3.6e-6 of values from -1 to 1, which is a two-thousandth of a code value."""

Render = Callable[[int, Window], Tensor]


def quantised(image: Tensor) -> Tensor:
    """Code values as the renderer of a world gives them."""
    return ((image + 1) * 127.5).round().clamp(1, 255)


def assert_a_tile_is_a_crop(
    render: Render, seed: int, inner: Window, outer: Window, std: float, tolerance: float = TOLERANCE
) -> None:
    """E1 for one pair of windows of one world."""
    tile, crop = render(seed, inner), render(seed, outer)[:, *inner.within(outer)]
    assert tile.shape == crop.shape
    assert (tile - crop).abs().max().item() <= tolerance * std
    assert (quantised(tile) - quantised(crop)).abs().max().item() <= 1


def window_at(row0: int, col0: int) -> tuple[Window, Window]:
    """A window of 31 x 29 pixels, and one of 75 x 70 around it."""
    return Window.from_size(31, 29, row0=row0, col0=col0), Window.from_size(75, 70, row0=row0 - 19, col0=col0 - 23)


PAIRS = [window_at(0, 0), window_at(-13, 5), window_at(FAR_PX + 3, -FAR_PX - 30)]


def rendered(
    generator: Generator,
    seed: int,
    window: Window,
    *,
    content: Callable[[ContentField, Window], Tensor] = lambda field, cells: field.read(cells, CPU),
    noise: type[NoiseField] = NoiseField,
) -> Tensor:
    """`Generator.forward` with places for faults: how the content is read, and which noise."""
    plan, prior = generator.plan(window), generator.config.prior
    z = LatentField(prior=prior, seeds=(seed,)).read(plan["sites"], CPU)
    cells = content(ContentField(channels=prior.content_channels, seeds=(seed,)), plan["content"])
    return generator.synthesis(
        generator.for_all_layers(generator.mapping(z)), cells, noise(seeds=(seed,)), plan, torch.float32
    )[0]


@pytest.fixture(scope="module")
def nano() -> Generator:
    return random_generator()


def std_of(render: Render, seed: int) -> float:
    """Of one world, over a window that holds all of its variety; worlds of random weights differ up to sevenfold."""
    return render(seed, Window.from_size(96, 96)).std().item()


# The real generator


@given(pair=nested_windows(max_side=72), seed=seeds(), weights=st.sampled_from([0, 1]))
@settings(max_examples=15)
def test_a_tile_is_a_crop_of_the_whole(pair: tuple[Window, Window], seed: int, weights: int) -> None:
    """E1 for windows of any size and phase, negative and far ones included."""
    generator = random_generator(seed=weights)
    inner, outer = pair

    def render(seed: int, window: Window) -> Tensor:
        return generator((seed,), window)[0]

    assert_a_tile_is_a_crop(render, seed, inner, outer, std_of(render, seed))


def test_the_pairs_that_show_the_faults_are_fine_without(nano: Generator) -> None:
    def render(seed: int, window: Window) -> Tensor:
        return rendered(nano, seed, window)

    for inner, outer in PAIRS:
        assert torch.equal(render(3, inner), nano((3,), inner)[0])
        assert_a_tile_is_a_crop(render, 3, inner, outer, std_of(render, 3))


@pytest.mark.parametrize("place", [(0, 0), (-77, 1001), (-FAR_PX - 5, FAR_PX)])
def test_a_tile_of_the_bundled_model_is_a_crop_of_the_whole(place: tuple[int, int]) -> None:
    """With trained weights, whose layers are less tame than random ones."""
    generator, _ = load_generator(resolve_checkpoint("default"))
    inner, outer = window_at(*place)

    def render(seed: int, window: Window) -> Tensor:
        return generator((seed,), window)[0]

    assert_a_tile_is_a_crop(render, 7, inner, outer, render(7, outer).std().item(), TRAINED_TOLERANCE)


def test_a_batch_is_its_worlds_one_by_one(nano: Generator) -> None:
    window = Window.from_size(20, 33, row0=-8, col0=5)
    together = nano((4, 9), window)
    for number, seed in enumerate((4, 9)):
        torch.testing.assert_close(together[number], nano((seed,), window)[0], rtol=0, atol=TOLERANCE)


def test_worlds_differ(nano: Generator) -> None:
    one, other = nano((0, 1), Window.from_size(64, 64))
    assert (one - other).abs().mean() > 0.1


# Planted faults: each must be found on the same pairs


def is_exact(render: Render) -> bool:
    """Whether the check passes on all pairs."""
    std = std_of(render, 3)
    try:
        for inner, outer in PAIRS:
            assert_a_tile_is_a_crop(render, 3, inner, outer, std)
    except AssertionError:
        return False
    return True


def test_a_halo_one_cell_short_is_found(nano: Generator) -> None:
    """The missing ring of cells is made up from its neighbours."""

    def short(field: ContentField, cells: Window) -> Tensor:
        return F.pad(field.read(CONV3.made(cells), CPU), (1, 1, 1, 1), mode="replicate")

    assert not is_exact(lambda seed, window: rendered(nano, seed, window, content=short))


class TileNoise(NoiseField):
    """Noise addressed from the corner of what is read."""

    def read(self, layer: int, window: Window, device: torch.device) -> Tensor:
        return super().read(layer, Window.from_size(*window.shape), device)


class RoundedNoise(NoiseField):
    """Noise addressed by coordinates that went through float32."""

    def read(self, layer: int, window: Window, device: torch.device) -> Tensor:
        row0, col0 = (int(start) for start in torch.tensor([window.row0, window.col0], dtype=torch.float32))
        return super().read(layer, Window.from_size(*window.shape, row0=row0, col0=col0), device)


@pytest.mark.parametrize("noise", [TileNoise, RoundedNoise])
def test_noise_that_is_no_absolute_address_is_found(nano: Generator, noise: type[NoiseField]) -> None:
    """Keyed on the tile, or on coordinates that are exact near the origin alone."""
    assert not is_exact(lambda seed, window: rendered(nano, seed, window, noise=noise))


def zero_outside(layer: nn.Module, inputs: Sequence) -> tuple:
    """What zero padding does: a convolution sees nothing beyond the image."""
    x, w, noise, plan = inputs
    image, reads = plan.windows[-1][1], plan[f"mod{layer.name}"]
    source_level = layer.level - layer.up
    seen = Footprint(up=1 << (3 - source_level)).needs(image).intersection(reads)
    masked = torch.zeros_like(x)
    masked[..., *seen.within(reads)] = x[..., *seen.within(reads)]
    return masked, w, noise, plan


@pytest.mark.parametrize("index", range(7))
def test_zero_padding_in_any_layer_is_found(index: int) -> None:
    generator = random_generator()
    generator.synthesis.layers[index].register_forward_pre_hook(zero_outside)
    assert not is_exact(lambda seed, window: generator((seed,), window)[0])


def centred(layer: nn.Module, inputs: Sequence, output: Tensor) -> Tensor:
    """Half of an instance normalisation."""
    return output - output.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize("index", range(7))
def test_statistics_over_space_in_any_layer_are_found(index: int) -> None:
    generator = random_generator()
    generator.synthesis.layers[index].register_forward_hook(centred)
    assert not is_exact(lambda seed, window: generator((seed,), window)[0])


# Nothing reduces over space


def test_what_lies_beyond_the_halo_changes_no_bit(nano: Generator) -> None:
    """E4, by perturbation: other content and styles beyond what a window reads."""
    inner, outer = window_at(5, -40)
    needs, plan = nano.plan(inner), nano.plan(outer)
    torch.manual_seed(0)
    content = torch.randn(1, 32, *plan["content"].shape)
    w = torch.randn(1, *plan["sites"].shape, 64)
    other_content, other_w = 5 * torch.randn_like(content), 5 * torch.randn_like(w)
    kept_cells, kept_sites = needs["content"].within(plan["content"]), needs["sites"].within(plan["sites"])
    other_content[..., *kept_cells] = content[..., *kept_cells]
    other_w[:, *kept_sites] = w[:, *kept_sites]
    image, other = (
        nano.synthesis(nano.for_all_layers(styles), cells, NoiseField(seeds=(1,)), plan, torch.float32)[0]
        for styles, cells in ((w, content), (other_w, other_content))
    )
    crop = inner.within(outer)
    assert torch.equal(image[:, *crop], other[:, *crop])
    assert (image - other).abs().mean() > 0.1


@pytest.mark.parametrize(("row", "col"), [(0, 0), (3, 3), (-1, -5), (2, -9)])
def test_a_pixel_depends_on_exactly_what_its_plan_says(nano: Generator, row: int, col: int) -> None:
    """By gradients: not a cell more (a leak), not one less (waste)."""
    pixel, outer = Window.from_size(1, 1, row0=row, col0=col), Window.from_size(16, 16, row0=-4, col0=-12)
    plan = nano.plan(outer)
    torch.manual_seed(0)
    content = torch.randn(1, 32, *plan["content"].shape, requires_grad=True)
    w = torch.randn(1, *plan["sites"].shape, 64, requires_grad=True)
    image = nano.synthesis(nano.for_all_layers(w), content, NoiseField(seeds=(1,)), plan, torch.float32)
    image[0, :, *pixel.within(outer)].sum().backward()
    needs = nano.plan(pixel)
    assert support(content.grad[0].abs().sum(0), plan["content"]) == needs["content"]
    assert support(w.grad[0].abs().sum(-1), plan["sites"]) == needs["sites"]


def support(gradient: Tensor, window: Window) -> Window:
    """The smallest window of the places that matter."""
    rows, cols = gradient.sum(1).nonzero().flatten().tolist(), gradient.sum(0).nonzero().flatten().tolist()
    return Window(
        row0=window.row0 + rows[0],
        row1=window.row0 + rows[-1] + 1,
        col0=window.col0 + cols[0],
        col1=window.col0 + cols[-1] + 1,
    )
