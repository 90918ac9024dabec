"""Which shards of a growing store are complete: a note per shard, written after its data are on the disk.

The data alone cannot tell: Zarr stores nothing for a shard that is all nodata, and a file that exists may have been
cut short by a power failure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tilegen.atomic import new_file, sync_file
from tilegen.tiling.product import Product


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Notes about the shards of one store.

    Args:
        folder: where the notes are, one file per shard.
        store: the Zarr store that they speak of.
    """

    folder: Path
    store: Path

    def note(self, shard: tuple[int, int], files: list[Path]) -> None:
        """Note that `files` (relative to the store) hold all data of `shard`; one that is missing is all nodata."""
        sizes = {}
        for file in files:
            path = self.store / file
            if path.exists():
                sync_file(path)
                sizes[file.as_posix()] = path.stat().st_size
        self.folder.mkdir(exist_ok=True)
        with new_file(self._note_path(shard)) as note:
            note.write(json.dumps(sizes).encode())

    def finished(self, product: Product) -> set[tuple[int, int]]:
        """The shards whose data are all there, with the sizes that were noted."""
        return set(self._files_of_finished(product))

    def settle(self, product: Product) -> set[tuple[int, int]]:
        """`finished`, after removing every chunk that does not belong to a finished shard.

        What is left over by an interrupted run is not trusted: Zarr would merge it into what is written next.
        """
        finished = self._files_of_finished(product)
        vouched_for = {name for names in finished.values() for name in names}
        for folder in [self.store, *self.store.glob("ovr_*")]:
            for path in sorted((folder / "image" / "c").rglob("*")):
                if path.is_file() and path.relative_to(self.store).as_posix() not in vouched_for:
                    path.unlink()
        return set(finished)

    def _files_of_finished(self, product: Product) -> dict[tuple[int, int], list[str]]:
        """The files of every finished shard, relative to the store."""
        finished = {}
        for shard in product.shard_indices:
            sizes = self._read(shard)
            if sizes is not None and all(self._has(name, size_bytes) for name, size_bytes in sizes.items()):
                finished[shard] = list(sizes)
        return finished

    def _read(self, shard: tuple[int, int]) -> dict[str, int] | None:
        try:
            return {
                str(name): int(size_bytes)
                for name, size_bytes in json.loads(self._note_path(shard).read_text()).items()
            }
        except (FileNotFoundError, ValueError):
            return None

    def _has(self, name: str, size_bytes: int) -> bool:
        path = self.store / name
        return path.is_file() and path.stat().st_size == size_bytes

    def _note_path(self, shard: tuple[int, int]) -> Path:
        return self.folder / f"{shard[0]}-{shard[1]}.json"
