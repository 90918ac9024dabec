"""World: the endless image. Joins the generator, its fields, the tile lattice and the georeference."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt

from tilegen.config import to_dict
from tilegen.fields.counter import RNG_VERSION
from tilegen.geometry.georef import Bounds, GeoReference
from tilegen.geometry.window import Window
from tilegen.model.arithmetic import chosen_device
from tilegen.model.checkpoint import Card, read_card, resolve_checkpoint
from tilegen.model.engine import chosen_engine
from tilegen.model.pixels import radiometry_of
from tilegen.renderer import TILE_PX, TileGenerator, WorldConfig
from tilegen.tiling.aoi import Aoi
from tilegen.tiling.levels import covering, level_of
from tilegen.tiling.product import Product
from tilegen.tiling.render import render_window
from tilegen.world_file import WorldFile, is_world_file_name, read_world_file

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_CRS = "EPSG:3857"


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
        return render_window(self.renderer, window) if whole_tiles else self.renderer.render_alone(window)

    def to_xarray(
        self,
        window: Window | None = None,
        *,
        bounds: Bounds | None = None,
        res: float | None = None,
        chunk_px: int | None = None,
        aoi: Aoi | None = None,
    ) -> xr.DataArray:
        """A window of the world as a lazy, georeferenced DataArray (band, y, x); chunks are rendered when used.

        Args:
            window: what it covers, in pixels of full resolution; or
            bounds: (xmin, ymin, xmax, ymax) in the CRS; pixels that they cut are shown.
            res: the world's own, or that times 2, 4, 8 … 512. Coarse pixels are means of rendered ones, as in products.
            chunk_px: edge of a chunk; by default 2048 rendered pixels.
            aoi: all pixels outside of it are nodata, 0.
        """
        from tilegen.tiling.lazy import lazy_image

        level = level_of(res, self.georef.res, TILE_PX)
        extent = covering(self.georef, window, bounds, level=level)
        return lazy_image(self.config, self.product(extent, aoi=aoi), level=level, chunk_px=chunk_px)

    def save(self, path: Path | str, *, window: Window | None = None, overwrite: bool = False) -> None:
        """Describe the world in a JSON file that `open_world` and `xarray.open_dataset` open; no pixels, no weights.

        Args:
            window: what xarray shows unless it is asked for something else.
        """
        said = WorldFile.of(Path(path), vars(self.config), self.georef, window)
        said.write(Path(path), overwrite=overwrite)

    def aoi(self, file: str | Path) -> Aoi:
        """The polygons of FILE or FILE:LAYER on the grid of this world, for `product` and `to_xarray`.

        Raises:
            InputError: the file holds no polygons, or this world has no place for them.
        """
        from tilegen.tiling.aoi_file import read_aoi

        aoi = read_aoi(str(file)).on(self.georef)
        self.georef.check_on_earth(aoi.covering())
        return aoi

    def product(
        self, extent: Window, *, chunk_px: int = TILE_PX, shard_px: int = 4 * TILE_PX, aoi: Aoi | None = None
    ) -> Product:
        """The product of `extent`, ready for a sink; with an AOI, nodata outside of it.

        Raises:
            InputError: chunk and shard do not fit, or the AOI is of another world or holds no pixel of the extent.
        """
        anchor = self.georef.anchor
        place = {
            # Only where they are: products that were begun before there were any go on.
            **({"grid_anchor": list(anchor)} if anchor != (0.0, 0.0) else {}),
            **({"aoi": aoi.provenance()} if aoi is not None else {}),
        }
        radiometry = radiometry_of(self.card.about, len(self.card.architecture.band_names))
        return Product(
            extent=extent,
            georef=self.georef,
            band_names=self.card.architecture.band_names,
            provenance={**self.provenance(), **place},
            chunk_px=chunk_px,
            shard_px=shard_px,
            dtype=radiometry.dtype,
            scales=radiometry.scales,
            offsets=radiometry.offsets,
            aoi=aoi,
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
    anchor: tuple[float, float] = (0.0, 0.0),
    truncation_psi: float = 1.0,
    device: str = "auto",
    dtype: str = "float32",
    engine: str = "auto",
    drawn_here: bool = True,
) -> World:
    """The endless image of one model and seed. Reads the checkpoint's card; weights are loaded on first use.

    Args:
        model: "default", the path of a checkpoint, the folder of a training run, or a file of `World.save`, which says
            all but device and engine.
        seed: which world, 0 .. 2**64 - 1.
        scale_seeds: seeds of single scales of the latent, such as {"region": 5}: another region in the same districts.
        crs: CRS of the world's grid.
        res: edge of a pixel in units of the CRS; None for the ground size of the model's training imagery.
        anchor: (x, y) of the corner of pixel (0, 0), if the world is to fit the grid of a file; see `anchor_of`.
        truncation_psi: 1 as trained; smaller is more typical and less varied.
        device: "auto" (CUDA if there is any), "cpu", "cuda" or "cuda:N".
        dtype: of the convolutions, "float32" or "bfloat16".
        engine: "auto" (compiled if there is one for the device), "compiled" or "eager".
        drawn_here: False if a cluster draws the world, on a device that this machine need not have.

    Raises:
        InputError: a value cannot be used. CheckpointError: the checkpoint cannot.
    """
    if is_world_file_name(model):
        given: dict[str, Any] = {"seed": seed, "scale_seeds": scale_seeds or None, "crs": crs, "res": res}
        given |= {"anchor": anchor, "truncation_psi": truncation_psi, "dtype": dtype}
        said = read_world_file(Path(model)).options(Path(model), open_world, given)
        return open_world(**said, device=device, engine=engine, drawn_here=drawn_here)
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
        engine=chosen_engine(engine, device, card.architecture, here=drawn_here),
    )
    if res is None:
        unit_m = GeoReference(crs=crs, res=1.0).unit_m
        res = float(f"{card.resolution_m / unit_m:.6g}")
    return World(config, card, GeoReference(crs=crs, res=res, anchor=anchor))
