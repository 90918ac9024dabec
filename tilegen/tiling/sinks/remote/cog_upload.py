"""Joins parts in an object store into one COG there: their bytes are read in its order, and uploaded as they come.

No server copies ranges of less than 5 MiB into an object (Amazon S3 API Reference, UploadPartCopy), and a row of tiles
of one shard is smaller. So the bytes pass through the client, a few MiB at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from tilegen.errors import OutputError
from tilegen.tiling.sinks.cog_assembly import Assembly
from tilegen.tiling.sinks.cog_folder import PartFolder, part_name
from tilegen.tiling.sinks.cog_parts import Part, PartLayout, framed_sizes, index_length
from tilegen.tiling.sinks.overviews import num_owned_levels
from tilegen.tiling.sinks.remote.bucket import Bucket

T = TypeVar("T")

_SHARD = "shard-"
_READS_AT_ONCE = 8
_FOOTER_BYTES = 1024  # and more than it takes
_LEAST_UPLOAD_PART_BYTES = 16 << 20
_MOST_UPLOAD_PARTS = 9000  # of 10 000 that S3 allows


@dataclass(frozen=True, kw_only=True)
class RemoteParts:
    """The parts of a product in a bucket, and what the client has of them.

    Args:
        bucket: where they are.
        prefix: what their keys begin with.
        twins: parts on the disk of this machine, with the same names and lengths, but full of holes: `fetch` fills in
            what overviews and headers are made of, a twentieth of the product where a shard has 4 x 4 chunks.
    """

    bucket: Bucket
    prefix: str
    twins: PartFolder

    def fetch(self, sizes_bytes: Mapping[str, int]) -> None:
        """Make the twins.

        Args:
            sizes_bytes: length of every part in the bucket, by name.

        Raises:
            OutputError: a part is damaged, the store refuses, or the disk is full.
        """
        with ThreadPoolExecutor(_READS_AT_ONCE) as executor:
            jobs = (partial(self._fetch, shard, sizes_bytes) for shard in self.twins.product.shard_indices)
            for _ in _in_order(executor, jobs):
                pass

    def blocks(self, assembly: Assembly) -> Iterator[bytes]:
        """All bytes of the COG, in order. Holds a few rows of tiles of single shards."""
        yield assembly.header
        num_bytes = len(assembly.header)
        with ThreadPoolExecutor(_READS_AT_ONCE) as executor:
            for block in _in_order(executor, self._reads()):
                num_bytes += len(block)
                yield block
        if num_bytes != assembly.num_bytes:
            raise OutputError("The parts of the product changed while they were read. Run the same command again.")

    def _fetch(self, shard: tuple[int, int], sizes_bytes: Mapping[str, int]) -> None:
        """Make the twin of one shard: its index, and the tile of its smallest level, which is the last."""
        product, name = self.twins.product, part_name(shard)
        layout = PartLayout.of_shard(product, shard, self.twins.encoding.num_planes)
        num_bytes = sizes_bytes[name]
        tail_bytes = min(num_bytes, index_length(layout.num_payloads, len(product.band_names)) + _FOOTER_BYTES)
        with (self.twins.folder / name).open("wb") as file:
            file.truncate(num_bytes)
            self._fill(file, name, num_bytes - tail_bytes, tail_bytes)
            part = self.twins.shard(shard)
            if part is None:
                raise OutputError(f"{self.prefix}{name} is damaged. Run the same command again with --overwrite.")
            if num_owned_levels(product) < product.num_levels:
                num_last = part.layout.num_planes
                last_bytes = int(framed_sizes(part.sizes_bytes)[-num_last:].sum())
                self._fill(file, name, int(part.offsets[-num_last]), last_bytes)

    def _fill(self, file: BinaryIO, name: str, start: int, num_bytes: int) -> None:
        """Copy some bytes of a part to the same place of its twin."""
        if num_bytes:
            file.seek(start)
            file.write(self.bucket.read_range(self.prefix + name, start, num_bytes))
            file.flush()

    def _reads(self) -> Iterator[Callable[[], bytes]]:
        """What reads the frames of all tiles: smallest level first, each row by row."""
        product = self.twins.product
        span = product.shards.indices(product.extent)
        for level in reversed(range(product.num_levels)):
            if level >= num_owned_levels(product):
                yield from self._reads_of_row([self.twins.level(level)], level)
                continue
            for row in range(span.row1):
                drawn = [(row, col) for col in range(span.col1) if product.has_shard((row, col))]
                yield from self._reads_of_row([self._twin(shard) for shard in drawn], level)

    def _reads_of_row(self, parts: list[Part], level: int) -> Iterator[Callable[[], bytes]]:
        """What reads one level of some parts that lie side by side, a row of tiles after the other."""
        for row in range(_rows(parts[0], level) if parts else 0):
            for part in parts:
                start, num_bytes = _frames(part, level, row)
                if num_bytes:
                    yield partial(self._read, part.path, start, num_bytes)

    def _read(self, path: Path, start: int, num_bytes: int) -> bytes:
        """Some bytes of a part: of one that was made here, or of one in the bucket."""
        if not path.name.startswith(_SHARD):
            with path.open("rb") as file:
                file.seek(start)
                return file.read(num_bytes)
        return self.bucket.read_range(self.prefix + path.name, start, num_bytes)

    def _twin(self, shard: tuple[int, int]) -> Part:
        part = self.twins.shard(shard)
        if part is None:
            raise OutputError(f"The copy of {part_name(shard)} on this machine is gone. Run the same command again.")
        return part


def upload_part_bytes(num_bytes: int) -> int:
    """How much of an object of this size goes into one part of its upload."""
    return max(_LEAST_UPLOAD_PART_BYTES, -(-num_bytes // _MOST_UPLOAD_PARTS))


def _rows(part: Part, level: int) -> int:
    """Number of rows of tiles that a part has of a level."""
    return dict(part.layout.spans)[level].height


def _frames(part: Part, level: int, row: int) -> tuple[int, int]:
    """First byte and number of bytes of one row of tiles of a part."""
    first, num_planes = 0, part.layout.num_planes
    for other, span in part.layout.spans:
        if other == level:
            first += row * span.width * num_planes
            num_bytes = int(framed_sizes(part.sizes_bytes[first : first + span.width * num_planes]).sum())
            return int(part.offsets[first]), num_bytes
        first += span.height * span.width * num_planes
    return 0, 0


def _in_order(executor: ThreadPoolExecutor, jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Results of all jobs in their order; a few of them run ahead."""
    running: deque[Future[T]] = deque()
    for job in jobs:
        running.append(executor.submit(job))
        if len(running) >= _READS_AT_ONCE:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
