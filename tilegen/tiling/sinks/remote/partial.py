"""The notes of an unfinished product in an object store, below `<name>.partial/`: whose it is, what is done.

A note is an object whose name says it all, so that one listing tells which shards are done, whatever their number:

    done/ROW-COL-DIGEST    DIGEST: of name, size and ETag of every object of the shard, as the store gave them
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilegen.errors import OutputError
from tilegen.tiling.sinks.manifest import MANIFEST_NAME, Manifest, parsed
from tilegen.tiling.sinks.remote.address import Address
from tilegen.tiling.sinks.remote.bucket import Bucket, Stored, opened_bucket

_NOTES = "done/"
_IN_THE_WAY = "{} is in the way and was not made by tilegen. Move it, or give another name."
_NOTE = re.compile(r"(\d+)-(\d+)-([0-9a-f]{32})")


@dataclass(frozen=True, kw_only=True)
class RemotePartial:
    """What a run keeps in the store until its product is complete.

    Args:
        target: address of the finished product.
        manifest: of this run.
    """

    target: Address
    manifest: Manifest

    @property
    def address(self) -> Address:
        """Where the notes are."""
        return self.target.partial

    def claim(self, *, overwrite: bool, is_free: bool) -> None:
        """Begin a run here, or go on with that of the same product.

        Args:
            overwrite: throw away the unfinished product of another run.
            is_free: whether a run may begin here; one that was begun may go on in any case.

        Raises:
            OutputError: the place belongs to another run and `overwrite` is false, or was not made by tilegen.
        """
        found = self._manifest()
        if found is not None and not self.manifest.is_of_same_run(found):
            if not overwrite:
                raise OutputError(self.manifest.refusal(self.address, found))
            self._forget_all_but_manifest()
        if found is None and (not is_free or self._bucket.listed(self.address.prefix)):
            raise OutputError(_IN_THE_WAY.format(self.address if is_free else self.target))
        content = self.manifest.content(overwrite=overwrite)
        if found is not None:
            self._bucket.put(self._manifest_key, content)
        elif not self._bucket.create(self._manifest_key, content):
            raise OutputError(f"Another run has just begun at {self.target}. Wait for it, or give another name.")

    def require(self) -> None:
        """Raises OutputError unless this run was begun here, and no other one since."""
        found = self._manifest()
        if found is None or not self.manifest.is_of_same_run(found):
            raise OutputError(
                f"{self.address} is not there, or belongs to another run. Begin the product first, in a store that "
                "client and workers share."
            )

    def may_replace(self) -> bool:
        """Whether the run was begun with `overwrite`."""
        return bool((self._manifest() or {}).get("overwrite"))

    def note(self, shard: tuple[int, int], objects: Mapping[str, Stored]) -> None:
        """Note that these objects, by their names below the product, are all of a shard."""
        name = f"{_NOTES}{shard[0]}-{shard[1]}-{_digest(objects)}"
        self._bucket.put(self.address.prefix + name, json.dumps(sorted(objects)).encode())

    def finished(self, objects: Mapping[tuple[int, int], Mapping[str, Stored]]) -> set[tuple[int, int]]:
        """The shards whose objects in the store are those that were noted.

        Args:
            objects: what the store has of each shard, by names below the product; shards that it has nothing of may be
                left out.
        """
        noted: dict[tuple[int, int], set[str]] = {}
        for name in self._bucket.listed(self.address.prefix + _NOTES):
            if match := _NOTE.fullmatch(name):
                noted.setdefault((int(match[1]), int(match[2])), set()).add(match[3])
        shards = set(self.manifest.product.shard_indices)
        return {shard for shard in shards & noted.keys() if _digest(objects.get(shard, {})) in noted[shard]}

    def forget(self) -> None:
        """Delete all notes of shards."""
        prefix = self.address.prefix + _NOTES
        self._bucket.delete(prefix + name for name in self._bucket.listed(prefix))

    def discard(self) -> None:
        """Delete everything; the manifest goes last, so that an interrupted deletion is still recognised as ours."""
        self._forget_all_but_manifest()
        self._bucket.delete([self._manifest_key])

    def _forget_all_but_manifest(self) -> None:
        names = self._bucket.listed(self.address.prefix)
        self._bucket.delete(self.address.prefix + name for name in names if name != MANIFEST_NAME)

    def _manifest(self) -> dict[str, Any] | None:
        """The manifest; None if there is none.

        Raises:
            OutputError: something else is in its place.
        """
        content = self._bucket.read(self._manifest_key)
        if content is None:
            return None
        found = parsed(content)
        if found is None:
            raise OutputError(_IN_THE_WAY.format(self.address))
        return found

    @property
    def _manifest_key(self) -> str:
        return self.address.prefix + MANIFEST_NAME

    @property
    def _bucket(self) -> Bucket:
        return opened_bucket(self.target.bucket)


def require_remote_unfinished(target: Address) -> None:
    """Raises OutputError unless a run was begun at `target` and did not finish."""
    bucket = opened_bucket(target.bucket)
    bucket.require(target)
    if parsed(bucket.read(target.partial.prefix + MANIFEST_NAME) or b"") is None:
        raise OutputError(f"There is nothing to resume at {target}. Leave --resume out to begin.")


def _digest(objects: Mapping[str, Stored]) -> str:
    described = [[name, stored.num_bytes, stored.etag] for name, stored in sorted(objects.items())]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]
