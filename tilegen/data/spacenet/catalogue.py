"""Which archives of the bucket belong to which rounds and AOIs, and where they go on the disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tilegen.data.spacenet.bucket import Bucket, RemoteFile
from tilegen.data.spacenet.layouts import LAYOUTS
from tilegen.errors import DataError, InputError

ROUND_FOLDERS = {
    "SN1": "SN1_buildings",
    "SN2": "SN2_buildings",
    "SN3": "SN3_roads",
    "SN4": "SN4_buildings",
    "SN5": "SN5_roads",
    "SN6": "SN6_buildings",
    "SN7": "SN7_buildings",
    "SN8": "SN8_floods",
}
"""Folders of the bucket, all below "spacenet" (the download instructions of spacenet.ai/datasets)."""

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]{0,199}")
_AOI = re.compile(r"AOI_(?P<number>\d+)_(?P<city>.+)")


def find_archives(bucket: Bucket, *, rounds: Sequence[str] | None, aois: Sequence[str] | None) -> list[RemoteFile]:
    """The archives that were asked for, in the order of rounds and names.

    Args:
        rounds: such as "SN2", "sn2" or "2"; all if None or empty.
        aois: full name, number or city, such as "AOI_2_Vegas", "2" or "vegas"; all if None or empty.

    Raises:
        InputError: there is no such round, or nothing of such an AOI in these rounds.
        DataError: the server does not answer, or answers what cannot be used.
    """
    found = []
    for name in _rounds(rounds):
        prefix = f"spacenet/{ROUND_FOLDERS[name]}/tarballs/"
        files = [file for file in bucket.files(prefix) if file.key.lower().endswith(ARCHIVE_SUFFIXES)]
        for file in files:
            path_of(file.key, prefix)
        found += [(name, file) for file in files]
    chosen = [file for name, file in found if not aois or any(_is_of_aoi(file, name, aoi) for aoi in aois)]
    for aoi in aois or ():
        if not any(_is_of_aoi(file, name, aoi) for name, file in found):
            raise InputError(f"There is no archive of AOI {aoi!r} in {', '.join(_rounds(rounds))}. See --list.")
    if not chosen:
        raise InputError(f"The bucket holds no archive of {', '.join(_rounds(rounds))}. Check --endpoint.")
    return chosen


def path_of(key: str, prefix: str = "spacenet/") -> Path:
    """Where an object goes, below the folder of the downloads: SN2_buildings/SN2_buildings_train_AOI_2_Vegas.tar.gz.

    Raises:
        DataError: the key may lead out of that folder, or is no name that every disk can hold.
    """
    parts = key.split("/")
    if not key.startswith(prefix) or not all(_SAFE.fullmatch(part) for part in parts):
        raise DataError(f"The server lists {key!r}, which is no safe name of a file. Nothing of it is fetched.")
    return Path(*(part for part in parts[1:] if part != "tarballs"))


def folder_of(archive: Path) -> Path:
    """Where an archive is unpacked: beside it, under its name without the suffix."""
    suffix = next(suffix for suffix in ARCHIVE_SUFFIXES if archive.name.lower().endswith(suffix))
    return archive.with_name(archive.name[: -len(suffix)])


def _rounds(asked: Sequence[str] | None) -> list[str]:
    names = [f"SN{text.strip().upper().removeprefix('SN')}" for text in asked or ROUND_FOLDERS]
    for text, name in zip(asked or names, names, strict=True):
        if name not in ROUND_FOLDERS:
            raise InputError(f"There is no round {text!r}. Rounds are {', '.join(ROUND_FOLDERS)}.")
    return sorted(set(names))


def _is_of_aoi(file: RemoteFile, round_name: str, asked: str) -> bool:
    """By the name of the file; a round of one AOI has nothing else."""
    wanted = asked.strip().replace(" ", "_").casefold()
    known = {layout.name: layout.aois for layout in LAYOUTS}
    for aoi in [aoi for aois in known.values() for aoi in aois]:
        match = _AOI.fullmatch(aoi)
        if match and wanted in (aoi.casefold(), match["number"], match["city"].casefold()):
            if known[round_name] == (aoi,):
                return True
            wanted = match["city"].casefold()
            break
    name = PurePosixPath(file.key).name.casefold()
    return re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9])", name) is not None
