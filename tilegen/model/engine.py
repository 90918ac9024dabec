"""Which code paints: torch alone, the reference; or compiled layers around torch's convolutions, for CPUs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32
from torch import Tensor

from tilegen.errors import InputError
from tilegen.model.config import GeneratorConfig
from tilegen.model.fused import FusedSynthesis, can_fuse
from tilegen.model.generator import Generator, SynthesisInputs

ENGINES = ("compiled", "eager")


@runtime_checkable
class Engine(Protocol):
    """Paints windows, one at a time. Engines differ by rounding only: by one code value at most in float32."""

    def __call__(self, inputs: SynthesisInputs) -> Float32[Tensor, "1 bands rows cols"]:
        """The image of one window, nominally in [-1, 1]."""
        ...


def chosen_engine(engine: str, device: str, config: GeneratorConfig) -> str:
    """An engine that is there: "auto" is compiled on a CPU if it can be, as it is always faster.

    Raises:
        InputError: there is no such engine, or not here, not on this device or not for this architecture.
    """
    if engine not in {"auto", *ENGINES}:
        raise InputError(f"Unknown engine {engine!r}. Choose auto, {' or '.join(ENGINES)}.")
    if engine == "eager":
        return engine
    fits = device == "cpu" and can_fuse(config)
    if engine == "compiled" and not fits:
        raise InputError(
            "There is no compiled engine here: it needs a CPU, channels in sixteens, and tilegen installed with a C++ "
            "compiler. Use --engine eager, or install tilegen again."
        )
    return "compiled" if fits else "eager"


def open_engine(engine: str, generator: Generator, dtype: torch.dtype) -> Engine:
    """`engine`, which is there, with the weights of `generator`; convolutions run in `dtype`."""
    if engine == "compiled":
        return FusedSynthesis(generator.synthesis, dtype)

    def eager(inputs: SynthesisInputs) -> Float32[Tensor, "1 bands rows cols"]:
        ws = generator.for_all_layers(inputs.w)
        return generator.synthesis(ws, inputs.content, inputs.noise, inputs.plan, dtype)

    return eager
