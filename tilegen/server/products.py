"""A written product on a map: its levels as they are stored."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from jaxtyping import UInt8
from rasterio.errors import NotGeoreferencedWarning

from tilegen.errors import InputError, OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.server.grid import BLOCK_PX, MapGrid, zoom_of
from tilegen.tiling.finished import crs_of, is_zarr_store, opened_tiff, plain
from tilegen.tiling.sinks.zarr_attributes import stored_levels


@dataclass(frozen=True, kw_only=True)
class ProductImagery:
    """A GeoTIFF or a Zarr store. Implements `Imagery`; the seed is whatever made it.

    Args:
        path: on a disk.
        grid: pixel (0, 0) is the product's first one.
        band_names: as the product says.
        shapes: (rows, cols) of each level that is stored.
        tags: what the product says of itself.
    """

    path: Path
    grid: MapGrid
    band_names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    tags: dict[str, Any]

    @property
    def num_stored(self) -> int:
        """As many as the file holds."""
        return len(self.shapes)

    def block(self, seed: int, level: int, row: int, col: int) -> UInt8[np.ndarray, "bands rows cols"]:
        """Stored pixels, 0 beyond the edge.

        Raises:
            OutputError: the product is damaged, or has gone; no fault of who asks.
        """
        block = Lattice(tile_px=BLOCK_PX).tile(row, col)
        pixels = np.zeros((len(self.band_names), *block.shape), np.uint8)
        common = block.intersection(Window.from_size(*self.shapes[level]))
        if common is not None:
            try:
                pixels[:, *common.within(block)] = self._read(level, common)
            except (OSError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())
                raise OutputError(f"The product cannot be read here: {reason or type(error).__name__}.") from error
        return pixels

    def provenance(self, seed: int) -> dict[str, Any]:
        """What the product says made it."""
        return self.tags

    def about(self) -> dict[str, Any]:
        """Where the product lies in its world."""
        grid = self.grid
        unit = GeoReference(crs=grid.crs, res=grid.res).unit
        written_ns = self.path.stat().st_mtime_ns
        return {"kind": "product", "name": self.path.name, "unit": unit, "written_ns": str(written_ns)}

    def command(self) -> tuple[str, ...] | None:
        """GDAL's, for a GeoTIFF."""
        if is_zarr_store(self.path):
            return None
        place = ("-srcwin", "{col}", "{row}", "{cols}", "{rows}")
        return ("gdal_translate", *place, self.path.name, "area.tif")

    def _read(self, level: int, window: Window) -> UInt8[np.ndarray, "bands rows cols"]:
        rows, cols = slice(window.row0, window.row1), slice(window.col0, window.col1)
        if is_zarr_store(self.path):
            levels = stored_levels(zarr.open_group(self.path, mode="r").attrs.asdict())
            array = zarr.open_array(self.path, path=levels[level], mode="r")
            return np.asarray(array[:, rows, cols])
        # A dataset of its own for each reading: threads must not share one.
        overview = {} if level == 0 else {"overview_level": level - 1}
        with rasterio.open(self.path, driver="GTiff", **overview) as tiff:
            pixels: np.ndarray = tiff.read(window=((rows.start, rows.stop), (cols.start, cols.stop)))
            return pixels


def open_product(path: Path, *, max_zoom_out: int) -> ProductImagery:
    """A finished product, ready for a map.

    Args:
        path: a GeoTIFF or the folder of a Zarr store.
        max_zoom_out: levels beyond full resolution that are shown even where fewer are stored.

    Raises:
        InputError: it is none, it has no place on the Earth, or its pixels are not 8 bits.
    """
    product = _opened_zarr(path) if is_zarr_store(path) else _opened_tiff(path)
    grid = product.grid
    wanted = min(max_zoom_out, zoom_of(max(product.shapes[0]))) + 1
    return replace(product, grid=replace(grid, num_levels=max(grid.num_levels, wanted)))


def _opened_tiff(path: Path) -> ProductImagery:
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        opened_tiff(path) as tiff,
    ):
        crs, transform, dtypes = tiff.crs, tuple(tiff.transform), set(tiff.dtypes)
        names = [name or f"band {number}" for number, name in enumerate(tiff.descriptions, start=1)]
        tags = {name: plain(value) for name, value in tiff.tags().items() if name != "AREA_OR_POINT"}
        shapes = _halves((tiff.height, tiff.width), tiff.overviews(1))
    if crs is None:
        raise InputError(f"{path} has no CRS, so it has no place on a map. Give it one with gdal_edit.py -a_srs.")
    if dtypes != {"uint8"}:
        raise InputError(f"{path} has pixels of {', '.join(sorted(dtypes))}. A map shows uint8; convert it first.")
    code = crs.to_string()
    return _imagery(path, code, transform, shapes, tuple(names), tags)


def _opened_zarr(path: Path) -> ProductImagery:
    try:
        group = zarr.open_group(path, mode="r")
        attributes = {name: plain(value) for name, value in group.attrs.items()}
        images = [zarr.open_array(path, path=name, mode="r") for name in stored_levels(attributes)]
        shapes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        image = images[0]
        names = _names(image.attrs["long_name"])
        crs = crs_of(attributes)
        transform = tuple(float(value) for value in attributes["spatial:transform"])
    except (KeyError, ValueError, TypeError, IndexError, RecursionError, OSError):
        raise InputError(f"{path} is not a Zarr store that tilegen finished.") from None
    if image.dtype != np.uint8 or image.shape[0] != len(names):
        raise InputError(f"{path} has pixels of {image.dtype}. A map shows uint8; convert it first.")
    return _imagery(path, crs, transform, shapes, names, attributes)


def _imagery(
    path: Path,
    crs: str,
    transform: tuple[float, ...],
    shapes: list[tuple[int, int]],
    names: tuple[str, ...],
    tags: dict[str, Any],
) -> ProductImagery:
    res, skew_x, left, skew_y, down, top = transform[:6]
    if skew_x or skew_y or down >= 0 or abs(res + down) > 1e-9 * abs(res):
        raise InputError(f"{path} is rotated, or its pixels are not square. Warp it first: gdalwarp in.tif out.tif.")
    GeoReference(crs=crs, res=res)
    native_zoom = max(zoom_of(max(shapes[0])), len(shapes) - 1)
    grid = MapGrid(
        crs=crs,
        res=res,
        x0=left,
        y0=top,
        num_levels=len(shapes),
        native_zoom=native_zoom,
        centred=False,
        edge=Window.from_size(*shapes[0]),
    )
    return ProductImagery(path=path, grid=grid, band_names=names, shapes=tuple(shapes), tags=tags)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value))


def _halves(shape: tuple[int, int], factors: list[int]) -> list[tuple[int, int]]:
    """Shapes of the levels that are stored, as long as each is half of the one before."""
    shapes = [shape]
    for level, factor in enumerate(factors, start=1):
        if factor != 1 << level:
            break
        shapes.append((-(-shape[0] // factor), -(-shape[1] // factor)))
    return shapes
