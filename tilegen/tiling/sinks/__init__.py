"""Where pixels go: one file per format. `open_sink` picks by the suffix of the path."""

from __future__ import annotations

import os
from pathlib import Path

from tilegen.errors import InputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.protocol import Sink
from tilegen.tiling.sinks.remote.address import Address, is_url


def open_sink(path: str | os.PathLike[str], product: Product) -> Sink:
    """The sink that writes `product` to `path`: a COG for .tif and .tiff, a Zarr store for .zarr.

    Nothing is touched before `begin`. A path of a disk is made absolute, since workers may run in other folders.

    Args:
        path: of a disk, or s3://BUCKET/NAME.

    Raises:
        InputError: the suffix is none of these, or the address is none of S3.
    """
    if is_url(path):
        return _open_remote_sink(Address.parse(os.fspath(path)), product)
    target = Path(path).absolute()
    match target.suffix.lower():
        case ".tif" | ".tiff":
            from tilegen.tiling.sinks.cog import CogSink

            return CogSink(path=target, product=product)
        case ".zarr":
            from tilegen.tiling.sinks.zarr import ZarrSink

            return ZarrSink(path=target, product=product)
        case suffix:
            raise InputError(f"{path} ends in {suffix!r}. Give a name that ends in .tif, .tiff or .zarr.")


def _open_remote_sink(address: Address, product: Product) -> Sink:
    match address.suffix.lower():
        case ".tif" | ".tiff":
            from tilegen.tiling.sinks.remote.cog import RemoteCogSink

            return RemoteCogSink(address=address, product=product)
        case ".zarr":
            from tilegen.tiling.sinks.remote.zarr import RemoteZarrSink

            return RemoteZarrSink(address=address, product=product)
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
