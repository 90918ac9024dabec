"""Which code paints: torch alone, the reference; or compiled layers around torch's convolutions, on CPUs and GPUs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.errors import InputError
from tilegen.model.config import GeneratorConfig
from tilegen.model.fused import FusedSynthesis, can_fuse
from tilegen.model.generator import Generator, SynthesisInputs
from tilegen.model.graphed import GraphedSynthesis
from tilegen.native.gpu import HAS_TRITON

ENGINES = ("compiled", "eager")


@runtime_checkable
class Engine(Protocol):
    """Paints windows, one at a time. Engines differ by rounding only: by one code value at most in float32."""

    def __call__(self, inputs: SynthesisInputs) -> Float32[Tensor, "1 bands rows cols"]:
        """The image of one window, nominally in [-1, 1]."""
        ...


def chosen_engine(engine: str, device: str, config: GeneratorConfig, *, here: bool = True) -> str:
    """An engine that is there. What it is called decides bytes, so it is chosen by what there is, never by speed.

    "auto" is compiled on a CPU if it can be, as it is always faster. On a GPU it is eager: the compiled one has to be
    asked for, until it has been measured on one (docs/adr/0021).

    Args:
        here: False for a device of other machines; whether they have the engine, they find when they open the world.

    Raises:
        InputError: there is no such engine, or not here, not on this device or not for this architecture.
    """
    if engine not in {"auto", *ENGINES}:
        raise InputError(f"Unknown engine {engine!r}. Choose auto, {' or '.join(ENGINES)}.")
    on_cpu = device == "cpu"
    if engine == "eager" or (engine == "auto" and not on_cpu):
        return "eager"
    fits = can_fuse(config) if on_cpu else HAS_TRITON or not here
    if engine == "compiled" and not fits:
        needs = "channels in sixteens, and tilegen installed with a C++ compiler" if on_cpu else "the package triton"
        raise InputError(
            f"There is no compiled engine here for a {'CPU' if on_cpu else 'GPU'}: it needs {needs}. "
            "Use --engine eager, or install tilegen again."
        )
    return "compiled" if fits else "eager"


def open_engine(engine: str, generator: Generator, dtype: torch.dtype) -> Engine:
    """`engine`, which is there, with the weights of `generator`, on its device; convolutions run in `dtype`."""

    def eager(inputs: SynthesisInputs) -> Float32[Tensor, "1 bands rows cols"]:
        ws = generator.for_all_layers(inputs.w)
        return generator.synthesis(ws, inputs.content, inputs.noise, inputs.plan, dtype)

    if engine == "eager":
        return eager
    if generator.synthesis.const.is_cuda:
        return GraphedSynthesis(generator, dtype, reference=eager)
    return FusedSynthesis(generator.synthesis, dtype)
