"""Worlds on a map: every seed is one, and all of them share the weights that were loaded."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import checkpoint_here, load_generator
from tilegen.model.generator import Generator
from tilegen.renderer import TILE_PX, TileGenerator
from tilegen.server.grid import BLOCK_PX, WORLD_ZOOM, MapGrid
from tilegen.world import World
from tilegen.world_file import is_world_file_name

_MOST_RENDERERS = 4
"""Seeds whose renderers are kept; each has its own copy of what its engine prepares from the weights."""

_ANY_WINDOW = Window.from_size(1, 1)


class WorldImagery:
    """The worlds of one model on one grid. Implements `Imagery`.

    Args:
        world: the model, the grid and everything but the seed.
        max_zoom_out: levels beyond full resolution, which are means; each costs four times the work of the one before.
        model: what to call the model in a command; it may be the file that describes the world.
    """

    num_stored = 1

    def __init__(self, world: World, *, max_zoom_out: int, model: str) -> None:
        assert TILE_PX == BLOCK_PX  # so that a block is one tile, the same bytes as in a product
        self._world = world
        self._model = model
        self._renderers: OrderedDict[int, TileGenerator] = OrderedDict()
        self._lock = threading.Lock()
        georef = world.georef
        self.grid = MapGrid(
            crs=georef.crs,
            res=georef.res,
            x0=georef.anchor[0],
            y0=georef.anchor[1],
            num_levels=1 + max_zoom_out,
            native_zoom=WORLD_ZOOM,
            centred=True,
            edge=_globe(georef) if georef.is_geographic else None,
        )

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        return self._world.card.architecture.band_names

    def block(self, seed: int, level: int, row: int, col: int) -> UInt8[np.ndarray, "bands rows cols"]:
        """A tile of the world of `seed`, 1..255."""
        renderer = self._renderer(seed)
        return renderer.render_tile(renderer.lattice.tile(row, col))

    def load(self) -> None:
        """Load the weights now.

        Raises:
            CheckpointError: they cannot be used.
        """
        self._renderer(self._world.config.seed)

    def provenance(self, seed: int) -> dict[str, Any]:
        """What a product of the same world says, wherever it lies."""
        return {**self._world.product(_ANY_WINDOW).provenance, "seed": seed}

    def about(self) -> dict[str, Any]:
        """Model and cells."""
        card = self._world.card
        return {
            "kind": "world",
            "model": Path(self._model).stem,
            "model_digest": card.digest,
            "cell_px": card.architecture.cell_px,
            "training_res_m": card.resolution_m,
            "unit": self._world.georef.unit,
        }

    def command(self) -> tuple[str, ...] | None:
        """`tilegen generate` with everything that decides the pixels; a file of a world decides all but the place."""
        command, place = ("tilegen", "generate", "area.tif", "--size", "{cols}x{rows}"), "--origin={x},{y}"
        if is_world_file_name(self._model):
            return (*command, place, "--model", self._model)
        config = self._world.config
        options: dict[str, object] = {"--model": self._model, "--crs": self.grid.crs, "--res": repr(self.grid.res)}
        if config.truncation_psi != 1:
            options["--truncation-psi"] = config.truncation_psi
        if config.dtype != "float32":
            options["--dtype"] = config.dtype
        words = [str(word) for option in options.items() for word in option]
        words += [f"--scale-seed={name}={seed}" for name, seed in config.scale_seeds]
        return (*command, "--seed", "{seed}", place, *words)

    @functools.cached_property
    def _generator(self) -> Generator:
        config = self._world.config
        generator, _ = load_generator(checkpoint_here(config.model, config.digest))
        return generator.to(config.device)

    def _renderer(self, seed: int) -> TileGenerator:
        with self._lock:
            renderer = self._renderers.pop(seed, None)
            if renderer is None:
                renderer = TileGenerator(dataclasses.replace(self._world.config, seed=seed), self._generator)
            self._renderers[seed] = renderer
            if len(self._renderers) > _MOST_RENDERERS:
                self._renderers.popitem(last=False)
            return renderer


def _globe(georef: GeoReference) -> Window:
    """All pixels of a grid in degrees that are on the globe, one at least."""
    (row0, col0), (row1, col1) = georef.pixel(-180.0, 90.0), georef.pixel(180.0, -90.0)
    return Window(row0=row0, col0=col0, row1=max(row1, row0 + 1), col1=max(col1, col0 + 1))
