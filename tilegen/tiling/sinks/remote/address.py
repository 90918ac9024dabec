"""Where things are in an object store: s3://BUCKET/KEY."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from tilegen.errors import InputError

_SCHEME = "s3"
# Amazon S3 User Guide, "General purpose bucket naming rules"; other servers allow capitals and underscores, too.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_LONGEST_KEY_BYTES = 900  # of 1024: what tilegen writes below a key needs some, too


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is meant as the address of an object store, and not as a path of a disk."""
    return "://" in os.fspath(path)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A bucket and a key in it: of an object, or of all objects whose keys begin with it and a slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """The address that `url` spells.

        Raises:
            InputError: it does not begin with s3://, or bucket or key cannot be used. Says nothing of what stands in
                front of an @, which may be a password.
        """
        scheme, _, rest = url.partition("://")
        if scheme.lower() != _SCHEME:
            raise InputError(f"{scheme}:// is no object store that tilegen knows. Give s3://BUCKET/NAME or a path.")
        bucket, _, key = rest.partition("/")
        if "@" in bucket:
            raise InputError("An address has no credentials in it. Give s3://BUCKET/NAME, and see docs/stores.md.")
        if not _BUCKET.fullmatch(bucket):
            raise InputError(f"{bucket!r} is not the name of a bucket. Give s3://BUCKET/NAME.")
        key = key.rstrip("/")
        if not all(segment not in {"", ".", ".."} and segment.isprintable() for segment in key.split("/")):
            raise InputError(f"{key!r} is not the name of an object. Give s3://BUCKET/NAME.")
        if len(key.encode()) > _LONGEST_KEY_BYTES:
            raise InputError(f"The name in {bucket} is longer than {_LONGEST_KEY_BYTES} bytes. Give a shorter one.")
        return cls(bucket=bucket, key=key)

    @property
    def suffix(self) -> str:
        """What the name ends in, from its last dot on."""
        return os.path.splitext(self.key)[1]

    @property
    def prefix(self) -> str:
        """What the keys of everything below this address begin with."""
        return f"{self.key}/"

    @property
    def partial(self) -> Address:
        """Where the unfinished product of this address keeps its notes."""
        return Address(bucket=self.bucket, key=f"{self.key}.partial")

    def __str__(self) -> str:
        return f"{_SCHEME}://{self.bucket}/{self.key}"
