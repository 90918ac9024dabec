"""RemoteZarrSink: the same store as ZarrSink writes, directly to its place in an object store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import DEFAULT_ZARR, ZarrEncoding
from tilegen.tiling.sinks.manifest import Manifest
from tilegen.tiling.sinks.partial import require_all_shards
from tilegen.tiling.sinks.remote.address import Address
from tilegen.tiling.sinks.remote.bucket import Bucket, Stored, opened_bucket
from tilegen.tiling.sinks.remote.partial import RemotePartial
from tilegen.tiling.sinks.zarr_layout import (
    ROOT_NAMES,
    are_members,
    consolidate,
    is_ours,
    is_zarr,
    lay_out,
    lay_out_shard,
    shard_files,
    write_remaining_levels,
    write_shard,
)


@dataclass(frozen=True, kw_only=True)
class RemoteZarrSink:
    """Writes a product to a Zarr store at `address`. Implements `Sink`.

    Nothing is ever moved, as object stores cannot: shards are written where they stay, and the metadata of the root,
    without which there is no store to be seen, come last, in one step. A store that is overwritten goes first.

    Args:
        address: where the store will be; client and workers have access to it, each on its own account.
        product: what to write.
        encoding: how the store is laid out.
    """

    address: Address
    product: Product
    encoding: ZarrEncoding = DEFAULT_ZARR

    @property
    def disk_copies(self) -> int:
        """Shards are written once, where they stay. See `Sink.disk_copies`."""
        return 1

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Claim the place, or go on there. Returns the shards that are in it. See `Sink.begin`."""
        self._bucket.require(self.address)
        found = self._bucket.listed(self.address.prefix)
        self._require_free_target(found, overwrite=overwrite)
        self._partial.claim(overwrite=overwrite, is_free=not found or is_zarr(found))
        if is_zarr(found):
            # Without its root the old store is gone for every reader before its pixels go.
            self._delete(found.keys() & set(ROOT_NAMES))
            self._partial.forget()
        finished = self._finished(found)
        vouched_for = {name for shard in finished for name in shard_files(self.product, self.encoding, shard)}
        self._delete(found.keys() - vouched_for)
        return finished

    def write(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Write one shard on every level that it owns, then note that it is done. See `Sink.write`."""
        self._partial.require()
        content: dict[str, Buffer] = {}
        store = MemoryStore(content)
        lay_out_shard(store, self.product, self.encoding)
        names = write_shard(store, self.product, self.encoding, shard, pixels)
        self._partial.note(shard, {name: self._put(name, content[name]) for name in names})

    def finish(self) -> None:
        """Write the smallest levels and all metadata, that of the root last. See `Sink.finish`."""
        self._partial.require()
        finished = self._finished(self._bucket.listed(self.address.prefix))
        require_all_shards(self.product, finished, str(self.address))
        content: dict[str, Buffer] = {}
        draft = MemoryStore(content)
        lay_out(draft, self.product, self.encoding)
        consolidate(draft, self.encoding)
        root = {name: content.pop(name) for name in ROOT_NAMES if name in content}
        for name, value in content.items():
            self._put(name, value)
        with self._bucket.zarr_store(self.address, read_only=False) as store:
            write_remaining_levels(store, self.product, self.encoding)
        # Somebody may have written to the place since the run began.
        if self._has_root() and not self._partial.may_replace():
            raise OutputError(f"{self.address} exists. Give another name or --overwrite.")
        for name, value in root.items():
            self._put(name, value)
        with suppress(OSError):  # the product is complete, with or without notes about it
            self._partial.discard()

    def _has_root(self) -> bool:
        return any(self._bucket.found(self.address.prefix + name) is not None for name in ROOT_NAMES)

    def _put(self, name: str, value: Buffer) -> Stored:
        return self._bucket.put(self.address.prefix + name, value.to_bytes())

    def _delete(self, names: set[str]) -> None:
        self._bucket.delete(self.address.prefix + name for name in sorted(names))

    def _finished(self, found: Mapping[str, Stored]) -> set[tuple[int, int]]:
        """The shards of which everything that was noted is in `found`, and nothing else."""
        objects: dict[tuple[int, int], dict[str, Stored]] = defaultdict(dict)
        for shard in self.product.shard_indices:
            for name in shard_files(self.product, self.encoding, shard):
                if name in found:
                    objects[shard][name] = found[name]
        return self._partial.finished(objects)

    def _require_free_target(self, found: Mapping[str, Stored], *, overwrite: bool) -> None:
        """Raises OutputError if there is a store, or one object, at the address that may not be overwritten."""
        is_object = self._bucket.found(self.address.key) is not None
        if not are_members(names := {name.partition("/")[0] for name in found}):
            raise OutputError(f"{self.address} is in the way and was not made by tilegen. Give another name.")
        if not is_object and not is_zarr(found):
            return
        if not overwrite:
            raise OutputError(f"{self.address} exists. Give another name or --overwrite.")
        if is_object or not is_ours(lambda name: self._bucket.read(self.address.prefix + name), names):
            raise OutputError(
                f"{self.address} is not a Zarr store of tilegen. It will not be overwritten; give another name."
            )

    @property
    def _partial(self) -> RemotePartial:
        manifest = Manifest(product=self.product, options=self.encoding.options)
        return RemotePartial(target=self.address, manifest=manifest)

    @property
    def _bucket(self) -> Bucket:
        return opened_bucket(self.address.bucket)
