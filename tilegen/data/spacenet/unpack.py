"""Unpacking an archive that may be hostile: into a folder that appears whole or not at all, and nowhere else."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tilegen.amounts import amount
from tilegen.atomic import TEMPORARY_SUFFIX, explained, locked, sync_folder, sync_tree
from tilegen.errors import BudgetError, DataError, OutputError

_STAMP_NAME = ".unpacked"
_LINK_MODE, _KIND_MASK = 0o120000, 0o170000


def is_unpacked(folder: Path, stamp: str) -> bool:
    """Whether `unpack_archive` has made this folder from the archive of this stamp."""
    try:
        return (folder / _STAMP_NAME).read_text(encoding="utf-8") == stamp
    except (OSError, UnicodeDecodeError):
        return False


def unpack_archive(
    archive: Path, folder: Path, *, stamp: str, overwrite: bool, progress: Callable[[int], None]
) -> None:
    """Unpack a .tar (compressed or not) or .zip archive into `folder`, which appears when all is there.

    Only files and folders are unpacked: links, which archives of SpaceNet do not have, are how an archive reaches
    out of its folder, and `tarfile`'s own filter did not stop all of them at first (CVE-2025-4517).

    Args:
        archive: a file.
        folder: that does not exist, or may be replaced if `overwrite`.
        stamp: what `is_unpacked` asks for.
        progress: hears how many bytes of the archive are read.

    Raises:
        DataError: the archive is broken, or holds what is no file or folder, or a name that leads out of the folder.
        OutputError: the folder exists, or the disk refuses.
        BudgetError: the disk has no room for it.
    """
    if folder.exists() and not overwrite:
        raise OutputError(f"{folder} is there, and is another one. Move it away, or give --overwrite to replace it.")
    temporary = folder.with_name(f".{folder.name}{TEMPORARY_SUFFIX}")
    with explained(folder), archive.open("rb") as file, locked(archive):
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
        try:
            temporary.mkdir()
            _fill(file, archive, temporary, progress)
            (temporary / _STAMP_NAME).write_text(stamp, encoding="utf-8")
            sync_tree(temporary)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(file: BinaryIO, archive: Path, folder: Path, progress: Callable[[int], None]) -> None:
    """Unpack everything, or nothing that the caller would keep."""
    unpack = _unpack_zip if archive.suffix.lower() == ".zip" else _unpack_tar
    try:
        unpack(file, folder, progress)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, ValueError, RuntimeError) as error:
        if isinstance(error, DataError | BudgetError):
            raise
        raise DataError(
            f"{archive.name} cannot be unpacked: {_one_line(error)}. Delete it, and fetch it again."
        ) from None
    except OSError as error:
        if error.errno is None:  # gzip has no other name for a broken file
            raise DataError(
                f"{archive.name} cannot be unpacked: {_one_line(error)}. Delete it, and fetch it again."
            ) from None
        raise


def _unpack_tar(file: BinaryIO, folder: Path, progress: Callable[[int], None]) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise DataError("Archives can be unpacked safely from Python 3.11.4 on. Use a newer Python.")
    with tarfile.open(fileobj=file, mode="r:*") as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise _hostile(member.name)
            tar.extract(member, folder, filter="data")
            progress(file.tell())


def _unpack_zip(file: BinaryIO, folder: Path, progress: Callable[[int], None]) -> None:
    with zipfile.ZipFile(file) as archive:
        needed_bytes, free_bytes = sum(info.file_size for info in archive.infolist()), shutil.disk_usage(folder).free
        if needed_bytes > free_bytes:
            raise BudgetError(
                f"The archive holds {amount(needed_bytes)}, {folder.parent} has {amount(free_bytes)} left. "
                "Free some space."
            )
        for info in archive.infolist():
            is_link = info.external_attr >> 16 & _KIND_MASK == _LINK_MODE
            if is_link or info.filename.startswith("/") or ".." in info.filename.split("/") or "\\" in info.filename:
                raise _hostile(info.filename)
            archive.extract(info, folder)
            progress(file.tell())


def _hostile(name: str) -> DataError:
    return DataError(f"The archive holds {name!r}, which is no file or folder below it. Do not trust its source.")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
