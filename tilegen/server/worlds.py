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

from tilegen.geometry.window import Window
from tilegen.model.checkpoint import checkpoint_here, load_generator
from tilegen.model.generator import Generator
from tilegen.renderer import TILE_PX, TileGenerator
from tilegen.server.grid import BLOCK_PX, WORLD_ZOOM, MapGrid
from tilegen.world import World

_MOST_RENDERERS = 4
"""Seeds whose renderers are kept; each has its own copy of what its engine prepares from the weights."""


class WorldImagery:
    """The worlds of one model on one grid. Implements `Imagery`.

    Args:
        world: the model, the grid and everything but the seed.
        max_zoom_out: levels beyond full resolution, which are means; each costs four times the work of the one before.
        model: what to call the model in a command.
    """

    num_stored = 1

    def __init__(self, world: World, *, max_zoom_out: int, model: str) -> None:
        assert TILE_PX == BLOCK_PX  # so that a block is one tile, the same bytes as in a product
        self._world = world
        self._model = model
        self._renderers: OrderedDict[int, TileGenerator] = OrderedDict()
        self._lock = threading.Lock()
        georef = world.georef
        globe = _globe(georef.res) if georef.is_geographic else None
        self.grid = MapGrid(
            crs=georef.crs,
            res=georef.res,
            num_levels=1 + max_zoom_out,
            native_zoom=WORLD_ZOOM,
            centred=True,
            edge=globe,
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
        """What a product of the same world says."""
        return self._world.provenance() | {"seed": seed}

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
        """`tilegen generate` with everything that decides the pixels."""
        config = self._world.config
        options: dict[str, object] = {"--model": self._model, "--crs": self.grid.crs, "--res": repr(self.grid.res)}
        if config.truncation_psi != 1:
            options["--truncation-psi"] = config.truncation_psi
        if config.dtype != "float32":
            options["--dtype"] = config.dtype
        words = [str(word) for option in options.items() for word in option]
        words += [f"--scale-seed={name}={seed}" for name, seed in config.scale_seeds]
        place = ("--size", "{cols}x{rows}", "--seed", "{seed}", "--origin={x},{y}")
        return ("tilegen", "generate", "area.tif", *place, *words)

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


def _globe(res: float) -> Window:
    """All pixels of `res` degrees that are on the globe."""
    rows, cols = max(1, round(90 / res)), max(1, round(180 / res))
    return Window(row0=-rows, col0=-cols, row1=rows, col1=cols)
