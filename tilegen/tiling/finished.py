"""Finished products, opened to be read, whether they are on a disk or in an object store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.session import DummySession
from zarr.abc.store import Store

from tilegen.errors import OutputError
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
