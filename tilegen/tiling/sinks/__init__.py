"""Where pixels go: one file per format. `open_sink` picks by the suffix of the path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tilegen.errors import InputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import cog_encoding, zarr_encoding
from tilegen.tiling.sinks.protocol import Sink
from tilegen.tiling.sinks.remote.address import Address, is_url


def open_sink(
    path: str | os.PathLike[str], product: Product, options: Mapping[str, Any] = MappingProxyType({})
) -> Sink:
    """The sink that writes `product` to `path`: a COG for .tif and .tiff, a Zarr store for .zarr.

    Nothing is touched before `begin`. A path of a disk is made absolute, since workers may run in other folders.

    Args:
        path: of a disk, or s3://BUCKET/NAME.
        product: what to write.
        options: how it is stored, named as the fields of `CogEncoding` and `ZarrEncoding`.

    Raises:
        InputError: the suffix is none of these, the address is none of S3, or the options do not fit the format.
    """
    if is_url(path):
        return _open_remote_sink(Address.parse(os.fspath(path)), product, options)
    target = Path(path).absolute()
    match target.suffix.lower():
        case ".tif" | ".tiff":
            from tilegen.tiling.sinks.cog import CogSink

            return CogSink(path=target, product=product, encoding=cog_encoding(options))
        case ".zarr":
            from tilegen.tiling.sinks.zarr import ZarrSink

            return ZarrSink(path=target, product=product, encoding=zarr_encoding(options))
        case suffix:
            raise InputError(f"{path} ends in {suffix!r}. Give a name that ends in .tif, .tiff or .zarr.")


def _open_remote_sink(address: Address, product: Product, options: Mapping[str, Any]) -> Sink:
    match address.suffix.lower():
        case ".tif" | ".tiff":
            from tilegen.tiling.sinks.remote.cog import RemoteCogSink

            return RemoteCogSink(address=address, product=product, encoding=cog_encoding(options))
        case ".zarr":
            from tilegen.tiling.sinks.remote.zarr import RemoteZarrSink

            return RemoteZarrSink(address=address, product=product, encoding=zarr_encoding(options))
        case suffix:
            raise InputError(f"{address} ends in {suffix!r}. Give a name that ends in .tif, .tiff or .zarr.")


def require_unfinished(path: str | os.PathLike[str]) -> None:
    """Raises OutputError unless a run was begun at `path` and did not finish; which one, `Sink.begin` asks."""
    if is_url(path):
        from tilegen.tiling.sinks.remote.partial import require_remote_unfinished

        require_remote_unfinished(Address.parse(os.fspath(path)))
    else:
        from tilegen.tiling.sinks import partial

        partial.require_unfinished(Path(path).absolute())
