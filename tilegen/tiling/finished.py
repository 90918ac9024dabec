"""Finished products, on a disk or in an object store: opened to be read, and what they say understood."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioIOError
from rasterio.session import DummySession
from zarr.abc.store import Store

from tilegen.errors import InputError, OutputError
from tilegen.geometry.window import Window
from tilegen.tiling.sinks.remote.address import Address, is_url

_OFF_GRID = "does not lie on the grid of a world. Was it moved?"
_FARTHEST_PX = 1 << 51
"""Beyond it, not every position has a float of its own once it is multiplied by the pixel size."""

_NAME = "bucket/product.tif"  # for GDAL, which looks for neighbours of what it opens


@contextmanager
def opened_tiff(product: Path | str) -> Iterator[Any]:
    """A GeoTIFF for rasterio.

    Raises:
        OutputError: the object store refuses. InputError: there is no GeoTIFF.
    """
    with ExitStack() as opened:
        try:
            tiff = opened.enter_context(_tiff(product))
        except RasterioIOError:
            raise InputError(f"{product} is neither a GeoTIFF nor a Zarr store of tilegen.") from None
        yield tiff


@contextmanager
def _tiff(product: Path | str) -> Iterator[Any]:
    if not is_url(product):
        with rasterio.open(product, driver="GTiff") as tiff:
            yield tiff
        return
    from tilegen.tiling.sinks.remote.bucket import opened_bucket

    address = Address.parse(os.fspath(product))
    bucket = opened_bucket(address.bucket)
    bucket.require(address)
    if bucket.found(address.key) is None:
        raise OutputError(f"{address} is not there.")

    def opener(name: str, mode: str = "rb") -> _Closing:
        if name != _NAME:
            raise FileNotFoundError(name)
        return _Closing(bucket.reader(address.key))

    # GDAL asks the opener alone; rasterio need not look for AWS credentials.
    with rasterio.Env(session=DummySession()), rasterio.open(_NAME, driver="GTiff", opener=opener) as tiff:
        yield tiff


@contextmanager
def opened_file(product: Path | str) -> Iterator[Any]:
    """A file, to be read from its beginning.

    Raises:
        OutputError: the object store refuses.
    """
    if not is_url(product):
        with Path(product).open("rb") as file:
            yield file
        return
    from tilegen.tiling.sinks.remote.bucket import opened_bucket

    address = Address.parse(os.fspath(product))
    with _Closing(opened_bucket(address.bucket).reader(address.key)) as reader:
        yield reader


@contextmanager
def opened_store(product: Path | str) -> Iterator[Store | Path]:
    """A Zarr store for Zarr, which finds out by itself whether there is one.

    Raises:
        OutputError: the object store refuses.
    """
    if not is_url(product):
        yield Path(product)
        return
    from tilegen.tiling.sinks.remote.bucket import opened_bucket

    address = Address.parse(os.fspath(product))
    bucket = opened_bucket(address.bucket)
    bucket.require(address)
    with bucket.zarr_store(address, read_only=True) as store:
        yield store


def is_zarr_store(product: Path | str) -> bool:
    """Whether it is a Zarr store rather than a GeoTIFF: a folder, or by its name where there are no folders."""
    return os.fspath(product).rstrip("/").lower().endswith(".zarr") if is_url(product) else Path(product).is_dir()


def says_what_made_it(said: Mapping[str, Any]) -> bool:
    """Whether a product with these attributes or tags is one of tilegen's."""
    return said.keys() >= {"synthetic", "seed", "model_digest"}


def plain(value: Any) -> Any:
    """A value of provenance, however it was stored: a GeoTIFF has text, and JSON where it was none."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def crs_of(said: Mapping[str, Any]) -> str:
    """The CRS of a Zarr store by the attributes of its root: a code, or WKT where there is none.

    Raises:
        KeyError: they say neither.
    """
    return str(said.get("proj:code") or said["proj:wkt2"])


def stored_anchor(place: Path | str, said: Mapping[str, Any]) -> tuple[float, float]:
    """Where pixel (0, 0) of its world lies, by the provenance of a product.

    Raises:
        InputError: it is no pair of numbers.
    """
    try:
        x, y = map(float, said.get("grid_anchor", (0.0, 0.0)))
    except (TypeError, ValueError):
        raise InputError(f"{place} {_OFF_GRID}") from None
    return x, y


def extent_of(
    place: Path | str, shape: Sequence[int], transform: Sequence[float], anchor: tuple[float, float]
) -> Window:
    """Absolute pixels of a product, whose corner is at (col, -row) times the pixel size from the anchor.

    Args:
        place: of the product, for the error.
        shape: (rows, cols).
        transform: the six coefficients of its affine transform, row by row.
        anchor: where pixel (0, 0) of its world lies.

    Raises:
        InputError: pixels are not square and north-up, the corner is between pixels of the world, or it is so far away
            that a float does not say which pixel it is.
    """
    if len(transform) < 6:
        raise InputError(f"{place} {_OFF_GRID}")
    res, left, top = float(transform[0]), float(transform[2]), float(transform[5])
    if res <= 0 or tuple(map(float, transform[:6])) != (res, 0.0, left, 0.0, -res, top):
        raise InputError(f"{place} {_OFF_GRID}")
    row0, col0 = round((anchor[1] - top) / res), round((left - anchor[0]) / res)
    if max(abs(row0), abs(col0)) >= _FARTHEST_PX:
        raise InputError(f"{place} lies so far from the origin that its coordinates do not say which pixels it has.")
    if (anchor[0] + col0 * res, anchor[1] - row0 * res) != (left, top):
        raise InputError(f"{place} {_OFF_GRID}")
    return Window.from_size(shape[0], shape[1], row0=row0, col0=col0)


class _Closing:
    """A reader of obstore as rasterio wants files to be: closed by a `with`, and of bytes."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __enter__(self) -> _Closing:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def read(self, num_bytes: int = -1) -> bytes:
        return bytes(self._reader.read(num_bytes))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def close(self) -> None:
        self._reader.close()
