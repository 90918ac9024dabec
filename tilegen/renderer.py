"""What decides the pixels of a world, and what paints its tiles: all that a worker needs of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt

from tilegen.errors import CheckpointError, InputError
from tilegen.fields import kernels
from tilegen.fields.counter import check_seed
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.model.arithmetic import fixed_arithmetic
from tilegen.model.checkpoint import checkpoint_here, load_generator
from tilegen.model.copies import Arriving
from tilegen.model.engine import ENGINES, chosen_engine, open_engine
from tilegen.model.generator import Generator
from tilegen.model.pixels import EIGHT_BITS, Radiometry, radiometry_of

TILE_PX = 512
"""Edge of a tile. One shape for all products, so that the same pixel is always computed in the same way."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """What decides the pixels of a world, in plain data. Picklable and hashable: workers open it themselves.

    Args:
        model: path of the checkpoint.
        digest: digest of the checkpoint; a worker that finds another one refuses.
        seed: which world, 0 .. 2**64 - 1.
        scale_seeds: (scale, seed) of scales of the latent that are another world's, in alphabetical order.
        truncation_psi: 1 as trained; smaller is more typical and less varied.
        device: "cpu", "cuda" or "cuda:N".
        dtype: of the convolutions, "float32" or "bfloat16".
        engine: "compiled" or "eager" (torch alone). They differ by rounding: one code value in float32.

    Raises:
        InputError: a value is out of range.
    """

    model: str
    digest: str
    seed: int = 0
    scale_seeds: tuple[tuple[str, int], ...] = ()
    truncation_psi: float = 1.0
    device: str = "cpu"
    dtype: str = "float32"
    engine: str = "eager"

    def __post_init__(self) -> None:
        for seed in (self.seed, *(seed for _, seed in self.scale_seeds)):
            check_seed(seed)
        if not 0 <= self.truncation_psi <= 2:
            raise InputError(f"truncation_psi goes from 0 to 2, got {self.truncation_psi}.")
        if self.dtype not in _DTYPES:
            raise InputError(f"Unknown dtype {self.dtype!r}. Choose float32 or bfloat16.")
        if self.engine not in ENGINES:
            raise InputError(f"Unknown engine {self.engine!r}. Choose {' or '.join(ENGINES)}.")

    @property
    def off_cpu(self) -> bool:
        """Whether a GPU paints. Implements `OffCpu`."""
        return torch.device(self.device).type != "cpu"

    def open(self) -> TileGenerator:
        """The renderer of this world. Implements `RendererSource`.

        Raises:
            CheckpointError: the file at `model` is not the one this world was made with, or is not on this machine.
            InputError: the engine is not there.
        """
        generator, card = load_generator(checkpoint_here(self.model, self.digest))
        if card.digest != self.digest:
            raise CheckpointError(f"{self.model} holds other weights than this world (digest {self.digest[:12]}...).")
        chosen_engine(self.engine, self.device, generator.config)
        radiometry = radiometry_of(card.about, len(card.architecture.band_names))
        return TileGenerator(self, generator.to(self.device), radiometry)


class TileGenerator:
    """A generator that paints the tiles of one world. Implements `TileRenderer` and `RendersAhead`."""

    def __init__(self, config: WorldConfig, generator: Generator, radiometry: Radiometry = EIGHT_BITS) -> None:
        self._config = config
        self._radiometry = radiometry
        self._generator = generator
        self._engine = open_engine(config.engine, generator, _DTYPES[config.dtype])
        self._ahead = 1 if config.off_cpu else 0
        # The kernels of a CPU draw a tile's latents in milliseconds; torch would launch a thousand on a GPU.
        self._fields_on = torch.device("cpu") if kernels.available(torch.device("cpu")) else None

    @property
    def lattice(self) -> Lattice:
        """Tiles of `TILE_PX`, anchored at pixel (0, 0) of the world."""
        return Lattice(tile_px=TILE_PX)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        return self._generator.config.band_names

    def halo_plan(self) -> HaloPlan:
        """What the tile at the origin reads at every layer; all tiles read alike."""
        return self._generator.plan(self.lattice.tile(0, 0))

    def tile_bytes(self) -> int:
        """Peak memory of one tile, in bytes: the widest layer's input, output and temporaries."""
        return self._generator.activation_bytes(self.lattice.tile(0, 0), _DTYPES[self._config.dtype])

    def render_tile(self, tile: Window) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of one tile, 1 and more; the same bytes whatever the caller has set in torch."""
        return self.render_alone(tile)

    def render_tiles(self, tiles: Iterable[Window]) -> Iterator[UInt[np.ndarray, "bands rows cols"]]:
        """`render_tile` of each; a GPU paints the next one while pixels are on their way. See `RendersAhead`."""
        on_their_way: deque[Arriving] = deque()
        for tile in tiles:
            on_their_way.append(self._begun(tile))
            if len(on_their_way) > self._ahead:
                yield on_their_way.popleft().arrived().numpy()
        while on_their_way:
            yield on_their_way.popleft().arrived().numpy()

    def render_alone(self, window: Window) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of any window in one pass, off the lattice; equal to the tiles' but for rounding (1 code value)."""
        return self._begun(window).arrived().numpy()

    def _begun(self, window: Window) -> Arriving:
        config = self._config
        with fixed_arithmetic(torch.device(config.device)):
            inputs = self._generator.inputs(
                (config.seed,),
                window,
                scale_seeds={name: (seed,) for name, seed in config.scale_seeds},
                truncation_psi=config.truncation_psi,
                fields_on=self._fields_on,
            )
            return Arriving.of(self._engine(inputs)[0], self._radiometry)
