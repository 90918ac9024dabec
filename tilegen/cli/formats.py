"""Options of how a product is stored, named as GIS people know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_COMPRESSIONS = ("deflate", "zstd", "lzw", "jpeg", "webp")
_SIZES = (
    click.option("--chunk", "chunk_px", type=int, default=512, show_default=True, help="Zarr chunk or COG tile, px."),
    click.option(
        "--shard", "shard_px", type=int, default=2048, show_default=True, help="Pixels a task writes, a side."
    ),
)
_ENCODING = (
    click.option(
        "--compress",
        "compression",
        type=click.Choice(_COMPRESSIONS, case_sensitive=False),
        help="Of a COG. deflate and lzw open everywhere; jpeg and webp are lossy.  [default: deflate; Zarr: zstd]",
    ),
    click.option("--level", type=int, help="Effort: 1 to 12 of deflate, 1 to 22 of zstd.  [default: 1]"),
    click.option("--quality", type=click.IntRange(1, 100), help="Of jpeg and webp.  [default: 85]"),
    click.option("--predictor", type=click.IntRange(1, 2), help="2 stores differences, 1 values.  [default: 2]"),
    click.option("--resampling", type=click.Choice(["average", "nearest"]), help="Of overviews.  [default: average]"),
    click.option("--zarr-format", type=click.IntRange(2, 3), help="2 is for old readers.  [default: 3]"),
    click.option("--no-shards", is_flag=True, help="A Zarr store of a file per chunk."),
    click.option("--zarr-layout", "layout", type=click.Choice(["flat", "groups"]), help="Of levels.  [default: flat]"),
)


def storage_options(command: F) -> F:
    """Add the options of storage to a command, which takes them by name."""
    return _with(encoding_only(command), _SIZES)


def encoding_only(command: F) -> F:
    """The same, but for sizes of chunks and shards."""
    return _with(command, _ENCODING)


def _with(command: F, options: tuple[Callable[[F], F], ...]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def encoding_options(given: dict[str, Any]) -> dict[str, Any]:
    """What `open_sink` wants to know of the options that were given, chunks and shards excepted."""
    options = {name: value for name, value in given.items() if name not in {"chunk_px", "shard_px", "no_shards"}}
    return {
        **{name: value for name, value in options.items() if value is not None},
        **({"sharded": False} if given["no_shards"] else {}),
    }
