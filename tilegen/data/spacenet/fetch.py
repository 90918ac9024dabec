"""Downloading archives of SpaceNet: what is there is kept, what is half there goes on, and what arrives is checked."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from tilegen.amounts import amount
from tilegen.atomic import explained, locked, sync_folder, write_atomically
from tilegen.config import from_dict, to_dict
from tilegen.data.spacenet.bucket import Bucket, RemoteFile
from tilegen.data.spacenet.catalogue import folder_of, path_of
from tilegen.data.spacenet.checksum import Checksum, strongest_checksum
from tilegen.data.spacenet.layouts import LICENCE
from tilegen.data.spacenet.unpack import is_unpacked, unpack_archive
from tilegen.errors import BudgetError, DataError, InputError, OutputError

Progress = Callable[[str, int, int], None]
"""Hears what is being done, and how many bytes of how many are done."""

PARTIAL_SUFFIX = ".partial"
SOURCE_SUFFIX = ".source.json"

_MOST_FAILURES = 5
_STEADY_BYTES = 1 << 20
"""A connection that is lost after so many bytes counts as a good one."""
_MOST_VERSIONS = 3
_SIZE_ALONE = "size alone"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a download is from; lies beside it, from its first byte on.

    Args:
        key: name of the object in the bucket.
        num_bytes, etag: its size and version.
        checked: how the whole file was compared with what the server has; None while it is not whole.
        licence: of the imagery.
    """

    key: str
    num_bytes: int
    etag: str
    checked: str | None = None
    licence: str = LICENCE

    def is_of(self, file: RemoteFile) -> bool:
        """Whether it is this version of this object."""
        return (self.key, self.num_bytes, self.etag) == (file.key, file.num_bytes, file.etag)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What became of one archive.

    Args:
        path: of the archive.
        file: what it is.
        checked: how it was compared with what the server has, such as "MD5 of 12 parts" or "size alone".
        was_there: whether nothing had to be downloaded.
    """

    path: Path
    file: RemoteFile
    checked: str
    was_there: bool


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """One run: from where, to where, and how.

    Args:
        bucket: to read.
        out: folder to write to, created if it is not there.
        unpack: whether archives are unpacked as well; one that was unpacked may be deleted and is not fetched again.
        overwrite: whether files and folders that are something else may be replaced.
        progress: hears of every few bytes.
        say: hears what a person should know, in whole sentences.
        pause_s: after a lost connection; twice as long after each further one.
    """

    bucket: Bucket
    out: Path
    unpack: bool
    overwrite: bool
    progress: Progress
    say: Callable[[str], None]
    pause_s: float = 1.0

    def check_space(self, files: Sequence[RemoteFile], max_bytes: int) -> None:
        """Refuse what is too much, before anything is written.

        An archive that is to be unpacked needs at least its own size once more.

        Raises:
            BudgetError: more than `max_bytes` are missing, or the disk has no room for them.
        """
        missing_bytes = sum(self._missing_bytes(file) for file in files)
        if missing_bytes > max_bytes:
            raise BudgetError(
                f"{amount(missing_bytes)} are missing, and --max-gib allows {amount(max_bytes)}. Choose with "
                "--rounds and --aoi, or raise --max-gib."
            )
        if self.unpack:
            missing_bytes += sum(file.num_bytes for file in files if not self._is_unpacked(file))
        there = next(path for path in (self.out.absolute(), *self.out.absolute().parents) if path.exists())
        free_bytes = shutil.disk_usage(there).free
        if missing_bytes > free_bytes:
            raise BudgetError(
                f"At least {amount(missing_bytes)} are needed, {there} has {amount(free_bytes)}. Choose with "
                "--rounds and --aoi, or give another folder."
            )

    def archive(self, file: RemoteFile) -> Fetched:
        """Download one archive, or what is missing of it, and unpack it if that is wanted.

        Raises:
            OutputError: something else is there and `overwrite` is false, or the disk refuses.
            DataError: the server fails, or what it sends does not match its own checksum.
        """
        path = self.out / path_of(file.key)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if (checked := _checked_before(file, path)) is not None:
                fetched = Fetched(path=path, file=file, checked=checked, was_there=True)
            elif self._is_unpacked(file) and not path.exists():
                return Fetched(path=path, file=file, checked="being unpacked", was_there=True)
            elif path.exists() and not self.overwrite:
                fetched = self._recognised(file, path)
            else:
                fetched = self._downloaded(file, path)
        if self.unpack:
            self._unpack(fetched)
        return fetched

    def _missing_bytes(self, file: RemoteFile) -> int:
        path = self.out / path_of(file.key)
        if _checked_before(file, path) or (path.exists() and not self.overwrite) or self._is_unpacked(file):
            return 0
        partial, source = _partial(path), _read_source(path)
        there = partial.stat().st_size if partial.is_file() and source is not None and source.is_of(file) else 0
        return max(file.num_bytes - there, 0)

    def _is_unpacked(self, file: RemoteFile) -> bool:
        return self.unpack and is_unpacked(folder_of(self.out / path_of(file.key)), file.etag)

    def _unpack(self, fetched: Fetched) -> None:
        path, folder = fetched.path, folder_of(fetched.path)
        if not is_unpacked(folder, fetched.file.etag):
            unpack_archive(
                path,
                folder,
                stamp=fetched.file.etag,
                overwrite=self.overwrite,
                progress=lambda done: self.progress(f"Unpacking {path.name}", done, fetched.file.num_bytes),
            )

    def _recognised(self, file: RemoteFile, path: Path) -> Fetched:
        """A file that somebody else put there, if it is what the bucket has."""
        checksum = self._checksum(file) if path.is_file() and path.stat().st_size == file.num_bytes else None
        if checksum is None or not self._holds(checksum, path, path.name, file.num_bytes):
            raise OutputError(
                f"{path} is there, and cannot be shown to be what the bucket has. Move it away, or give --overwrite."
            )
        _write_source(path, file, checksum.name)
        return Fetched(path=path, file=file, checked=checksum.name, was_there=True)

    def _downloaded(self, file: RemoteFile, path: Path) -> Fetched:
        partial = _partial(path)
        with partial.open("ab"):
            pass
        with partial.open("r+b") as stream, locked(partial):
            source = _read_source(path)
            if stream.seek(0, os.SEEK_END) and not (source and source.is_of(file) and stream.tell() <= file.num_bytes):
                self.say(f"{path.name} is another version than what was begun: it is fetched from its start.")
                stream.truncate(0)
            _write_source(path, file, None)
            file = self._filled(file, path, stream)
            checked = self._checked(file, path, stream)
            os.fsync(stream.fileno())
            _write_source(path, file, checked)
            partial.replace(path)
            sync_folder(path.parent)
        return Fetched(path=path, file=file, checked=checked, was_there=False)

    def _filled(self, file: RemoteFile, path: Path, stream: BinaryIO) -> RemoteFile:
        """Fetch what is missing; gives the version that is there now, which may be a newer one."""
        for _ in range(_MOST_VERSIONS):
            if self._fill(file, path, stream):
                return file
            self.say(f"{path.name} was replaced in the bucket: it is fetched from its start.")
            file = self.bucket.file(file.key)
            stream.truncate(0)
            _write_source(path, file, None)
        raise DataError(f"{path.name} is replaced in the bucket again and again. Try again later.")

    def _fill(self, file: RemoteFile, path: Path, stream: BinaryIO) -> bool:
        """Append what is missing, connection after connection; False if the server has another version by now."""
        failures = 0
        while (start := stream.seek(0, os.SEEK_END)) < file.num_bytes:
            if failures == _MOST_FAILURES:
                raise DataError(
                    f"The connection was lost {failures} times, with {amount(start)} of {amount(file.num_bytes)} of "
                    f"{path.name} fetched. They are kept: run the same command again to go on."
                )
            if failures:
                time.sleep(self.pause_s * 2 ** (failures - 1))
            with self.bucket.opened(file, start) as answer:
                if answer is None:
                    return False
                offset, chunks = answer
                stream.truncate(offset)
                stream.seek(offset)
                for chunk in chunks:
                    if stream.tell() + len(chunk) > file.num_bytes:
                        raise DataError(f"The server sends more of {path.name} than it listed. Check --endpoint.")
                    stream.write(chunk)
                    self.progress(f"Downloading {path.name}", stream.tell(), file.num_bytes)
            stream.flush()
            failures = 1 if stream.tell() - start >= _STEADY_BYTES else failures + 1
        return True

    def _checked(self, file: RemoteFile, path: Path, stream: BinaryIO) -> str:
        """How the download was found to be whole. One that is not is fetched once more, from its start."""
        checksum = self._checksum(file)
        for attempt in range(2):
            stream.flush()
            if checksum is None or self._holds(checksum, _partial(path), path.name, file.num_bytes):
                return _SIZE_ALONE if checksum is None else checksum.name
            stream.truncate(0)
            if not attempt:
                self.say(f"{path.name} does not have the {checksum.name} of the server: it is fetched from its start.")
                if not self._fill(file, path, stream):
                    break
        raise DataError(f"{path.name} arrives with other bytes than the server's own checksum says. Try again later.")

    def _checksum(self, file: RemoteFile) -> Checksum | None:
        headers = self.bucket.headers(file.key)
        first_part = None
        if "-" in file.etag:
            size = self.bucket.headers(file.key, partNumber="1").get("Content-Length", "")
            first_part = int(size) if size.isascii() and size.isdigit() else None
        return strongest_checksum(headers, file.num_bytes, first_part) if headers["ETag"] == file.etag else None

    def _holds(self, checksum: Checksum, path: Path, name: str, num_bytes: int) -> bool:
        return checksum.holds(path, lambda done: self.progress(f"Checking {name}", done, num_bytes))


def _partial(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL_SUFFIX)


def _checked_before(file: RemoteFile, path: Path) -> str | None:
    """How an earlier run has checked this version of the archive; None if it is not there, or not whole."""
    source = _read_source(path)
    is_there = path.is_file() and path.stat().st_size == file.num_bytes
    return source.checked if is_there and source is not None and source.is_of(file) else None


def _read_source(path: Path) -> Source | None:
    """What lies beside a download; None if nothing does, or nothing that can be read."""
    try:
        return from_dict(Source, json.loads(path.with_name(path.name + SOURCE_SUFFIX).read_bytes()))
    except (OSError, ValueError, InputError):
        return None


def _write_source(path: Path, file: RemoteFile, checked: str | None) -> None:
    source = replace(Source(key=file.key, num_bytes=file.num_bytes, etag=file.etag), checked=checked)
    content = json.dumps(to_dict(source), indent=2) + "\n"
    write_atomically(path.with_name(path.name + SOURCE_SUFFIX), content.encode())
