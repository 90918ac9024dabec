"""What a run will take, known before the first tile: tiles, halo, memory, disk, time."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from tilegen.amounts import amount, duration
from tilegen.errors import BudgetError, OutputError
from tilegen.geometry.halo import HaloPlan
from tilegen.geometry.lattice import Lattice
from tilegen.tiling.product import Product
from tilegen.tiling.render import TileRenderer
from tilegen.tiling.sinks.partial import partial_folder

_OVERVIEW_SHARE = 4 / 3
_PROCESS_BYTES = 500 << 20
"""A worker before its first tile: Python, torch, Dask and the weights."""
_HEAP_PER_BUFFER = 2.5
"""Bytes the heap grows to per byte that a tile needs: the allocator is told to give nothing back (see schedule.py)."""


@dataclass(frozen=True, kw_only=True)
class RenderPlan:
    """The numbers of a run.

    Args:
        product: what is written.
        num_shards: tasks.
        num_tiles: tiles rendered, those at shard borders that are rendered twice included; with an AOI at most so many,
            as one that it meets with its rim alone may have no pixel in it.
        halo: what one tile reads at every layer.
        worker_bytes: estimated peak memory of one worker.
        disk_bytes: estimated peak of disk space, intermediate files included.
        tile_s: seconds one worker needs for one tile, measured; None if not measured.
    """

    product: Product
    num_shards: int
    num_tiles: int
    halo: HaloPlan
    worker_bytes: int
    disk_bytes: int
    tile_s: float | None

    def describe(self, num_workers: int) -> str:
        """The plan for a person."""
        bands, rows, cols = self.product.shape
        xmin, ymin, xmax, ymax = self.product.georef.bounds(self.product.extent)
        unit = self.product.georef.unit
        inside = "" if self.product.aoi is None else ", where the AOI is"
        lines = [
            f"extent     {cols} x {rows} pixels, {bands} bands, {self.product.num_levels} resolution levels",
            f"ground     {self.product.georef.crs}, {self.product.georef.res:g} {unit} per pixel",
            f"bounds     {xmin:.10g} {ymin:.10g} {xmax:.10g} {ymax:.10g}",
            f"lattice    {self.num_tiles} tiles in {self.num_shards} shards of {self.product.shard_px} px{inside}",
            f"memory     about {amount(self.worker_bytes)} per worker, {num_workers} workers",
            f"disk       about {amount(self.disk_bytes)} at the peak",
        ]
        if self.tile_s is not None:
            lines.append(f"time       about {duration(self.num_tiles * self.tile_s / num_workers)}")
        layers = "\n".join(f"  {line}" for line in str(self.halo).splitlines())
        return "\n".join(lines) + f"\nhalo       windows that one tile reads, layer by layer\n{layers}"


def plan_render(
    product: Product, renderer: TileRenderer, *, copies: int, compressed_share: float, measure: bool
) -> RenderPlan:
    """The plan of a run.

    Args:
        copies: how many times the compressed product lies on the disk at the peak (2 for COG parts and file).
        compressed_share: bytes on the disk per byte of pixels, of one copy.
        measure: render one tile to estimate the time.
    """
    lattice, extent = renderer.lattice, product.extent
    pixel_bytes = len(product.band_names) * np.dtype(product.dtype).itemsize
    raw_bytes = pixel_bytes * product.num_pixels
    shard_bytes = pixel_bytes * min(product.shard_px, extent.height) * min(product.shard_px, extent.width)
    tile_s = None
    if measure:
        tile = next(lattice.tiles(product.extent))
        renderer.render_tile(tile)
        started = time.perf_counter()
        renderer.render_tile(tile)
        tile_s = time.perf_counter() - started
    return RenderPlan(
        product=product,
        num_shards=product.num_shards,
        num_tiles=_num_tiles(product, lattice),
        halo=renderer.halo_plan(),
        worker_bytes=_PROCESS_BYTES + int(_HEAP_PER_BUFFER * renderer.tile_bytes()) + 3 * shard_bytes,
        disk_bytes=int(raw_bytes * _OVERVIEW_SHARE * compressed_share * copies),
        tile_s=tile_s,
    )


def _num_tiles(product: Product, lattice: Lattice) -> int:
    """Tiles that all shards meet, added up; those that the AOI does not meet are not drawn."""
    extent, shard_px = product.extent, product.shard_px
    if product.aoi is None:
        return lattice.count_in_blocks(extent, shard_px)
    span = lattice.indices(extent)
    rows = np.arange(span.row0 + 1, span.row1) * lattice.tile_px + lattice.row0
    cols = np.arange(span.col0 + 1, span.col1) * lattice.tile_px + lattice.col0
    # What a shard shows of a tile is a cell between the borders of both.
    rows = np.union1d(np.append(np.arange(extent.row0, extent.row1, shard_px), extent.row1), rows)
    cols = np.union1d(np.append(np.arange(extent.col0, extent.col1, shard_px), extent.col1), cols)
    return int(product.aoi.meets(rows, cols).sum())


def check_budget(plan: RenderPlan, target: Path | None, num_workers: int) -> None:
    """Refuse what cannot fit, before anything is written.

    Args:
        target: path of the product; what an interrupted run has left there counts as space that is free. None if it is
            on no disk of this machine.
        num_workers: workers on this machine.

    Raises:
        OutputError: the folder of `target` does not exist.
        BudgetError: too little disk there, or too little memory for the workers.
    """
    if target is not None:
        _check_disk(plan, target.absolute())
    needed_bytes, memory_bytes = plan.worker_bytes * num_workers, psutil.virtual_memory().available
    if needed_bytes > memory_bytes:
        raise BudgetError(
            f"{num_workers} workers need about {amount(needed_bytes)} of memory, {amount(memory_bytes)} are free. "
            "Use fewer --workers or a smaller --shard."
        )


def _check_disk(plan: RenderPlan, target: Path) -> None:
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} does not exist. Create it, or give another path.")
    unfinished = partial_folder(target)
    written_bytes = sum(path.lstat().st_size for path in unfinished.rglob("*"))
    free_bytes = shutil.disk_usage(folder).free + written_bytes
    if plan.disk_bytes > free_bytes:
        raise BudgetError(
            f"The product needs about {amount(plan.disk_bytes)} of disk, {folder} has {amount(free_bytes)}. "
            "Ask for a smaller --size or write to another disk."
        )
