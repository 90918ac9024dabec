"""Real full disks, and one digest for files and folders."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, kw_only=True)
class SmallDisk:
    """A file system of 320 KiB."""

    path: Path

    def grow(self) -> None:
        """Make it 16 MiB."""
        subprocess.run(["mount", "-o", "remount,size=16m", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.strip()}")
    yield SmallDisk(path=path)
    subprocess.run(["umount", str(path)], check=True)


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
