"""RemoteCogSink: the same file as CogSink writes, made of parts in an object store and uploaded as it is joined."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import UInt

from tilegen.atomic import explained
from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog import TIFF_MAGIC, require_expressible
from tilegen.tiling.sinks.cog_assembly import Assembly
from tilegen.tiling.sinks.cog_folder import PartFolder, part_name
from tilegen.tiling.sinks.encoding import DEFAULT_COG, CogEncoding
from tilegen.tiling.sinks.manifest import Manifest
from tilegen.tiling.sinks.partial import require_all_shards
from tilegen.tiling.sinks.remote.address import Address
from tilegen.tiling.sinks.remote.bucket import Bucket, Stored, opened_bucket
from tilegen.tiling.sinks.remote.cog_upload import RemoteParts, upload_part_bytes
from tilegen.tiling.sinks.remote.partial import RemotePartial

_PARTS = "parts/"


@dataclass(frozen=True, kw_only=True)
class RemoteCogSink:
    """Writes a product to a COG at `address`. Implements `Sink`.

    Workers put compressed parts below `<address>.partial/`; `finish` reads them in the order of the COG and uploads
    them in one go, which shows nothing before it is complete. Parts and product are in the store together for a moment.

    Args:
        address: where the product will be; client and workers have access to it, each on its own account.
        product: what to write.
        encoding: how its tiles are stored.
    """

    address: Address
    product: Product
    encoding: CogEncoding = DEFAULT_COG

    @property
    def disk_copies(self) -> int:
        """Parts and the joined file. See `Sink.disk_copies`."""
        return 2

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Claim the place of the parts. Returns the shards whose parts are there. See `Sink.begin`."""
        self._bucket.require(self.address)
        require_expressible(self.product, self.encoding)
        self._require_free_target(overwrite=overwrite)
        self._partial.claim(overwrite=overwrite, is_free=True)
        found = self._bucket.listed(self._parts_prefix)
        finished = self._finished(found)
        vouched_for = {part_name(shard) for shard in finished}
        self._bucket.delete(self._parts_prefix + name for name in found if name not in vouched_for)
        return finished

    def write(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Put the part of one shard, then note that it is done. See `Sink.write`."""
        self._partial.require()
        with TemporaryDirectory(prefix="tilegen-") as folder, explained(Path(folder)):
            self._parts(Path(folder)).write_shard(shard, pixels)
            (part,) = Path(folder).iterdir()
            name, content = part.name, part.read_bytes()
        self._partial.note(shard, {name: self._bucket.put(self._parts_prefix + name, content)})

    def finish(self) -> None:
        """Join the parts into one upload. See `Sink.finish`."""
        self._partial.require()
        found = self._bucket.listed(self._parts_prefix)
        require_all_shards(self.product, self._finished(found), str(self.address))
        with TemporaryDirectory(prefix="tilegen-") as folder, explained(Path(folder)):
            twins = self._parts(Path(folder))
            parts = RemoteParts(bucket=self._bucket, prefix=self._parts_prefix, twins=twins)
            parts.fetch({name: stored.num_bytes for name, stored in found.items()})
            twins.write_remaining_levels()
            assembly = Assembly.of(twins)
            # Somebody may have written to the place since the run began.
            self._require_free_target(overwrite=self._partial.may_replace())
            blocks = parts.blocks(assembly)
            self._bucket.upload(self.address.key, blocks, upload_part_bytes(assembly.num_bytes))
        with suppress(OSError):  # the product is complete, with or without parts beside it
            self._partial.discard()

    def _require_free_target(self, *, overwrite: bool) -> None:
        """Raises OutputError if something is at the address, unless it is a TIFF that may be overwritten."""
        found = self._bucket.found(self.address.key)
        if found is None:
            return
        if not overwrite:
            raise OutputError(f"{self.address} exists. Give another name or --overwrite.")
        if found.num_bytes < 4 or self._bucket.read_range(self.address.key, 0, 4) not in TIFF_MAGIC:
            raise OutputError(f"{self.address} is not a GeoTIFF. It will not be overwritten; give another name.")

    def _finished(self, found: Mapping[str, Stored]) -> set[tuple[int, int]]:
        """The shards whose parts in `found` are those that were noted."""
        objects = {
            shard: {name: found[name]} for shard in self.product.shard_indices if (name := part_name(shard)) in found
        }
        return self._partial.finished(objects)

    @property
    def _parts_prefix(self) -> str:
        return self._partial.address.prefix + _PARTS

    def _parts(self, folder: Path) -> PartFolder:
        return PartFolder(folder=folder, product=self.product, encoding=self.encoding)

    @property
    def _partial(self) -> RemotePartial:
        manifest = Manifest(product=self.product, options=self.encoding.options)
        return RemotePartial(target=self.address, manifest=manifest)

    @property
    def _bucket(self) -> Bucket:
        return opened_bucket(self.address.bucket)
