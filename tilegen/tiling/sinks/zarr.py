"""ZarrSink: a sharded, multiscale Zarr v3 store that xarray, rioxarray and GDAL open with its georeference."""

from __future__ import annotations

import json
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt8
from zarr.codecs import ZstdCodec

from tilegen.atomic import TEMPORARY_SUFFIX, explained, sync_folder, sync_tree
from tilegen.errors import OutputError
from tilegen.geometry.lattice import Lattice
from tilegen.geometry.window import Window
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.overviews import halved, level_window, num_owned_levels
from tilegen.tiling.sinks.partial import Partial, require_all_shards
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
from tilegen.tiling.sinks.zarr_ledger import Ledger

# Level 9 costs 4 times the time for 8 % of the size of noisy imagery.
_COMPRESSOR = ZstdCodec(level=1)
_DIMENSIONS = ("band", "y", "x")


@dataclass(frozen=True, kw_only=True)
class ZarrSink:
    """Writes a product to a Zarr v3 store at `path`. Implements `Sink`.

    The store grows in `<path>.partial/store`, where anybody may watch it, and is moved to `path` by `finish`. The task
    of a shard writes whole Zarr shards of every level that it owns, so no Zarr shard has two writers.

    Args:
        path: where the store will be; its folder exists and is shared by client and workers.
        product: what to write.
    """

    path: Path
    product: Product

    @property
    def disk_copies(self) -> int:
        """Shards are written once, where they stay. See `Sink.disk_copies`."""
        return 1

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Lay out the store, or go on with it. Returns the shards that are in it. See `Sink.begin`."""
        self._require_free_target(overwrite=overwrite)
        self._partial.claim(overwrite=overwrite)
        with explained(self._partial.folder):
            if not self._store.exists():
                self._lay_out()
            return self._ledger.settle(self.product)

    def write(self, shard: tuple[int, int], pixels: UInt8[np.ndarray, "bands rows cols"]) -> None:
        """Write one shard on every level that it owns, then note that it is done. See `Sink.write`."""
        self._partial.require()
        with explained(self._partial.folder):
            for level in range(num_owned_levels(self.product)):
                if level:
                    pixels = halved(pixels)
                corner = Lattice(tile_px=self._shard_px(level)).tile(*shard)
                area = Window.from_size(*pixels.shape[1:], row0=corner.row0, col0=corner.col0)
                self._image(level)[:, *area.within(level_window(self.product, level))] = pixels
            self._ledger.note(shard, self._files(shard))

    def finish(self) -> None:
        """Write the smallest levels and consolidated metadata, then move the store. See `Sink.finish`."""
        self._partial.require()
        with explained(self.path):
            require_all_shards(self.product, self._ledger.finished(self.product), self.path)
            for level in range(num_owned_levels(self.product), self.product.num_levels):
                self._write_level(level)
            with warnings.catch_warnings():
                # Zarr warns that version 3 has not standardised this yet; xarray and GDAL open faster with it.
                warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
                zarr.consolidate_metadata(str(self._store), zarr_format=3)
            sync_tree(self._store)
            self._require_free_target(overwrite=self._partial.may_replace())
            self._move_to_target()
        # The product is complete; a late duplicate of a task may still be writing into the folder and keep it alive.
        with suppress(OSError):
            self._partial.discard()

    def _lay_out(self) -> None:
        """Create all groups and arrays; in one step, so that a store that exists is laid out completely."""
        draft = self._store.with_name(f"layout{TEMPORARY_SUFFIX}")
        if draft.exists():
            shutil.rmtree(draft)
        for level in range(self.product.num_levels):
            attributes = group_attributes(self.product, level) if level else root_attributes(self.product)
            group = zarr.open_group(str(draft), path=group_name(level), mode="w", zarr_format=3, attributes=attributes)
            self._create_image(group, level)
            self._create_coordinates(group, level)
        draft.rename(self._store)

    def _create_image(self, group: zarr.Group, level: int) -> None:
        bands, chunk_px, shard_px = len(self.product.band_names), self.product.chunk_px, self._shard_px(level)
        group.create_array(
            IMAGE_NAME,
            shape=(bands, *self.product.level_shape(level)),
            chunks=(bands, chunk_px, chunk_px),
            shards=(bands, shard_px, shard_px),
            dtype="uint8",
            compressors=_COMPRESSOR,
            fill_value=self.product.nodata,
            dimension_names=_DIMENSIONS,
            attributes=image_attributes(self.product, level),
        )

    def _create_coordinates(self, group: zarr.Group, level: int) -> None:
        """Pixel centres, band numbers and the grid mapping, each in one chunk."""
        rows, cols = self.product.level_shape(level)
        transform = level_transform(self.product, level)
        values: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]] = {
            "x": (
                ("x",),
                transform.c + transform.a * (np.arange(cols) + 0.5),
                axis_attributes(self.product, "x"),
            ),
            "y": (
                ("y",),
                transform.f + transform.e * (np.arange(rows) + 0.5),
                axis_attributes(self.product, "y"),
            ),
            "band": (("band",), np.arange(1, len(self.product.band_names) + 1), {}),
            "spatial_ref": ((), np.array(0), grid_mapping_attributes(self.product, level)),
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

    def _write_level(self, level: int) -> None:
        """Make a level from the one below, one quarter of a shard at a time."""
        below, image = self._image(level - 1), self._image(level)
        everything, below_window = level_window(self.product, level), level_window(self.product, level - 1)
        for tile in Lattice(tile_px=self._shard_px(level)).tiles(everything):
            area = _required(tile.intersection(everything))
            pixels = np.zeros((len(self.product.band_names), *area.shape), np.uint8)
            for quarter in Lattice(tile_px=self._shard_px(level) // 2).tiles(area):
                part = _required(quarter.intersection(area))
                source = Window(row0=2 * part.row0, col0=2 * part.col0, row1=2 * part.row1, col1=2 * part.col1)
                source = _required(source.intersection(below_window))
                pixels[:, *part.within(area)] = halved(np.asarray(below[:, *source.within(below_window)]))
            image[:, *area.within(everything)] = pixels

    def _move_to_target(self) -> None:
        """Put the store at the path. A store that it replaces is moved aside first, and back if that fails."""
        aside = self._partial.folder / "replaced"
        if self.path.exists():
            if aside.exists():
                shutil.rmtree(aside)
            self.path.rename(aside)
            try:
                self._store.rename(self.path)
            except OSError:
                aside.rename(self.path)
                raise
        else:
            self._store.rename(self.path)
        sync_folder(self.path.parent)

    def _require_free_target(self, *, overwrite: bool) -> None:
        """Raises OutputError if something is at the path, unless it is a Zarr group that may be overwritten."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if not overwrite:
            raise OutputError(f"{self.path} exists. Give another name or --overwrite.")
        if self.path.is_symlink() or not _is_our_store(self.path):
            raise OutputError(
                f"{self.path} is not a Zarr store of tilegen. It will not be overwritten; give another name."
            )

    def _shard_px(self, level: int) -> int:
        """Edge of a Zarr shard of a level: halved with the level as long as tasks write it, full size above."""
        return self.product.shard_px >> level if level < num_owned_levels(self.product) else self.product.shard_px

    def _image(self, level: int) -> zarr.Array[Any]:
        path = f"{group_name(level)}/{IMAGE_NAME}".lstrip("/")
        return zarr.open_array(str(self._store), path=path, mode="r+", zarr_format=3)

    def _files(self, shard: tuple[int, int]) -> list[Path]:
        """The files of one shard, one per level that it owns, whether they exist or not."""
        levels = range(num_owned_levels(self.product))
        return [Path(group_name(level), IMAGE_NAME, "c", "0", str(shard[0]), str(shard[1])) for level in levels]

    @property
    def _partial(self) -> Partial:
        return Partial(target=self.path, product=self.product, options={"format": "zarr"})

    @property
    def _store(self) -> Path:
        return self._partial.folder / "store"

    @property
    def _ledger(self) -> Ledger:
        return Ledger(folder=self._partial.folder / "done", store=self._store)


def _is_our_store(path: Path) -> bool:
    """Whether the root group says that it is synthetic, as ours do, and nothing else lies beside its members."""
    try:
        described = json.loads((path / "zarr.json").read_text())
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith("ovr_")}
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(described, dict) or not isinstance(described.get("attributes"), dict):
        return False
    return "synthetic" in described["attributes"] and names <= {
        "zarr.json",
        IMAGE_NAME,
        "band",
        "x",
        "y",
        "spatial_ref",
    }


def _required(window: Window | None) -> Window:
    """`window`, which the caller knows to be there."""
    if window is None:
        raise OutputError("The overview levels do not fit together.")
    return window
