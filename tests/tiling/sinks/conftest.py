"""A small disk, and one digest for files and folders."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("320k")


@pytest.fixture
def tree_digest():
    """SHA-256 over names and contents of all files below a folder."""

    def digest(folder):
        total = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                total.update(path.relative_to(folder).as_posix().encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    return digest
