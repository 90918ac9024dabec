"""Where pixels go: one file per format. `open_sink` picks by the suffix of the path."""

from __future__ import annotations

import os
from pathlib import Path

from tilegen.errors import InputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.protocol import Sink


def open_sink(path: str | os.PathLike[str], product: Product) -> Sink:
    """The sink that writes `product` to `path`: a COG for .tif and .tiff, a Zarr store for .zarr.

    Nothing is touched before `begin`. The path is made absolute, since workers may run in other folders.

    Raises:
        InputError: the suffix is none of these, or the path is a URL.
    """
    if "://" in os.fspath(path):
        raise InputError(f"{path} is a URL; tilegen writes to mounted disks. Give a path, and upload the product.")
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
