"""Files appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from tilegen.atomic import explained, new_file, write_atomically
from tilegen.errors import OutputError


def write_and_fail(path, error):
    with new_file(path) as file:
        file.write(b"new")
        raise error


def test_a_file_takes_its_place_when_it_is_complete(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with new_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_content_that_is_there_already_is_written_in_one_call(tmp_path):
    path = tmp_path / "x"
    for content in (b"old and longer", b"new"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_who_has_the_old_file_open_reads_it_to_its_end(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old and longer")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old and longer"


def test_a_folder_that_is_not_there_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(OutputError, match=r"Cannot write .*: No such file or directory\."):
        write_atomically(tmp_path / "nowhere" / "x", b"new")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), ValueError("bug")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises((OutputError, KeyboardInterrupt, ValueError)):
        write_and_fail(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_be_full_is_called_full(number):
    with pytest.raises(OutputError, match="The disk is full at x"), explained(Path("x")):
        raise OSError(number, os.strerror(number))


def test_other_refusals_keep_their_reason():
    with pytest.raises(OutputError, match=r"Cannot write x: Permission denied\."), explained(Path("x")):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
