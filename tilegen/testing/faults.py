"""A renderer whose tiles can be watched, held up, broken and killed from outside, by files in a folder."""

from __future__ import annotations

import os
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer

_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The folder that tells the workers' renderers what to do, wherever they are.

    Args:
        folder: shared by client and workers.
    """

    folder: str

    def hold(self) -> None:
        """Let every tile wait until `release`."""
        self._path("held").touch()

    def release(self) -> None:
        """Let all tiles go on."""
        self._path("held").unlink()

    def harm(self, tile: Window, how: str) -> None:
        """From now on, `tile` ends with an "error", or with the "death" of its process."""
        self._path(f"{how}-{tile.row0}-{tile.col0}").touch()

    def heal(self) -> None:
        """Let no tile end badly any more."""
        for path in [*Path(self.folder).glob("error-*"), *Path(self.folder).glob("death-*")]:
            path.unlink()

    def begun(self) -> list[str]:
        """The "row-col" of every tile that was begun, as often as it was."""
        return sorted(path.name.removeprefix("begun-").rpartition("-")[0] for path in self._all("begun"))

    def obey(self, tile: Window) -> None:
        """What a renderer does before it paints `tile`.

        Raises:
            RuntimeError: the tile is to end with an error. TimeoutError: it was held for too long.
        """
        self._path(f"begun-{tile.row0}-{tile.col0}-{uuid.uuid4().hex}").touch()
        give_up = time.monotonic() + _LONGEST_WAIT_S
        while self._path("held").exists():
            if time.monotonic() > give_up:
                raise TimeoutError("A tile was held for too long.")
            time.sleep(0.01)
        if self._path(f"error-{tile.row0}-{tile.col0}").exists():
            raise RuntimeError("The paint\nis dry.")
        if self._path(f"death-{tile.row0}-{tile.col0}").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def _path(self, name: str) -> Path:
        return Path(self.folder, name)

    def _all(self, kind: str) -> list[Path]:
        return list(Path(self.folder).glob(f"{kind}-*"))


@dataclass(frozen=True, kw_only=True)
class ControlledRenderer:
    """A `CoordinateRenderer` that obeys `controls`. Implements `TileRenderer`."""

    controls: Controls
    painter: CoordinateRenderer

    @property
    def lattice(self) -> Lattice:
        """Tiles of the painter."""
        return self.painter.lattice

    @property
    def band_names(self) -> tuple[str, ...]:
        """Bands of the painter."""
        return self.painter.band_names

    def halo_plan(self) -> HaloPlan:
        """Halo of the painter."""
        return self.painter.halo_plan()

    def tile_bytes(self) -> int:
        """Memory of the painter."""
        return self.painter.tile_bytes()

    def render_tile(self, tile: Window) -> UInt8[np.ndarray, "bands rows cols"]:
        """The addresses of one tile, if all goes well."""
        self.controls.obey(tile)
        return self.painter.render_tile(tile)


@dataclass(frozen=True, kw_only=True)
class ControlledSource:
    """A `ControlledRenderer` in plain data. Implements `RendererSource`."""

    controls: Controls
    tile_px: int = 32

    def open(self) -> ControlledRenderer:
        """The renderer."""
        return ControlledRenderer(controls=self.controls, painter=CoordinateRenderer(tile_px=self.tile_px))
