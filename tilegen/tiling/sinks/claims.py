"""One run at a time for each unfinished product: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from tilegen.errors import OutputError

LOCK_NAME = "tilegen.lock"
_NOT_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_run: ContextVar[tuple[ExitStack, set[Path]] | None] = ContextVar("run", default=None)


@contextmanager
def one_run() -> Iterator[None]:
    """Keep what is claimed inside the block from all other runs, to its end or that of the process."""
    with ExitStack() as held:
        token = _run.set((held, set()))
        try:
            yield
        finally:
            _run.reset(token)


def claim(folder: Path) -> None:
    """Keep other runs from `folder` until `one_run` ends; outside of one, only see whether another run is at it.

    Where a file system has no locks, as some cluster file systems have none, nothing is kept from anybody.

    Raises:
        OutputError: another run is at it.
    """
    run = _run.get()
    if run is not None and folder in run[1]:
        return
    with ExitStack() as held:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        held.callback(os.close, descriptor)
        if not _is_ours(descriptor, folder / LOCK_NAME):
            raise OutputError(f"Another run is writing to {folder}. Wait for it, or give another path.")
        if run is not None:
            run[0].push(held.pop_all())
            run[1].add(folder)


def _is_ours(descriptor: int, path: Path) -> bool:
    """Whether we have the lock, and the file is still there: the run that had it may just have finished."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
