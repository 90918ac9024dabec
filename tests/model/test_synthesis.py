"""Every layer reads exactly what the plan says, and carries noise, bias and bands where they belong."""

import pytest
import torch
from torch import Tensor

from tilegen.fields.noise import NoiseField
from tilegen.geometry.halo import HaloPlan, Layer
from tilegen.geometry.window import Window
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.model.generator import Generator
from tilegen.model.synthesis import synthesis_layers
from tilegen.testing.checkpoints import random_generator

WINDOW = Window.from_size(9, 10, row0=-3, col0=1)
LAYERS = synthesis_layers(3)


@pytest.fixture(scope="module")
def nano() -> Generator:
    return random_generator()


def bare(name: str) -> Layer:
    """A layer whose own sources do not matter."""
    return Layer(name=name)


def support(gradient: Tensor, window: Window) -> Window:
    """The smallest window of the places that matter, from a gradient [rows, cols]."""
    rows, cols = (gradient.abs().sum(dim).nonzero().flatten().tolist() for dim in (1, 0))
    return Window(
        row0=window.row0 + rows[0],
        row1=window.row0 + rows[-1] + 1,
        col0=window.col0 + cols[0],
        col1=window.col0 + cols[-1] + 1,
    )


def pixels_of(window: Window) -> list[Window]:
    """A few single pixels: a corner and all four phases in the middle."""
    middle = Window.from_size(2, 2, row0=window.row0 + window.height // 2, col0=window.col0 + window.width // 2)
    corners = [
        (window.row0, window.col0),
        *((r, c) for r in range(middle.row0, middle.row1) for c in (middle.col0, middle.col0 + 1)),
    ]
    return [Window.from_size(1, 1, row0=row, col0=col) for row, col in corners]


@pytest.mark.parametrize("index", range(7))
def test_a_layer_reads_exactly_its_footprint(nano: Generator, index: int) -> None:
    """Measured by gradients: features and styles, for pixels of every phase."""
    layer, plan = nano.synthesis.layers[index], nano.plan(WINDOW)
    own = [node for node in LAYERS if node.name in {f"mod{layer.name}", f"conv{layer.name}"}]
    (source, _), _ = own[0].reads
    reads, writes = plan[f"mod{layer.name}"], plan[f"conv{layer.name}"]
    torch.manual_seed(0)
    x = torch.randn(1, layer.weight.shape[1], *reads.shape, requires_grad=True)
    w = torch.randn(1, *plan["sites"].shape, 64, requires_grad=True)
    y = layer(x, w, NoiseField(seeds=(0,)), plan)
    assert y.shape[-2:] == writes.shape
    for pixel in pixels_of(writes):
        needs = HaloPlan.for_window(pixel, [bare("sites"), bare(source), *own])
        dx, dw = torch.autograd.grad(y[0, :, *pixel.within(writes)].sum(), (x, w), retain_graph=True)
        assert support(dx[0].sum(0), reads) == needs[source]
        assert support(dw[0].sum(-1), plan["sites"]) == needs["sites"]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_skip_reads_exactly_its_footprint(nano: Generator, level: int) -> None:
    to_image, plan = nano.synthesis.to_image[level - 1], nano.plan(WINDOW)
    own = next(node for node in LAYERS if node.name == f"rgb{level}")
    torch.manual_seed(0)
    leaves = {
        f"conv{level}": torch.randn(1, to_image.conv.weight.shape[1], *plan[f"conv{level}"].shape, requires_grad=True),
        "sites": torch.randn(1, *plan["sites"].shape, 64, requires_grad=True),
    }
    if level > 1:
        leaves[f"rgb{level - 1}"] = torch.randn(1, 3, *plan[f"rgb{level - 1}"].shape, requires_grad=True)
    image = to_image(leaves[f"conv{level}"], leaves["sites"], leaves.get(f"rgb{level - 1}"), plan)
    for pixel in pixels_of(plan[f"rgb{level}"]):
        needs = HaloPlan.for_window(pixel, [*map(bare, leaves), own])
        cut = image[0, :, *pixel.within(plan[f"rgb{level}"])].sum()
        for name, gradient in zip(
            leaves, torch.autograd.grad(cut, tuple(leaves.values()), retain_graph=True), strict=True
        ):
            dims = -1 if name == "sites" else 0
            assert support(gradient[0].sum(dims), plan[name]) == needs[name], name


@pytest.mark.parametrize("preset", GENERATOR_PRESETS)
def test_the_plan_names_every_layer_of_the_network(preset: str) -> None:
    with torch.device("meta"):
        generator = Generator(GENERATOR_PRESETS[preset])
    planned = {name for name, _ in generator.plan(WINDOW).windows}
    built = {f"conv{layer.name}" for layer in generator.synthesis.layers}
    built |= {f"rgb{layer.level}" for layer in generator.synthesis.to_image}
    assert built <= planned
    assert planned - built == {"sites", "content"} | {f"mod{layer.name}" for layer in generator.synthesis.layers}


def test_every_layer_has_noise_of_its_own(nano: Generator) -> None:
    assert [layer.index for layer in nano.synthesis.layers] == list(range(7))


@pytest.mark.parametrize("index", range(7))
def test_noise_enters_where_its_address_says(index: int) -> None:
    """The strength of one layer changes the image; without any noise two worlds of equal latents are equal."""
    generator = random_generator()
    plan = generator.plan(WINDOW)
    torch.manual_seed(0)
    w, content = torch.randn(1, *plan["sites"].shape, 64), torch.randn(1, 32, *plan["content"].shape)

    def image(seed: int) -> Tensor:
        return generator.synthesis(generator.for_all_layers(w), content, NoiseField(seeds=(seed,)), plan, torch.float32)

    for layer in generator.synthesis.layers:
        layer.noise_strength.zero_()
    assert torch.equal(image(0), image(1))
    generator.synthesis.layers[index].noise_strength.fill_(0.5)
    assert (image(0) - image(1)).abs().mean() > 0.01


def test_bfloat16_is_near_float32(nano: Generator) -> None:
    """About three significant digits, after seven layers."""
    window = Window.from_size(40, 40, row0=-4)
    exact, rough = nano((5,), window), nano((5,), window, dtype=torch.bfloat16)
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().max() < 0.1 * exact.std()
    assert (exact - rough).square().mean().sqrt() < 0.02 * exact.std()


def test_the_estimate_of_memory_covers_the_widest_layer(nano: Generator) -> None:
    tile = Window.from_size(512, 512)
    assert nano.activation_bytes(tile, torch.float32) >= 6 * 16 * 512 * 512 * 4
    assert 2 * nano.activation_bytes(tile, torch.bfloat16) == nano.activation_bytes(tile, torch.float32)
