"""One bucket: the few things that tilegen asks of an object store, each tried again when it fails in passing."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import obstore
from obstore.store import S3Store
from zarr.storage import ObjectStore

from tilegen.tiling.sinks.remote.account import Account, open_account
from tilegen.tiling.sinks.remote.address import Address
from tilegen.tiling.sinks.remote.refusals import explained

# obstore's types of dictionaries cannot be imported: Any.
_FIRST_TRY: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=5)}
# Tasks try again by themselves, so this is a part of the patience only.
_PATIENT: Any = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 3},
}
_SINGLE_PUT_BYTES = 64 << 20
_UPLOADS_AT_ONCE = 3


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One object, as the store lists it.

    Args:
        num_bytes: its size.
        etag: what the store calls this content.
    """

    num_bytes: int
    etag: str


class Bucket:
    """The objects of one bucket. Every method raises OutputError when the store refuses, StoreError if in passing."""

    def __init__(self, name: str, account: Account) -> None:
        self._name, self._account = name, account
        self._store = self._opened(_PATIENT)

    def require(self, address: Address) -> None:
        """Pass if the bucket is there and lists what is at `address`. Gives up within seconds."""
        first = self._opened(_FIRST_TRY)
        with self._explained(address):
            next(obstore.list(first, address.prefix, chunk_size=1), None)

    def listed(self, prefix: str) -> dict[str, Stored]:
        """All objects whose keys begin with `prefix`, which ends in a slash; by the rest of their keys."""
        with self._explained(f"s3://{self._name}/{prefix}"):
            return {
                entry["path"].removeprefix(prefix): Stored(num_bytes=entry["size"], etag=_bare(entry["e_tag"]))
                for page in obstore.list(self._store, prefix)
                for entry in page
            }

    def found(self, key: str) -> Stored | None:
        """What the store says of an object; None if there is none."""
        with self._explained(f"s3://{self._name}/{key}"):
            try:
                entry = obstore.head(self._store, key)
            except FileNotFoundError:
                return None
            return Stored(num_bytes=entry["size"], etag=_bare(entry["e_tag"]))

    def read(self, key: str) -> bytes | None:
        """The content of a small object; None if there is none."""
        with self._explained(f"s3://{self._name}/{key}"):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def read_range(self, key: str, start: int, num_bytes: int) -> bytes:
        """Some bytes of an object."""
        with self._explained(f"s3://{self._name}/{key}"):
            return bytes(obstore.get_range(self._store, key, start=start, length=num_bytes))

    def put(self, key: str, content: bytes) -> Stored:
        """Give an object this content: readers see the old object or the whole new one."""
        with self._explained(f"s3://{self._name}/{key}"):
            done = obstore.put(self._store, key, content, chunk_size=_SINGLE_PUT_BYTES)
            return Stored(num_bytes=len(content), etag=_bare(done["e_tag"]))

    def create(self, key: str, content: bytes) -> bool:
        """`put`, unless there is an object already: False then. Of several at once, one succeeds."""
        with self._explained(f"s3://{self._name}/{key}"):
            try:
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                return False
            return True

    def upload(self, key: str, blocks: Iterator[bytes], part_bytes: int) -> None:
        """Give an object the content of all blocks, in parts; if one fails, nothing of it is left in the store."""
        with self._explained(f"s3://{self._name}/{key}"):
            obstore.put(self._store, key, blocks, chunk_size=part_bytes, max_concurrency=_UPLOADS_AT_ONCE)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, whether they are there or not."""
        if doomed := list(keys):
            with self._explained(f"s3://{self._name}/{doomed[0]}"):
                obstore.delete(self._store, doomed)

    def reader(self, key: str) -> Any:
        """A file of an object, to read from anywhere."""
        with self._explained(f"s3://{self._name}/{key}"):
            return obstore.open_reader(self._store, key)

    @contextmanager
    def zarr_store(self, address: Address, *, read_only: bool) -> Iterator[ObjectStore[S3Store]]:
        """What is below `address`, for Zarr. What it is refused inside the block is explained."""
        with self._explained(address):
            yield ObjectStore(self._opened(_PATIENT, address.key), read_only=read_only)

    def _opened(self, retry: Any, prefix: str | None = None) -> S3Store:
        return S3Store(
            self._name,
            prefix=prefix,
            endpoint=self._account.endpoint,
            region=self._account.region,
            credential_provider=self._account.signer,
            client_options={"connect_timeout": "5s", "timeout": "120s", "allow_http": not self._account.is_encrypted},
            retry_config=retry,
        )

    def _explained(self, place: object) -> AbstractContextManager[None]:
        return explained(place, self._name, self._account.server)


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


@functools.lru_cache(maxsize=8)
def opened_bucket(name: str) -> Bucket:
    """The bucket, with the account that this process finds in its own environment; opened once."""
    return Bucket(name, open_account())
