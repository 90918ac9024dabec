"""Walking a folder of SpaceNet: its images, its labels, and what is neither though it looks like it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tilegen.data.card import Reject
from tilegen.data.sources import IMAGE_SUFFIXES, printable
from tilegen.data.spacenet.layouts import LAYOUTS
from tilegen.data.spacenet.recognise import (
    RecognisedImage,
    RecognisedLabel,
    is_named,
    recognise_image,
    recognise_label,
)
from tilegen.errors import DataError

LABEL_SUFFIXES = frozenset({".geojson", ".csv"})


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image, its path and its name below the root."""

    path: Path
    name: str
    what: RecognisedImage


@dataclass(frozen=True, kw_only=True)
class FoundLabel:
    """A file with labels."""

    path: Path
    name: str
    what: RecognisedLabel


@dataclass(frozen=True, kw_only=True)
class Walk:
    """All that is below one folder, in the order of the names."""

    images: list[FoundImage] = field(default_factory=list)
    labels: list[FoundLabel] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def reject(self, name: str, reason: str) -> None:
        """Leave `name` out."""
        name = printable(name)
        self.rejects.append(Reject(name=name, reason=f"{name}: {reason}."))


def walk_folder(root: Path) -> Walk:
    """Every image and label file below `root`, which is resolved; the names of the folders above it count as well.

    Hidden files are passed over. Links to folders are not followed, and links to files only within `root`.
    """
    found = Walk()
    for path in _files_below(root, found):
        suffix = path.suffix.lower()
        name = path.relative_to(root).as_posix()
        if suffix not in IMAGE_SUFFIXES | LABEL_SUFFIXES:
            continue
        if (reason := _is_no_file_of(root, path)) is not None:
            found.reject(name, reason)
        elif suffix in LABEL_SUFFIXES:
            for label in recognise_label(path.parts[:-1], path.name):
                found.labels.append(FoundLabel(path=path, name=name, what=label))
        else:
            try:
                found.images.append(FoundImage(path=path, name=name, what=recognise_image(path.parts[:-1], path.name)))
            except DataError as error:
                found.reject(name, str(error))
    return found


def _files_below(root: Path, found: Walk) -> Iterator[Path]:
    """Visible files, folder by folder; folders that are left out, unreadable or links become rejects."""

    def unreadable(error: OSError) -> None:
        found.reject(Path(error.filename).relative_to(root).as_posix(), f"cannot be opened ({error.strerror})")

    for parent, folders, files in os.walk(root, onerror=unreadable):
        folders.sort()
        kept = []
        for folder in folders:
            path = Path(parent, folder)
            reason = _reason_to_pass(path)
            if reason is not None:
                found.reject(path.relative_to(root).as_posix(), reason)
            elif not folder.startswith("."):
                kept.append(folder)
        folders[:] = kept
        yield from (Path(parent, file) for file in sorted(files) if not file.startswith("."))


def _reason_to_pass(folder: Path) -> str | None:
    if folder.is_symlink():
        return "is a link to a folder, and those are not followed: give that folder itself"
    left_out = (entry for layout in LAYOUTS for entry in layout.left_out)
    return next((entry.reason for entry in left_out if is_named(folder.name, entry.folder)), None)


def _is_no_file_of(root: Path, path: Path) -> str | None:
    """Why a file is not read: it is a link that leads away or nowhere, a pipe, or empty; None if it is read."""
    try:
        status = path.stat()  # first, for it refuses links that lead in a circle
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            return "is a link that leads out of the folder"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if status.st_size == 0:
        return "has no bytes, so that nothing is known of it"
    return None
