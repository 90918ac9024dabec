"""Which shards of a growing store are complete: a note per shard, written after its data are on the disk.

The data alone cannot tell: Zarr stores nothing for a shard that is all nodata, and a file that exists may have been
cut short by a power failure, or altered since. So a note holds the SHA-256 of every file of its shard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tilegen.atomic import new_file, sync_file
from tilegen.errors import StoreError
from tilegen.tiling.product import Product

Note = Mapping[str, tuple[int, str]]
"""Size in bytes and SHA-256 of each file of a shard, by its path in the store."""


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
        """Note that `files` (relative to the store) hold all data of `shard`; none do if it is all nodata.

        Raises:
            StoreError: a file is not there. A run that begins removes what nobody vouches for, and a task of the run
                before may still be at work.
        """
        note = {}
        for file in files:
            path = self.store / file
            try:
                sync_file(path)
                note[file.as_posix()] = described(path)
            except FileNotFoundError:
                raise StoreError(f"{path} was taken away while shard {shard} was written. Try again.") from None
        self.folder.mkdir(exist_ok=True)
        with new_file(self._note_path(shard)) as content:
            content.write(json.dumps(note).encode())

    def has(self, shard: tuple[int, int]) -> bool:
        """Whether all files of a shard are there, with the sizes that were noted."""
        note = self._read(shard)
        return note is not None and all(self._has_size(name, *expected) for name, expected in note.items())

    def finished(self, product: Product) -> set[tuple[int, int]]:
        """The shards whose files are all there, with the sizes that were noted. A glance; `settle` reads them."""
        return set(self._files_of(product, self._has_size))

    def settle(self, product: Product) -> set[tuple[int, int]]:
        """The shards whose files hold the bytes that were noted, after removing every other chunk.

        What is left over by an interrupted run is not trusted: Zarr would merge it into what is written next.
        """
        finished = self._files_of(product, self._has_content)
        vouched_for = {name for names in finished.values() for name in names}
        for folder in [self.store, *filter(Path.is_dir, self.store.iterdir())]:
            for path in sorted((folder / "image").rglob("*")):
                is_metadata = path.name.startswith((".z", "zarr.json"))
                if path.is_file() and not is_metadata and path.relative_to(self.store).as_posix() not in vouched_for:
                    path.unlink()
        return set(finished)

    def _files_of(
        self, product: Product, is_whole: Callable[[str, int, str], bool]
    ) -> dict[tuple[int, int], list[str]]:
        """The files of every shard whose files are all whole, relative to the store."""
        finished = {}
        for shard in product.shard_indices:
            note = self._read(shard)
            if note is not None and all(is_whole(name, *expected) for name, expected in note.items()):
                finished[shard] = list(note)
        return finished

    def _read(self, shard: tuple[int, int]) -> Note | None:
        """The note of a shard; None if there is none, or one that is damaged or of another version."""
        try:
            noted = json.loads(self._note_path(shard).read_text()).items()
            return {str(name): (int(size_bytes), str(digest)) for name, (size_bytes, digest) in noted}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None

    def _has_size(self, name: str, size_bytes: int, digest: str) -> bool:
        path = self.store / name
        return path.is_file() and path.stat().st_size == size_bytes

    def _has_content(self, name: str, size_bytes: int, digest: str) -> bool:
        return self._has_size(name, size_bytes, digest) and described(self.store / name)[1] == digest

    def _note_path(self, shard: tuple[int, int]) -> Path:
        return self.folder / f"{shard[0]}-{shard[1]}.json"


def described(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest
