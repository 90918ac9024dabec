"""What a Zarr store of a product consists of, and how pixels get into it, wherever the store is.

The task of a shard writes whole Zarr shards of every level that it owns, so no Zarr shard has two writers.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from tilegen.errors import OutputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import ZarrEncoding
from tilegen.tiling.sinks.overviews import chunk_span, level_window, num_owned_levels, reduced
from tilegen.tiling.sinks.zarr_attributes import (
    IMAGE_NAME,
    axis_attributes,
    grid_mapping_attributes,
    group_attributes,
    image_attributes,
    image_path,
    level_transform,
    root_attributes,
)

ROOT_NAMES = (".zattrs", ".zmetadata", ".zgroup", "zarr.json")
"""The metadata of the root, of both versions; a store without them is none. They are written in this order."""

_ROOTS = {"zarr.json", ".zgroup"}
_DIMENSIONS = ("band", "y", "x")
_MEMBERS = re.compile(rf"zarr\.json|\.z(attrs|group|metadata)|{IMAGE_NAME}|band|x|y|spatial_ref|ovr_\d+x|\d{{1,2}}")


def lay_out(store: Store | str, product: Product, encoding: ZarrEncoding) -> None:
    """Create all groups and arrays of a product, coordinates included."""
    version: Any = encoding.zarr_format
    root = zarr.open_group(store, mode="w", zarr_format=version, attributes=root_attributes(product, encoding))
    for level in range(product.num_levels):
        name, attributes = encoding.group_name(level), group_attributes(product, level)
        group = root.create_group(name, attributes=attributes) if name else root
        _create_image(group, product, encoding, level)
        _create_coordinates(group, product, encoding, level)


def lay_out_shard(store: Store, product: Product, encoding: ZarrEncoding) -> None:
    """Create no more than `write_shard` needs."""
    version: Any = encoding.zarr_format
    root = zarr.create_group(store, zarr_format=version)
    for level in range(num_owned_levels(product)):
        name = encoding.group_name(level)
        _create_image(root.create_group(name) if name else root, product, encoding, level)


def consolidate(store: Store | str, encoding: ZarrEncoding) -> None:
    """Repeat all metadata in that of the root."""
    version: Any = encoding.zarr_format
    with warnings.catch_warnings():
        # Zarr warns that version 3 has not standardised this yet; xarray and GDAL open faster with it.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(store, zarr_format=version)


def write_shard(
    store: Store | str,
    product: Product,
    encoding: ZarrEncoding,
    shard: tuple[int, int],
    pixels: UInt[np.ndarray, "bands rows cols"],
) -> list[str]:
    """Write the pixels of one shard on every level that it owns.

    Returns:
        Names of the files that hold them: Zarr stores nothing for a file's worth of nodata.
    """
    names = []
    for level in range(num_owned_levels(product)):
        if level:
            pixels = reduced(pixels, encoding.resampling)
        corner = Lattice(tile_px=product.shard_px >> level).tile(*shard)
        area = Window.from_size(*pixels.shape[1:], row0=corner.row0, col0=corner.col0)
        _image(store, encoding, level)[:, *area.within(level_window(product, level))] = pixels
        for row, col in _file_indices(product, encoding, shard, level):
            file = Lattice(tile_px=_file_px(product, encoding, level)).tile(row, col).intersection(area)
            if file is not None and pixels[:, *file.within(area)].any():
                names.append(_file_name(encoding, level, row, col))
    return names


def shard_files(product: Product, encoding: ZarrEncoding, shard: tuple[int, int]) -> list[str]:
    """Names below the store of all files of a shard on the levels that it owns, whether they exist or not."""
    return [
        _file_name(encoding, level, row, col)
        for level in range(num_owned_levels(product))
        for row, col in _file_indices(product, encoding, shard, level)
    ]


def write_remaining_levels(store: Store | str, product: Product, encoding: ZarrEncoding) -> None:
    """Make the levels that no shard owns, each from the one below, one quarter of a shard at a time."""
    for level in range(num_owned_levels(product), product.num_levels):
        _write_level(store, product, encoding, level)


def is_ours(read: Callable[[str], bytes | None], names: Collection[str]) -> bool:
    """Whether a store is one of tilegen's, which may be overwritten.

    Args:
        read: the content of a file in the root, None if there is none.
        names: of all that lies in it.
    """
    for name in ("zarr.json", ".zattrs"):
        try:
            said = json.loads(read(name) or b"null")
        except (ValueError, RecursionError):
            continue
        if name == "zarr.json" and isinstance(said, dict):
            said = said.get("attributes")
        if isinstance(said, dict) and "synthetic" in said:
            return are_members(names)
    return False


def is_zarr(names: Collection[str]) -> bool:
    """Whether things with these names make a store, of either version."""
    return not _ROOTS.isdisjoint(names)


def are_members(names: Collection[str]) -> bool:
    """Whether things with these names, in the root of a store, may all be tilegen's."""
    return all(_MEMBERS.fullmatch(name) for name in names)


def _create_image(group: zarr.Group, product: Product, encoding: ZarrEncoding, level: int) -> None:
    bands, file_px = len(product.band_names), _file_px(product, encoding, level)
    attributes = image_attributes(product, level)
    if encoding.zarr_format == 2:
        attributes["_CRS"] = {"wkt": product.georef.wkt}  # GDAL 3.6, which QGIS of Debian 12 has, finds it nowhere else
    _create_array(
        group,
        encoding,
        IMAGE_NAME,
        _DIMENSIONS,
        attributes,
        shape=(bands, *product.level_shape(level)),
        chunks=(bands, product.chunk_px, product.chunk_px),
        shards=(bands, file_px, file_px) if encoding.has_shards else None,
        dtype=product.dtype,
        fill_value=product.nodata,
    )


def _create_array(
    group: zarr.Group,
    encoding: ZarrEncoding,
    name: str,
    dimensions: tuple[str, ...],
    attributes: dict[str, Any],
    **options: Any,
) -> zarr.Array[Any]:
    if encoding.zarr_format == 2:
        options |= {
            "compressors": {"id": "zstd", "level": encoding.used_level},
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
            # xarray's word for the names of dimensions, which GDAL reads, too
            "attributes": {**attributes, "_ARRAY_DIMENSIONS": list(dimensions)},
        }
    else:
        options |= {"compressors": ZstdCodec(level=encoding.used_level), "dimension_names": dimensions}
        options["attributes"] = attributes
    return group.create_array(name, **options)


def _create_coordinates(group: zarr.Group, product: Product, encoding: ZarrEncoding, level: int) -> None:
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
        options = {"shape": numbers.shape, "chunks": numbers.shape, "dtype": numbers.dtype}
        _create_array(group, encoding, name, dimensions, attributes, **options)[...] = numbers


def _write_level(store: Store | str, product: Product, encoding: ZarrEncoding, level: int) -> None:
    below, image = _image(store, encoding, level - 1), _image(store, encoding, level)
    everything, below_window = level_window(product, level), level_window(product, level - 1)
    for tile in Lattice(tile_px=product.shard_px).tiles(everything):
        area = _required(tile.intersection(everything))
        pixels = np.zeros((len(product.band_names), *area.shape), product.dtype)
        for quarter in Lattice(tile_px=product.shard_px // 2).tiles(area):
            part = _required(quarter.intersection(area))
            source = Window(row0=2 * part.row0, col0=2 * part.col0, row1=2 * part.row1, col1=2 * part.col1)
            source = _required(source.intersection(below_window))
            found = np.asarray(below[:, *source.within(below_window)])
            pixels[:, *part.within(area)] = reduced(found, encoding.resampling)
        image[:, *area.within(everything)] = pixels


def _file_px(product: Product, encoding: ZarrEncoding, level: int) -> int:
    """Edge of what one file holds: a chunk, or a Zarr shard, halved with the level as long as tasks write it."""
    if not encoding.has_shards:
        return product.chunk_px
    return product.shard_px >> level if level < num_owned_levels(product) else product.shard_px


def _file_indices(
    product: Product, encoding: ZarrEncoding, shard: tuple[int, int], level: int
) -> list[tuple[int, int]]:
    """(row, col) of the files of a shard on one level that it owns."""
    if encoding.has_shards:
        return [shard]
    chunks = Lattice(tile_px=(product.shard_px // product.chunk_px) >> level).tile(*shard)
    chunks = _required(chunks.intersection(chunk_span(product, level)))
    return [(row, col) for row in range(chunks.row0, chunks.row1) for col in range(chunks.col0, chunks.col1)]


def _file_name(encoding: ZarrEncoding, level: int, row: int, col: int) -> str:
    prefix = "c/" if encoding.zarr_format == 3 else ""
    return f"{image_path(encoding, level)}/{prefix}0/{row}/{col}"


def _image(store: Store | str, encoding: ZarrEncoding, level: int) -> zarr.Array[Any]:
    version: Any = encoding.zarr_format
    return zarr.open_array(store, path=image_path(encoding, level), mode="r+", zarr_format=version)


def _required(window: Window | None) -> Window:
    """`window`, which the caller knows to be there."""
    if window is None:
        raise OutputError("The overview levels do not fit together.")
    return window
