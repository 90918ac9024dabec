"""The GPU engine: compiled layers, and the launches of a whole tile recorded once as a CUDA graph.

A tile is a few hundred kernels, and takes a GPU less time than launching them one by one. All tiles of a lattice read
alike, so a recording of one paints any other when the latents, and the cell that the noise is counted from, are put in
its place. What is painted is compared once with torch alone: a GPU that paints otherwise is refused, not used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.errors import InputError
from tilegen.fields.noise import NoiseField
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.window import Window
from tilegen.model.fused import FusedSynthesis
from tilegen.model.generator import Generator, SynthesisInputs
from tilegen.model.gpu_kernels import MovingNoise, paint_layer_on_gpu
from tilegen.model.kernels import PaintLayer

Image = Float32[Tensor, "1 bands rows cols"]
Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]

_TOLERATED = {torch.float32: 2 / 127.5, torch.bfloat16: 24 / 127.5}
"""How far the image may be from torch's: code values, as an image in [-1, 1] has them."""


def recorded(paint: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`paint` as a CUDA graph. It reads and writes the same memory whenever it is called."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # what libraries do at first use must not be recorded
        paint()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads store shards meanwhile, and may ask the GPU whether their copies have come.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        image = paint()

    def again() -> Tensor:
        graph.replay()
        return image

    return again


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Windows that read alike: all that are this one moved by whole cells, in one world."""

    window: Window
    seed: int


class _Painting:
    """The memory that windows of one place are painted in."""

    def __init__(self, synthesis: FusedSynthesis, inputs: SynthesisInputs, plan: HaloPlan, noise: MovingNoise) -> None:
        self._noise = noise
        self._inputs = SynthesisInputs(
            w=torch.empty_like(inputs.w), content=torch.empty_like(inputs.content), noise=noise, plan=plan
        )
        self.paint: Callable[[], Tensor] = lambda: synthesis(self._inputs)
        self.is_recorded = False

    def __call__(self, inputs: SynthesisInputs, cells: tuple[int, int]) -> Tensor:
        self._inputs.w.copy_(inputs.w)
        self._inputs.content.copy_(inputs.content)
        for axis in (0, 1):  # as numbers, which need no memory of this machine that a copy could come too late for
            self._noise.cells[axis].fill_(cells[axis])
        return self.paint()


class GraphedSynthesis:
    """A generator's synthesis network on a GPU. Copies the weights: train the network, not this.

    The second window of a kind is recorded, and every one after it is that recording with other numbers.

    Args:
        generator: on the GPU.
        dtype: of convolutions and style maps, float32 or bfloat16. Sums between them are float32.
        reference: the engine to compare with, once.
        paint_layer: what surrounds convolutions.
        record: how launches are recorded.
    """

    def __init__(
        self,
        generator: Generator,
        dtype: torch.dtype,
        *,
        reference: Callable[[SynthesisInputs], Tensor],
        paint_layer: PaintLayer = paint_layer_on_gpu,
        record: Record = recorded,
    ) -> None:
        self._generator, self._dtype, self._reference, self._record = generator, dtype, reference, record
        self._synthesis = FusedSynthesis(generator.synthesis, dtype, paint_layer)
        self._lock = threading.Lock()
        self._place: _Place | None = None
        self._painting: _Painting | None = None
        self._is_checked = False

    def __call__(self, inputs: SynthesisInputs) -> Image:
        """The image of one window, nominally in [-1, 1].

        Raises:
            InputError: the GPU does not paint what torch alone paints there.
        """
        with self._lock, _on(inputs.w.device):
            return self._painted(inputs)

    def _painted(self, inputs: SynthesisInputs) -> Image:
        place, cells = self._place_of(inputs)
        if self._painting is None or place != self._place:
            self._place, self._painting = place, self._prepared(place, inputs)
            image = self._painting(inputs, cells)
            if not self._is_checked:
                self._require_close(image, self._reference(inputs), _TOLERATED[self._dtype])
                self._is_checked = True
            return image
        if not self._painting.is_recorded:
            image = self._painting(inputs, cells)
            self._painting.paint = self._record(self._painting.paint)
            self._painting.is_recorded = True
            self._require_close(self._painting(inputs, cells), image, 0.0)
        # Of its own, as the next window is painted over it.
        return self._painting(inputs, cells).clone()

    def _place_of(self, inputs: SynthesisInputs) -> tuple[_Place, tuple[int, int]]:
        config = self._generator.config
        window, cell_px = inputs.plan[f"rgb{config.top_level}"], config.cell_px
        cells = window.row0 // cell_px, window.col0 // cell_px
        assert isinstance(inputs.noise, NoiseField)
        (seed,) = inputs.noise.seeds
        return _Place(window=window.shifted(-cells[0] * cell_px, -cells[1] * cell_px), seed=seed), cells

    def _prepared(self, place: _Place, inputs: SynthesisInputs) -> _Painting:
        levels = [(number + 1) // 2 for number in range(len(self._generator.synthesis.layers))]
        noise = MovingNoise.of(place.seed, levels, inputs.w.device)
        return _Painting(self._synthesis, inputs, self._generator.plan(place.window), noise)

    @staticmethod
    def _require_close(image: Tensor, other: Tensor, tolerance: float) -> None:
        # Pixels are cut at 1 and 255, and so is what is compared.
        difference = (image.clamp(-1, 1) - other.clamp(-1, 1)).abs().max().item()
        if not difference <= tolerance and bool(other.isfinite().all()):
            apart = f"{difference * 127.5:.2g} code values apart"
            raise InputError(
                f"On this GPU the compiled engine does not paint what torch does ({apart}). Use --engine eager."
            )


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Triton and CUDA graphs go to the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
