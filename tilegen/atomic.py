"""Files that appear whole or not at all, and one clear sentence when a disk refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tilegen.errors import OutputError

TEMPORARY_SUFFIX = ".tmp"
"""Ends the name of every file that is still being written."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into one sentence about `path`.

    Raises:
        OutputError: the block raised an OSError that is not an OutputError already.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(f"The disk is full at {path}. Free some space and run the same command again.") from error
        raise OutputError(f"Cannot write {path}: {error.strerror or error}.") from error


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing; it takes the place of `path` when the block succeeds.

    The data reach the disk before the name does, so a file that has its name is complete even after a power cut. Two
    processes may write the same path at once: the last one to finish wins, and no reader sees a mixture.

    Raises:
        OutputError: the file cannot be written; `path` is as it was before.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    with explained(path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other runs from a file or folder while the block lasts, or until the process dies.

    Raises:
        OutputError: another run is at it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"Another run is working on {path}. Wait for it, or give another folder.") from None
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Give `path` this content: a reader sees the old file or the whole new one.

    Raises:
        OutputError: the file cannot be written; `path` is as it was before.
    """
    with new_file(path) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Make the names inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file and name below `folder` survive a power cut."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def sync_file(path: Path) -> None:
    """Make the content of `path` survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
