"""`xarray.open_dataset("world.json", engine="tilegen")`: xarray finds this class by its entry point.

xarray imports it for every file that it does not know, so nothing here is heavy before a world is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from tilegen.errors import InputError
from tilegen.geometry.georef import Bounds
from tilegen.geometry.window import Window
from tilegen.world_file import is_world_file, read_world_file


class TilegenEngine(BackendEntrypoint):
    """Opens a window of an endless world, lazily: an index renders the tiles that it meets, and no others."""

    description = "Windows of endless worlds of tilegen, described by a JSON file"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "window",
        "bounds",
        "res",
        "device",
        "mask_and_scale",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        window: Window | None = None,
        bounds: Bounds | None = None,
        res: float | None = None,
        device: str = "auto",
        mask_and_scale: bool | None = None,
    ) -> xr.Dataset:
        """The variable `image` (band, y, x) of a window. With `chunks=` of xarray it is on Dask.

        Args:
            filename_or_obj: a file that `World.save` wrote.
            drop_variables: names to leave out.
            window: see `World.to_xarray`, as for the next two. Without window and bounds: what the file says.
            bounds: (xmin, ymin, xmax, ymax) in the CRS of the world.
            res: the world's own, or that times 2, 4, 8 …
            device: that draws it.
            mask_and_scale: of no effect: pixels are given as they are painted, with 0 for nodata.

        Raises:
            InputError: the file describes no world, or no window of it was given.
            CheckpointError: its model is not there, or is another one.
        """
        from tilegen.renderer import TILE_PX
        from tilegen.tiling.lazy import indexed_image
        from tilegen.tiling.levels import covering, level_of
        from tilegen.world import open_world

        path = _local_path(filename_or_obj)
        if path is None:
            raise InputError(f"{filename_or_obj!r} is not the path of a file that describes a world.")
        said = read_world_file(path)
        world = open_world(os.fspath(path), device=device)
        level = level_of(res, world.georef.res, TILE_PX)
        shown = said.window if window is None and bounds is None else window
        extent = covering(world.georef, shown, bounds, level=level)
        image = indexed_image(world.config, world.product(extent), level=level)
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        about = {name: said for name, said in image.attrs.items() if name not in {"long_name", "_FillValue"}}
        dataset = image.to_dataset().assign_attrs(about)
        return dataset.drop_vars(dropped & set(dataset.variables))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a file that says it describes a world of tilegen."""
        path = _local_path(filename_or_obj)
        return path is not None and is_world_file(path)


def _local_path(filename_or_obj: Any) -> Path | None:
    """A path of this machine, or None for what is something else."""
    if not isinstance(filename_or_obj, str | os.PathLike) or "://" in os.fspath(filename_or_obj):
        return None
    return Path(os.fspath(filename_or_obj))
