"""Finding chips: images in folders, single files and ZIP archives, in an order that is the same on every machine."""

from __future__ import annotations

import itertools
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tilegen.errors import DataError, InputError

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".jpg", ".jpeg", ".png", ".webp"})
"""Files with other suffixes (README, JSON, GeoJSON, CSV) are passed over in silence."""

MAX_MEMBER_BYTES = 1 << 31
"""Largest file that is read out of an archive; a header that promises more is a bomb, or no chip."""


@dataclass(frozen=True, kw_only=True)
class ChipSource:
    """Where one chip is.

    Args:
        folder: of the chip, beginning with the name of the source; chips of one folder share one stretch.
        file_name: last part of its name.
        path: of the image, or of the archive that it is in; differs between machines, so that it is never stored.
        archive: open, of a chip in an archive.
        member: of the archive.
    """

    folder: str
    file_name: str
    path: Path
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None

    @property
    def name(self) -> str:
        """Folder and file name, "/" between them."""
        return f"{self.folder}/{self.file_name}"

    def content(self) -> Path | bytes:
        """What to read the chip from: its file, or its bytes in the archive. Nothing is ever extracted to disk.

        Raises:
            DataError: the member is damaged, encrypted, too large, or compressed in a way that Python does not know.
        """
        if self.archive is None or self.member is None:
            return self.path
        if self.member.file_size > MAX_MEMBER_BYTES:
            raise DataError(f"{self.name}: has {self.member.file_size} bytes, too many for one chip. Cut it first.")
        try:
            return self.archive.read(self.member)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
            raise DataError(f"{self.name}: cannot be taken out of {self.path.name} ({error}).") from error


@contextmanager
def find_chips(sources: Sequence[str | Path]) -> Iterator[list[ChipSource]]:
    """All images in `sources`, folder by folder, in natural order of their names (img2 before img10).

    A context manager, as it keeps the archives open.

    Raises:
        InputError: a source does not exist or is no folder, image or archive; one image is given twice.
        DataError: an archive cannot be read or has a member that points outside of it; there is no image at all.
    """
    with ExitStack() as archives:
        names = _RootNames()
        chips = [chip for source in sources for chip in _chips_of(Path(source), names, archives)]
        if not chips:
            raise DataError(f"No image was found. Give folders, files or .zip archives with {_suffixes()}.")
        _refuse_doubles(chips)
        yield sorted(chips, key=lambda chip: (natural_key(chip.folder), natural_key(chip.file_name)))


def _refuse_doubles(chips: Sequence[ChipSource]) -> None:
    """One image in both splits would make the validation worthless."""
    seen: set[tuple[Path, str]] = set()
    for chip in chips:
        key = (chip.path, "" if chip.member is None else chip.member.filename)
        if key in seen:
            raise InputError(f"{chip.name} is given twice. A chip counts once: give each folder or file only once.")
        seen.add(key)


class _RootNames:
    """Short names of the roots, unique: two folders called "images" become "images" and "images-2"."""

    def __init__(self) -> None:
        self._name_of: dict[Path, str] = {}

    def of(self, root: Path) -> str:
        if root not in self._name_of:
            stem = (root.stem if root.suffix.lower() == ".zip" else root.name) or "root"
            candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
            self._name_of[root] = next(name for name in candidates if name not in self._name_of.values())
        return self._name_of[root]


def _chips_of(source: Path, names: _RootNames, archives: ExitStack) -> Iterator[ChipSource]:
    path = source.resolve()
    suffix = path.suffix.lower()
    if path.is_dir():
        for relative in _files_below(path):
            yield _chip_source(names.of(path), relative, path / relative)
    elif not path.is_file():
        raise InputError(f"{source} does not exist. Give folders, images or .zip archives.")
    elif suffix == ".zip":
        archive = archives.enter_context(_open_archive(path))
        for member in _members(archive, path.name):
            yield _chip_source(names.of(path), member.filename, path, archive, member)
    elif suffix in IMAGE_SUFFIXES:
        yield _chip_source(names.of(path.parent), path.name, path)
    else:
        raise InputError(f"{source} is no image or archive that tilegen reads ({_suffixes()}, .zip).")


def _chip_source(
    root_name: str,
    relative: str,
    path: Path,
    archive: zipfile.ZipFile | None = None,
    member: zipfile.ZipInfo | None = None,
) -> ChipSource:
    name = PurePosixPath(printable(f"{root_name}/{relative}"))
    return ChipSource(folder=str(name.parent), file_name=name.name, path=path, archive=archive, member=member)


def _files_below(folder: Path) -> Iterator[str]:
    """Relative names, "/" between the parts, of the visible images below `folder`; links to folders are left."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            relative = (Path(parent) / file).relative_to(folder).as_posix()
            if _is_visible_image(relative):
                yield relative


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise DataError(f"{path.name}: is truncated or no ZIP archive ({error}).") from error


def _members(archive: zipfile.ZipFile, archive_name: str) -> Iterator[zipfile.ZipInfo]:
    """The visible images in an archive.

    Raises:
        DataError: the name of one leads out of the archive.
    """
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if member.is_dir() or not _is_visible_image(member.filename):
            continue
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"{archive_name}: {member.filename!r} points outside of the archive. Do not trust it.")
        yield member


def _is_visible_image(relative: str) -> bool:
    path = PurePosixPath(relative)
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def printable(name: str) -> str:
    """`name` as it may be printed and stored: control characters and broken Unicode become "?"."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def natural_key(name: str) -> tuple[tuple[tuple[str, int, str], ...], str]:
    """Sort key in which numbers count as numbers, of any length; the name itself decides between "01" and "1"."""
    pieces = re.split(r"([0-9]+)", name)
    texts, numbers = pieces[0::2], [piece.lstrip("0") for piece in pieces[1::2]] + [""]
    return tuple((text, len(number), number) for text, number in zip(texts, numbers, strict=True)), name


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
