"""CogSink: one Cloud-Optimized GeoTIFF, written by many workers and joined at the end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt

from tilegen.atomic import explained, sync_folder
from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.cog_assembly import assemble
from tilegen.tiling.sinks.cog_folder import PartFolder
from tilegen.tiling.sinks.encoding import DEFAULT_COG, CogEncoding
from tilegen.tiling.sinks.geo_keys import geo_fields
from tilegen.tiling.sinks.manifest import Manifest
from tilegen.tiling.sinks.partial import Partial, require_all_shards

_ASSEMBLED_NAME = "assembled.tif"
_LARGEST_SIDE_PX = (1 << 31) - 1  # GDAL counts rows and columns in signed 32 bits
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, kw_only=True)
class CogSink:
    """Writes a product to a COG at `path`. Implements `Sink`.

    Workers write compressed parts to `<path>.partial/`; `finish` adds the smallest overviews, copies the parts into
    one file and moves it to `path`. Parts and product are on the disk together for a moment: twice the space.

    Args:
        path: where the product will be; its folder exists and is shared by client and workers.
        product: what to write.
        encoding: how its tiles are stored.
    """

    path: Path
    product: Product
    encoding: CogEncoding = DEFAULT_COG

    @property
    def disk_copies(self) -> int:
        """Parts and the joined file. See `Sink.disk_copies`."""
        return 2

    def begin(self, *, overwrite: bool) -> set[tuple[int, int]]:
        """Claim the folder of parts. Returns the shards whose parts are intact. See `Sink.begin`."""
        require_expressible(self.product, self.encoding)
        self._require_free_target(overwrite=overwrite)
        self._partial.claim(overwrite=overwrite)
        with explained(self._partial.folder):
            return self._parts.settle()

    def write(self, shard: tuple[int, int], pixels: UInt[np.ndarray, "bands rows cols"]) -> None:
        """Write the part of one shard. See `Sink.write`."""
        self._partial.require()
        self._parts.write_shard(shard, pixels)

    def has(self, shard: tuple[int, int]) -> bool:
        """Whether the part of a shard is there. See `Recalls.has`."""
        return self._parts.shard(shard) is not None

    def finish(self) -> None:
        """Join the parts and move the product to its path. See `Sink.finish`."""
        self._partial.require()
        with explained(self.path):
            require_all_shards(self.product, self._parts.finished(), self.path)
            self._parts.write_remaining_levels()
            assembled = self._partial.folder / _ASSEMBLED_NAME
            assemble(self._parts, assembled)
            # Somebody may have written to the path since the run began.
            self._require_free_target(overwrite=self._partial.may_replace())
            assembled.replace(self.path)
            sync_folder(self.path.parent)
        # The product is complete; a late duplicate of a task may still be writing into the folder and keep it alive.
        with suppress(OSError):
            self._partial.discard()

    def _require_free_target(self, *, overwrite: bool) -> None:
        """Raises OutputError if something is at the path, unless it is a TIFF that may be overwritten."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if not overwrite:
            raise OutputError(f"{self.path} exists. Give another name or --overwrite.")
        if self.path.is_symlink() or not self.path.is_file():
            raise OutputError(f"{self.path} is not a file. It will not be overwritten; give another name.")
        with explained(self.path), self.path.open("rb") as file:
            if file.read(4) not in TIFF_MAGIC:
                raise OutputError(f"{self.path} is not a GeoTIFF. It will not be overwritten; give another name.")

    @property
    def _partial(self) -> Partial:
        manifest = Manifest(product=self.product, options=self.encoding.options)
        return Partial(target=self.path, manifest=manifest)

    @property
    def _parts(self) -> PartFolder:
        return PartFolder(folder=self._partial.folder, product=self.product, encoding=self.encoding)


def require_expressible(product: Product, encoding: CogEncoding) -> None:
    """Pass if a GeoTIFF can hold the product; asked before anything is rendered.

    Raises:
        OutputError: it is too large, or GeoTIFF has no words for its CRS. InputError: its pixels cannot be so encoded.
    """
    encoding.check_product(product)
    if max(product.extent.shape) > _LARGEST_SIDE_PX:
        raise OutputError(f"A GeoTIFF has at most {_LARGEST_SIDE_PX} pixels a side. Write .zarr instead.")
    geo_fields(product)
