"""World: the endless image. Joins the generator, its fields, the tile lattice and the georeference."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt

from tilegen.config import to_dict
from tilegen.errors import CheckpointError, InputError
from tilegen.fields.counter import RNG_VERSION, check_seed
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.model.arithmetic import chosen_device, fixed_arithmetic
from tilegen.model.checkpoint import Card, checkpoint_here, load_generator, read_card, resolve_checkpoint
from tilegen.model.engine import ENGINES, chosen_engine, open_engine
from tilegen.model.generator import Generator
from tilegen.model.pixels import EIGHT_BITS, Radiometry, radiometry_of
from tilegen.tiling.product import Product
from tilegen.tiling.render import render_window

if TYPE_CHECKING:
    import xarray as xr

TILE_PX = 512
"""Edge of a tile. One shape for all products, so that the same pixel is always computed in the same way."""

DEFAULT_CRS = "EPSG:3857"

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
    """A generator that paints the tiles of one world. Implements `TileRenderer`."""

    def __init__(self, config: WorldConfig, generator: Generator, radiometry: Radiometry = EIGHT_BITS) -> None:
        self._config = config
        self._radiometry = radiometry
        self._generator = generator
        self._engine = open_engine(config.engine, generator, _DTYPES[config.dtype])

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
        return self.render_exact(tile)

    def render_exact(self, window: Window) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of any window in one pass, off the lattice; equal to the tiles' but for rounding (1 code value)."""
        config = self._config
        with fixed_arithmetic(torch.device(config.device)):
            inputs = self._generator.inputs(
                (config.seed,),
                window,
                scale_seeds={name: (seed,) for name, seed in config.scale_seeds},
                truncation_psi=config.truncation_psi,
            )
            image = self._engine(inputs)
        return self._radiometry.pixels(image[0]).cpu().numpy()


class World:
    """An endless image: model, seed, tile lattice and georeference. Made by `open_world`."""

    def __init__(self, config: WorldConfig, card: Card, georef: GeoReference) -> None:
        self.config = config
        self.card = card
        self.georef = georef

    def __repr__(self) -> str:
        return (
            f"World(seed={self.config.seed}, model={Path(self.config.model).stem} {self.config.digest[:12]}, "
            f"{self.georef.res:g} {self.georef.unit} per pixel in {self.georef.crs})"
        )

    @functools.cached_property
    def renderer(self) -> TileGenerator:
        """The renderer, loaded on first use."""
        return self.config.open()

    def window_at(self, x: float, y: float, height: int, width: int) -> Window:
        """The window of `height` x `width` pixels whose upper left corner is nearest to (`x`, `y`) in the CRS.

        Raises:
            InputError: the coordinate is not on the grid, or the window leaves the globe.
        """
        row0, col0 = self.georef.pixel(x, y)
        window = Window.from_size(height, width, row0=row0, col0=col0)
        self.georef.check_on_earth(window)
        return window

    def read(self, window: Window, *, whole_tiles: bool = True) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of any window, 1 and more: the same bytes that a product of the same world holds there.

        Args:
            window: of the world.
            whole_tiles: False paints the window alone and in one pass: a fraction of the time and memory of the tiles
                around a small one, for looking. A pixel in ten thousand may differ by one code value (float32).
        """
        return render_window(self.renderer, window) if whole_tiles else self.renderer.render_exact(window)

    def to_xarray(self, window: Window, *, chunk_px: int = 4 * TILE_PX) -> xr.DataArray:
        """`window` as a lazy, georeferenced DataArray (band, y, x); chunks are rendered when they are used."""
        from tilegen.tiling.lazy import lazy_image

        return lazy_image(self.config, self.product(window), chunk_px)

    def product(self, extent: Window, *, chunk_px: int = TILE_PX, shard_px: int = 4 * TILE_PX) -> Product:
        """The product of `extent`, ready for a sink."""
        radiometry = radiometry_of(self.card.about, len(self.card.architecture.band_names))
        return Product(
            extent=extent,
            georef=self.georef,
            band_names=self.card.architecture.band_names,
            provenance=self.provenance(),
            chunk_px=chunk_px,
            shard_px=shard_px,
            dtype=radiometry.dtype,
            scales=radiometry.scales,
            offsets=radiometry.offsets,
        )

    def provenance(self) -> dict[str, Any]:
        """What made the pixels, JSON-serialisable; stored with every product."""
        about = self.card.about
        return {
            "synthetic": True,
            "software": f"tilegen {version('tilegen')}",
            "torch": torch.__version__,
            "machine": platform.machine(),
            "model_digest": self.config.digest,
            "seed": self.config.seed,
            # Only where there are any: products that were begun before scales had seeds go on.
            **({"scale_seeds": dict(self.config.scale_seeds)} if self.config.scale_seeds else {}),
            "truncation_psi": self.config.truncation_psi,
            "prior": to_dict(self.card.architecture.prior),
            "rng_version": RNG_VERSION,
            "tile_px": TILE_PX,
            "device": torch.device(self.config.device).type,
            "dtype": self.config.dtype,
            "engine": self.config.engine,
            "licence": about.get("licence"),
            "attribution": about.get("attribution"),
        }


def open_world(  # noqa: PLR0913  one argument per option
    model: str = "default",
    *,
    seed: int = 0,
    scale_seeds: Mapping[str, int] | None = None,
    crs: str = DEFAULT_CRS,
    res: float | None = None,
    truncation_psi: float = 1.0,
    device: str = "auto",
    dtype: str = "float32",
    engine: str = "auto",
    drawn_here: bool = True,
) -> World:
    """The endless image of one model and seed. Reads the checkpoint's card; weights are loaded on first use.

    Args:
        model: "default", the path of a checkpoint, or the folder of a training run.
        seed: which world, 0 .. 2**64 - 1.
        scale_seeds: seeds of single scales of the latent, such as {"region": 5}: another region in the same districts.
        crs: CRS of the world's grid.
        res: edge of a pixel in units of the CRS; None for the ground size of the model's training imagery.
        truncation_psi: 1 as trained; smaller is more typical and less varied.
        device: "auto" (CUDA if there is any), "cpu", "cuda" or "cuda:N".
        dtype: of the convolutions, "float32" or "bfloat16".
        engine: "auto" (compiled if there is one for the device), "compiled" or "eager".
        drawn_here: False if a cluster draws the world, on a device that this machine need not have.

    Raises:
        InputError: a value cannot be used. CheckpointError: the checkpoint cannot.
    """
    path = resolve_checkpoint(model)
    card = read_card(path)
    scale_seeds = scale_seeds or {}
    card.architecture.prior.check_scales(scale_seeds)
    device = chosen_device(device, here=drawn_here)
    config = WorldConfig(
        model=str(path.absolute()),
        digest=card.digest,
        seed=seed,
        scale_seeds=tuple(sorted(scale_seeds.items())),
        truncation_psi=truncation_psi,
        device=device,
        dtype=dtype,
        engine=chosen_engine(engine, device, card.architecture),
    )
    if res is None:
        unit_m = GeoReference(crs=crs, res=1.0).unit_m
        res = float(f"{card.resolution_m / unit_m:.6g}")
    return World(config, card, GeoReference(crs=crs, res=res))
