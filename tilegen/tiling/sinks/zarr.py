"""ZarrSink: a multiscale Zarr store that xarray, rioxarray and GDAL open with its georeference."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt

from tilegen.atomic import TEMPORARY_SUFFIX, explained, sync_folder, sync_tree
from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import DEFAULT_ZARR, ZarrEncoding
from tilegen.tiling.sinks.manifest import Manifest
from tilegen.tiling.sinks.partial import Partial, require_all_shards
from tilegen.tiling.sinks.zarr_layout import (
    consolidate,
    is_ours,
    lay_out,
    write_remaining_levels,
    write_shard,
)
from tilegen.tiling.sinks.zarr_ledger import Ledger

_UNFINISHED_SUFFIX = ".partial"  # of files that Zarr's LocalStore was writing when its process was killed


@dataclass(frozen=True, kw_only=True)
class ZarrSink:
    """Writes a product to a Zarr store at `path`. Implements `Sink`.

    The store grows in `<path>.partial/store`, where anybody may watch it, and is moved to `path` by `finish`.

    Args:
        path: where the store will be; its folder exists and is shared by client and workers.
        product: what to write.
        encoding: how the store is laid out.
    """

    path: Path
    product: Product
    encoding: ZarrEncoding = DEFAULT_ZARR

    @property
    def disk_copies(self) -> int:
        """Shards are written once, where they stay. See `Sink.disk_copies`."""
        return 1

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Lay out the store, or go on with it. Returns the shards that are in it. See `Sink.begin`."""
        self._require_free_target(overwrite=overwrite)
        self._partial.claim(overwrite=overwrite)
        with explained(self._partial.folder):
            self._lay_out()
            return self._ledger.settle(self.product)

    def write(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Write one shard on every level that it owns, then note that it is done. See `Sink.write`."""
        self._partial.require()
        with explained(self._partial.folder):
            names = write_shard(str(self._store), self.product, self.encoding, shard, pixels)
            self._ledger.note(shard, [Path(name) for name in names])

    def has(self, shard: tuple[int, int]) -> bool:
        """Whether a shard is noted, and its files are there. See `Recalls.has`."""
        return self._ledger.has(shard)

    def finish(self) -> None:
        """Write the smallest levels and consolidated metadata, then move the store. See `Sink.finish`."""
        self._partial.require()
        with explained(self.path):
            require_all_shards(self.product, self._ledger.finished(self.product), self.path)
            write_remaining_levels(str(self._store), self.product, self.encoding)
            consolidate(str(self._store), self.encoding)
            for stray in list(self._store.rglob(f"*{_UNFINISHED_SUFFIX}")):
                stray.unlink(missing_ok=True)
            sync_tree(self._store)
            self._require_free_target(overwrite=self._partial.may_replace())
            self._move_to_target()
        # The product is complete; a late duplicate of a task may still be writing into the folder and keep it alive.
        with suppress(OSError):
            self._partial.discard()

    def _lay_out(self) -> None:
        """Create all groups and arrays, in one step; in a store that exists, every file of theirs anew.

        So nothing is trusted that the ledger does not vouch for.
        """
        draft = self._store.with_name(f"layout{TEMPORARY_SUFFIX}")
        if draft.exists():
            shutil.rmtree(draft)
        lay_out(str(draft), self.product, self.encoding)
        if not self._store.exists():
            draft.rename(self._store)
            return
        for file in [path for path in draft.rglob("*") if path.is_file()]:
            place = self._store / file.relative_to(draft)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
        shutil.rmtree(draft)

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

    @property
    def _partial(self) -> Partial:
        manifest = Manifest(product=self.product, options=self.encoding.options)
        return Partial(target=self.path, manifest=manifest)

    @property
    def _store(self) -> Path:
        return self._partial.folder / "store"

    @property
    def _ledger(self) -> Ledger:
        return Ledger(folder=self._partial.folder / "done", store=self._store)


def _is_our_store(path: Path) -> bool:
    """Whether the root group says that it is synthetic, as ours do, and nothing else lies beside its members."""

    def read(name: str) -> bytes | None:
        return (path / name).read_bytes() if (path / name).is_file() else None

    try:
        return is_ours(read, {entry.name for entry in path.iterdir()})
    except OSError:
        return False
