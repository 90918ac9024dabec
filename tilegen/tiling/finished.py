"""Finished products, on a disk or in an object store: opened to be read, and what they say understood."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.session import DummySession
from zarr.abc.store import Store

from tilegen.errors import InputError, OutputError
from tilegen.geometry.window import Window
from tilegen.tiling.sinks.remote.address import Address, is_url

_NAME = "bucket/product.tif"  # for GDAL, which looks for neighbours of what it opens


@contextmanager
def opened_tiff(product: Path | str) -> Iterator[Any]:
    """A GeoTIFF for rasterio.

    Raises:
        OutputError: the object store refuses. RasterioIOError: there is no GeoTIFF.
    """
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


def is_store(product: Path | str) -> bool:
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


def anchor_of(said: Mapping[str, Any]) -> tuple[float, float]:
    """Where pixel (0, 0) of its world lies, by the provenance of a product."""
    x, y = said.get("grid_anchor", (0.0, 0.0))
    return float(x), float(y)


def extent_of(
    place: Path | str, shape: Sequence[int], transform: Sequence[float], anchor: tuple[float, float]
) -> Window:
    """Absolute pixels of a product, whose corner is at (col, -row) times the pixel size from the anchor.

    Args:
        place: of the product, for the error.
        shape: (rows, cols).
        transform: coefficients of its affine transform, row by row.
        anchor: where pixel (0, 0) of its world lies.

    Raises:
        InputError: the corner is between pixels, or so far away that a float does not say which.
    """
    res, left, top = float(transform[0]), float(transform[2]), float(transform[5])
    corner = round((anchor[1] - top) / res), round((left - anchor[0]) / res)
    if (anchor[0] + corner[1] * res, anchor[1] - corner[0] * res) != (left, top) or max(map(abs, corner)) >= 1 << 53:
        raise InputError(f"{place} does not lie on the grid of a world. Was it moved?")
    return Window.from_size(shape[0], shape[1], row0=corner[0], col0=corner[1])


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
