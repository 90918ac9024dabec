"""Whether a product holds the pixels of its world: tiles are rendered again and compared."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt
from rasterio.errors import NotGeoreferencedWarning
from zarr.abc.store import Store

from tilegen.errors import InputError, TilegenError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.aoi import Aoi
from tilegen.tiling.finished import (
    crs_of,
    extent_of,
    is_zarr_store,
    opened_store,
    opened_tiff,
    plain,
    says_what_made_it,
    stored_anchor,
)
from tilegen.tiling.lossy import LossyTiles, lossy_tiles
from tilegen.tiling.render import TileRenderer, render_window
from tilegen.tiling.sinks.zarr_attributes import stored_levels


@dataclass(frozen=True, kw_only=True)
class Written:
    """A finished product.

    Args:
        path: a GeoTIFF or a Zarr store, on a disk or at s3://BUCKET/NAME.
        extent: absolute pixels of the world that it covers.
        provenance: what made the pixels, as it says.
        aoi: outside of which it is nodata.
        lossy: its tiles, if they lost something when they were encoded.
    """

    path: Path | str
    extent: Window
    provenance: dict[str, Any]
    aoi: Aoi | None = None
    lossy: LossyTiles | None = None

    def read(self, window: Window) -> UInt[np.ndarray, "bands rows cols"]:
        """Pixels of a window of absolute pixels inside the extent.

        Raises:
            OSError, ValueError, RuntimeError: they are damaged so badly that they cannot be decoded.
            OutputError: an object store refuses.
        """
        rows, cols = window.within(self.extent)
        if is_zarr_store(self.path):
            with opened_store(self.path) as store:
                return np.asarray(_full_resolution(store)[:, rows, cols])
        with opened_tiff(self.path) as tiff:
            pixels: np.ndarray = tiff.read(window=((rows.start, rows.stop), (cols.start, cols.stop)))
            return pixels

    def drawn_tiles(self, lattice: Lattice) -> Sequence[int]:
        """Numbers of the tiles of which the AOI shows anything; of all, where there is none."""
        lattice = self.lossy.lattice if self.lossy else lattice
        span = lattice.indices(self.extent)
        if self.aoi is None:
            return range(span.height * span.width)
        rows = np.arange(span.row0, span.row1 + 1) * lattice.tile_px + lattice.row0
        cols = np.arange(span.col0, span.col1 + 1) * lattice.tile_px + lattice.col0
        return [int(number) for number in np.flatnonzero(self.aoi.meets(rows, cols))]

    def num_tiles(self, lattice: Lattice) -> int:
        """How many tiles of the world the product shows, those at its edges included; of a lossy one, its own tiles."""
        span = (self.lossy.lattice if self.lossy else lattice).indices(self.extent)
        return span.height * span.width

    def tile(self, lattice: Lattice, number: int) -> Window:
        """One of these tiles, counted row by row; it may reach beyond the extent."""
        lattice = self.lossy.lattice if self.lossy else lattice
        span = lattice.indices(self.extent)
        row, col = divmod(number, span.width)
        return lattice.tile(span.row0 + row, span.col0 + col)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a product shows of one tile, beside what its world has there.

    Args:
        window: pixels of the product, counted from its upper left corner.
        num_differing: pixels of which a band differs by more than is tolerated.
        largest: largest difference of any band, in code values.
        damage: why the pixels cannot be decoded, if they cannot.
    """

    window: Window
    num_differing: int = 0
    largest: int = 0
    damage: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether the product shows what it should."""
        return not self.num_differing and self.damage is None

    def __str__(self) -> str:
        window = self.window
        place = f"rows {window.row0} to {window.row1 - 1}, columns {window.col0} to {window.col1 - 1}"
        if self.damage is not None:
            return f"{place}: cannot be read ({self.damage})"
        return f"{place}: {self.num_differing} pixels differ, by {self.largest} at most"


def open_written(path: Path | str, aoi_name: str | None = None) -> Written:
    """A finished product of tilegen.

    Args:
        path: on a disk, or s3://BUCKET/NAME.
        aoi_name: file of its AOI, FILE or FILE:LAYER; needed where the product does not repeat it.

    Raises:
        InputError: `path` is none, or its AOI is not known, or another one. OutputError: an object store refuses.
    """
    shape, transform, crs, provenance = _opened_zarr(path) if is_zarr_store(path) else _opened_tiff(path)
    if not says_what_made_it(provenance):
        raise InputError(f"{path} does not say what made it, so it cannot be verified. Was it made by tilegen?")
    anchor = stored_anchor(path, provenance)
    extent = extent_of(path, shape, transform, anchor)
    aoi = aoi_of(path, provenance, aoi_name, GeoReference(crs=crs, res=float(transform[0]), anchor=anchor))
    lossy = None if is_zarr_store(path) else lossy_tiles(path, extent)
    return Written(path=path, extent=extent, provenance=provenance, aoi=aoi, lossy=lossy)


def aoi_of(path: Path | str, provenance: Mapping[str, Any], name: str | None, georef: GeoReference) -> Aoi | None:
    """The AOI of a product, or None if it has none.

    Args:
        path: of the product.
        provenance: what it says of itself.
        name: file of the AOI, FILE or FILE:LAYER, where one is given.
        georef: grid of the product.

    Raises:
        InputError: it must be given, or another one is.
    """
    said = provenance.get("aoi")
    if said is None:
        if name is not None:
            raise InputError(f"{path} was made without an AOI. Leave --aoi out.")
        return None
    if name is not None:
        from tilegen.tiling.aoi_file import read_aoi  # which takes a second to load

        aoi = read_aoi(name).on(georef)
    elif "wkb" in said:
        aoi = Aoi(wkb=bytes.fromhex(said["wkb"]), georef=georef)
    else:
        raise InputError(f"{path} does not repeat its AOI, which is large. Give the file with --aoi.")
    if aoi.digest != said["sha256"]:
        raise InputError(f"{path} was made with another AOI ({said['sha256'][:12]}, this one is {aoi.digest[:12]}).")
    return aoi


def compare_tiles(
    written: Written, renderer: TileRenderer, numbers: Iterable[int], *, tolerance: int
) -> Iterator[Comparison]:
    """Render tiles again and compare them with what is written; of a lossy product, after encoding them again.

    Args:
        numbers: which tiles, as `Written.tile` counts them.
        tolerance: code values by which a band may differ.

    Raises:
        OutputError: an object store refuses.
    """
    extent = written.extent
    for number in numbers:
        tile = written.tile(renderer.lattice, number)
        common = tile.intersection(extent)
        if common is not None:  # always there; it tells the type checker so
            wanted = render_window(renderer, common, written.aoi)
            yield _compared(written, common, wanted, tolerance)


def _compared(
    written: Written, common: Window, wanted: UInt[np.ndarray, "bands rows cols"], tolerance: int
) -> Comparison:
    window = common.shifted(-written.extent.row0, -written.extent.col0)
    try:
        if written.lossy:
            found, wanted = written.lossy.both(common, wanted)
        else:
            found = written.read(common)
    except TilegenError:  # an object store: nothing is known of the pixels
        raise
    except (OSError, ValueError, RuntimeError) as error:
        return Comparison(window=window, damage=" ".join(str(error).split()) or type(error).__name__)
    if found.shape != wanted.shape:
        return Comparison(window=window, damage=f"{len(found)} bands instead of {len(wanted)}")
    difference = np.abs(found.astype(np.int32) - wanted.astype(np.int32)).max(axis=0)
    return Comparison(
        window=window, num_differing=int((difference > tolerance).sum()), largest=int(difference.max(initial=0))
    )


def _opened_tiff(path: Path | str) -> tuple[tuple[int, int], Sequence[float], str, dict[str, Any]]:
    """(rows, cols), affine transform row by row, CRS and provenance."""
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        opened_tiff(path) as tiff,
    ):
        provenance = {name: plain(value) for name, value in tiff.tags().items()}
        crs = tiff.crs.to_string() if tiff.crs else ""
        return (tiff.height, tiff.width), tuple(tiff.transform), crs, provenance


def _opened_zarr(path: Path | str) -> tuple[tuple[int, int], Sequence[float], str, dict[str, Any]]:
    """The same."""
    try:
        with opened_store(path) as store:
            attributes = {name: plain(value) for name, value in zarr.open_group(store, mode="r").attrs.items()}
            _, rows, cols = _full_resolution(store).shape
        return (rows, cols), [float(value) for value in attributes["spatial:transform"]], crs_of(attributes), attributes
    except TilegenError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, RecursionError, OSError):
        raise InputError(f"{path} is not a Zarr store that tilegen finished.") from None


def _full_resolution(store: Store | Path) -> zarr.Array[Any]:
    levels = stored_levels(zarr.open_group(store, mode="r").attrs.asdict())
    return zarr.open_array(store, path=levels[0], mode="r")
