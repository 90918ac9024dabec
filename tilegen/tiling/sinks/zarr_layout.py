"""What a Zarr store of a product consists of, and how pixels get into it, wherever the store is.

The task of a shard writes whole Zarr shards of every level that it owns, so no Zarr shard has two writers.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt8
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from tilegen.errors import OutputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.overviews import halved, level_window, num_owned_levels
from tilegen.tiling.sinks.zarr_attributes import (
    IMAGE_NAME,
    axis_attributes,
    grid_mapping_attributes,
    group_attributes,
    group_name,
    image_attributes,
    level_transform,
    root_attributes,
)

ROOT_NAME = "zarr.json"
"""The metadata of a group or array. A store without that of its root is none."""

# Level 9 costs 4 times the time for 8 % of the size of noisy imagery.
_COMPRESSOR = ZstdCodec(level=1)
_DIMENSIONS = ("band", "y", "x")
_MEMBERS = {ROOT_NAME, IMAGE_NAME, "band", "x", "y", "spatial_ref"}


def lay_out(store: Store | str, product: Product) -> None:
    """Create all groups and arrays of a product, coordinates included."""
    for level in range(product.num_levels):
        attributes = group_attributes(product, level) if level else root_attributes(product)
        group = zarr.open_group(store, path=group_name(level), mode="w", zarr_format=3, attributes=attributes)
        _create_image(group, product, level)
        _create_coordinates(group, product, level)


def lay_out_shard(store: Store, product: Product) -> None:
    """Create no more than `write_shard` needs."""
    root = zarr.create_group(store, zarr_format=3)
    for level in range(num_owned_levels(product)):
        _create_image(root.create_group(group_name(level)) if level else root, product, level)


def consolidate(store: Store | str) -> None:
    """Repeat all metadata in that of the root."""
    with warnings.catch_warnings():
        # Zarr warns that version 3 has not standardised this yet; xarray and GDAL open faster with it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, zarr_format=3)


def write_shard(
    store: Store | str, product: Product, shard: tuple[int, int], pixels: UInt8[np.ndarray, "bands rows cols"]
) -> None:
    """Write the pixels of one shard on every level that it owns."""
    for level in range(num_owned_levels(product)):
        if level:
            pixels = halved(pixels)
        corner = Lattice(tile_px=_shard_px(product, level)).tile(*shard)
        area = Window.from_size(*pixels.shape[1:], row0=corner.row0, col0=corner.col0)
        _image(store, level)[:, *area.within(level_window(product, level))] = pixels


def shard_files(product: Product, shard: tuple[int, int]) -> list[str]:
    """Names below the store of all files of a shard, one for each level that it owns, whether they exist or not."""
    levels = range(num_owned_levels(product))
    return [f"{_image_path(level)}/c/0/{shard[0]}/{shard[1]}" for level in levels]


def write_remaining_levels(store: Store | str, product: Product) -> None:
    """Make the levels that no shard owns, each from the one below, one quarter of a shard at a time."""
    for level in range(num_owned_levels(product), product.num_levels):
        _write_level(store, product, level)


def is_ours(root: Any, names: Collection[str]) -> bool:
    """Whether a store is one of tilegen's, which may be overwritten.

    Args:
        root: what the metadata of the root says, parsed.
        names: of all that lies in it.
    """
    if not isinstance(root, dict) or not isinstance(root.get("attributes"), dict):
        return False
    return "synthetic" in root["attributes"] and are_members(names)


def are_members(names: Collection[str]) -> bool:
    """Whether things with these names, in the root of a store, may all be tilegen's."""
    return {name for name in names if not name.startswith("ovr_")} <= _MEMBERS


def _create_image(group: zarr.Group, product: Product, level: int) -> None:
    bands, chunk_px, shard_px = len(product.band_names), product.chunk_px, _shard_px(product, level)
    group.create_array(
        IMAGE_NAME,
        shape=(bands, *product.level_shape(level)),
        chunks=(bands, chunk_px, chunk_px),
        shards=(bands, shard_px, shard_px),
        dtype="uint8",
        compressors=_COMPRESSOR,
        fill_value=product.nodata,
        dimension_names=_DIMENSIONS,
        attributes=image_attributes(product, level),
    )


def _create_coordinates(group: zarr.Group, product: Product, level: int) -> None:
    """Pixel centres, band numbers and the grid mapping, each in one chunk."""
    rows, cols = product.level_shape(level)
    transform = level_transform(product, level)
    x = transform.c + transform.a * (np.arange(cols) + 0.5)
    y = transform.f + transform.e * (np.arange(rows) + 0.5)
    values: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]] = {
        "x": (("x",), x, axis_attributes(product, "x")),
        "y": (("y",), y, axis_attributes(product, "y")),
        "band": (("band",), np.arange(1, len(product.band_names) + 1), {}),
        "spatial_ref": ((), np.array(0), grid_mapping_attributes(product, level)),
    }
    for name, (dimensions, numbers, attributes) in values.items():
        array = group.create_array(
            name,
            shape=numbers.shape,
            chunks=numbers.shape,
            dtype=numbers.dtype,
            compressors=_COMPRESSOR,
            dimension_names=dimensions,
            attributes=attributes,
        )
        array[...] = numbers


def _write_level(store: Store | str, product: Product, level: int) -> None:
    below, image = _image(store, level - 1), _image(store, level)
    everything, below_window = level_window(product, level), level_window(product, level - 1)
    for tile in Lattice(tile_px=_shard_px(product, level)).tiles(everything):
        area = _required(tile.intersection(everything))
        pixels = np.zeros((len(product.band_names), *area.shape), np.uint8)
        for quarter in Lattice(tile_px=_shard_px(product, level) // 2).tiles(area):
            part = _required(quarter.intersection(area))
            source = Window(row0=2 * part.row0, col0=2 * part.col0, row1=2 * part.row1, col1=2 * part.col1)
            source = _required(source.intersection(below_window))
            pixels[:, *part.within(area)] = halved(np.asarray(below[:, *source.within(below_window)]))
        image[:, *area.within(everything)] = pixels


def _shard_px(product: Product, level: int) -> int:
    """Edge of a Zarr shard of a level: halved with the level as long as tasks write it, full size above."""
    return product.shard_px >> level if level < num_owned_levels(product) else product.shard_px


def _image(store: Store | str, level: int) -> zarr.Array[Any]:
    return zarr.open_array(store, path=_image_path(level), mode="r+", zarr_format=3)


def _image_path(level: int) -> str:
    return f"{group_name(level)}/{IMAGE_NAME}".lstrip("/")


def _required(window: Window | None) -> Window:
    """`window`, which the caller knows to be there."""
    if window is None:
        raise OutputError("The overview levels do not fit together.")
    return window
