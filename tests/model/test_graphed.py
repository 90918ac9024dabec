"""The GPU engine: its kernels by Triton's interpreter where there is no GPU, and what is recorded by a stand-in."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

HAS_GPU = torch.cuda.is_available()
if not HAS_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are defined

pytest.importorskip("triton", reason="Triton is not installed; it comes with CUDA builds of torch")

from tilegen.errors import InputError  # noqa: E402
from tilegen.fields.counter import Stream, normal_plane  # noqa: E402
from tilegen.fields.noise import NoiseField  # noqa: E402
from tilegen.geometry.window import MAX_COORDINATE, Window  # noqa: E402
from tilegen.model.checkpoint import load_generator, resolve_checkpoint  # noqa: E402
from tilegen.model.engine import open_engine  # noqa: E402
from tilegen.model.fused import FusedSynthesis, can_fuse  # noqa: E402
from tilegen.model.generator import Generator, SynthesisInputs  # noqa: E402
from tilegen.model.gpu_kernels import MovingNoise, paint_layer_on_gpu  # noqa: E402
from tilegen.model.graphed import GraphedSynthesis, recorded  # noqa: E402
from tilegen.model.kernels import paint_layer  # noqa: E402
from tilegen.testing.checkpoints import NANO, random_generator  # noqa: E402
from tilegen.testing.strategies import FAR_PX, nested_windows, seeds  # noqa: E402

DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
FLOAT32_TOLERANCE = 1e-5
"""Of the image's standard deviation, as of the other compiled engine."""

ODD = replace(NANO, channels=(24, 12, 20, 8), band_names=("coastal", "blue", "green", "red", "nir"))


def eager(generator: Generator, inputs: SynthesisInputs, dtype: torch.dtype = torch.float32) -> Tensor:
    with torch.no_grad():
        return open_engine("eager", generator, dtype)(inputs)


def assert_same_but_for_rounding(one: Tensor, other: Tensor) -> None:
    assert (one - other).abs().max().item() <= FLOAT32_TOLERANCE * max(other.std().item(), 0.1)


# Kernels


@pytest.mark.parametrize("config", [NANO, ODD], ids=["nano", "five bands, odd widths"])
def test_layers_of_the_gpu_are_those_of_torch_but_for_rounding(config):
    """A small window at an odd place: the interpreter takes a hundredth of a second for each row of each layer."""
    generator = random_generator(config).to(DEVICE)
    inputs = generator.inputs((7,), Window.from_size(6, 9, row0=-FAR_PX - 3, col0=5))
    with torch.no_grad():
        painted = FusedSynthesis(generator.synthesis, torch.float32, paint_layer_on_gpu)(inputs)
        rough = FusedSynthesis(generator.synthesis, torch.bfloat16, paint_layer_on_gpu)(inputs)
    exact, rough_torch = eager(generator, inputs), eager(generator, inputs, torch.bfloat16)
    assert_same_but_for_rounding(painted, exact)
    errors = [(image - exact).square().mean().sqrt() for image in (rough, rough_torch)]
    assert 0 < errors[0] <= 3 * errors[1]  # the interpreter cuts bits off where a GPU rounds: twice the error


@given(
    seed=seeds(),
    cells=st.tuples(*[st.sampled_from([0, 1, -3, FAR_PX // 8, -MAX_COORDINATE // 16])] * 2),
    window=nested_windows(max_side=50).map(lambda pair: pair[0]),
)
@settings(max_examples=10)
def test_noise_of_the_gpu_has_the_bits_of_the_field(seed, cells, window):
    levels = [0, 1, 1, 2, 2, 3, 3]
    noise = MovingNoise.of(seed, levels, DEVICE)
    noise.cells.copy_(torch.tensor(cells))
    window = Window.from_size(*window.shape, row0=window.row0 % 64 - 20, col0=window.col0 % 64 - 20)
    for layer in (0, 4, 6):
        moved = window.shifted(cells[0] << levels[layer], cells[1] << levels[layer])
        there = noise.read(layer, window, DEVICE).cpu()
        assert torch.equal(there, normal_plane((seed,), Stream.NOISE, layer, moved, torch.device("cpu")))


# Recording. Without a GPU the compiled layers of the CPU stand in for its own, and a stand-in for CUDA graphs.

needs_layers = pytest.mark.skipif(not HAS_GPU and not can_fuse(NANO), reason="tilegen was installed without a compiler")


class Recorder:
    """Stands in for CUDA graphs, which also run the same code on the same memory."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, paint: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.recorded += 1
        image = paint()

        def again() -> Tensor:
            return image.copy_(paint())

        return again


def graphed(generator: Generator, record: Callable[..., Callable[[], Tensor]]) -> GraphedSynthesis:
    layers = paint_layer_on_gpu if HAS_GPU else paint_layer
    return GraphedSynthesis(
        generator, torch.float32, reference=lambda inputs: eager(generator, inputs), paint_layer=layers, record=record
    )


def tiles(generator: Generator, seed: int = 3) -> list[SynthesisInputs]:
    """Windows that read alike, near, at negative and at far places; a cell of nano has 8 pixels."""
    places = [(0, 0), (-32, 16), (FAR_PX // 8 * 8, -FAR_PX // 8 * 8), (-32, 16)]
    return [generator.inputs((seed,), Window.from_size(8, 6, row0=row, col0=col)) for row, col in places]


def record_here() -> Callable[..., Callable[[], Tensor]]:
    return recorded if HAS_GPU else Recorder()


@needs_layers
def test_recorded_tiles_are_those_of_torch_wherever_they_lie():
    generator = random_generator().to(DEVICE)
    engine = graphed(generator, record_here())
    with torch.no_grad():
        painted = [engine(inputs) for inputs in tiles(generator)]
    for image, inputs in zip(painted, tiles(generator), strict=True):
        assert_same_but_for_rounding(image, eager(generator, inputs))
    assert torch.equal(painted[1], painted[3])  # the one before the recording began, the other by it


@needs_layers
@pytest.mark.skipif(HAS_GPU, reason="counts what the stand-in records")
def test_other_windows_and_worlds_are_not_painted_by_a_recording_that_does_not_fit():
    generator, recorder = random_generator(), Recorder()
    engine = graphed(generator, recorder)
    others = [
        generator.inputs((3,), Window.from_size(8, 6, row0=1)),
        generator.inputs((3,), Window.from_size(9, 6)),
        *tiles(generator, seed=4)[:2],
    ]
    with torch.no_grad():
        for inputs in [*tiles(generator)[:2], *others]:
            assert_same_but_for_rounding(engine(inputs), eager(generator, inputs))
    assert recorder.recorded == 2


@needs_layers
@pytest.mark.skipif(HAS_GPU, reason="the stand-in is at fault here")
def test_a_recording_that_paints_otherwise_is_refused():
    generator = random_generator()

    def forgetful(paint: Callable[[], Tensor]) -> Callable[[], Tensor]:
        image = paint().clone()
        return lambda: image + 0.001

    engine = graphed(generator, forgetful)
    with torch.no_grad():
        engine(tiles(generator)[0])
        with pytest.raises(InputError, match=r"Use --engine eager\.$"):
            engine(tiles(generator)[1])


@needs_layers
def test_a_gpu_that_paints_other_layers_is_refused():
    generator = random_generator().to(DEVICE)
    engine = GraphedSynthesis(
        generator,
        torch.float32,
        reference=lambda inputs: eager(generator, replace(inputs, noise=NoiseField(seeds=(9,)))),
        paint_layer=paint_layer_on_gpu if HAS_GPU else paint_layer,
        record=record_here(),
    )
    with torch.no_grad(), pytest.raises(InputError, match=r"code values apart\). Use --engine eager\.$"):
        engine(tiles(generator)[0])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bundled_model_is_recorded(dtype):
    generator = load_generator(resolve_checkpoint("default"))[0].to("cuda")
    engine = GraphedSynthesis(generator, dtype, reference=lambda inputs: eager(generator, inputs, dtype))
    windows = [Window.from_size(512, 512, row0=512 * n, col0=-512 * n) for n in (0, 3, -7, 0)]
    with torch.no_grad():
        images = [engine(generator.inputs((1,), window)) for window in windows]
        assert torch.equal(images[0], images[3])
        if dtype == torch.float32:
            for image, window in zip(images, windows, strict=True):
                assert (image - eager(generator, generator.inputs((1,), window))).abs().max() <= 2 / 127.5
