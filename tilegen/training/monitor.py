"""What a run says while it goes: lines of JSON for programs, TensorBoard's curves and pictures for people."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tilegen.atomic import explained, sync_file, write_atomically
from tilegen.errors import OutputError, TrainingError


class Monitor:
    """The logs of the run in `folder`: log.jsonl, and event files below tensorboard/. A context manager.

    A run that resumes repeats the steps since its last snapshot: opening forgets what was logged of them, and a line
    that was cut short when the run was killed. Every call writes through, so no file is open in between.

    Args:
        folder: of the run; made if need be.
        tensorboard: whether to write event files too.
        num_images: where the run stands; everything logged after more images than that is forgotten.

    Raises:
        TrainingError: tensorboard is not installed, the disk is full, or a file cannot be written.
    """

    def __init__(self, folder: Path, *, tensorboard: bool, num_images: int) -> None:
        if tensorboard:
            _check_tensorboard()
        self._lines = folder / "log.jsonl"
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _cut_back(self._lines, num_images)
        self._events = _EventFile(folder / "tensorboard", num_images) if tensorboard else None

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def scalars(self, num_images: int, seconds: float, values: Mapping[str, float]) -> None:
        """Log `values` after `num_images` images and `seconds` of training; "loss/g" is curve g in group loss.

        In JSON, numbers have six digits, and a value that is not finite is null.

        Raises:
            TrainingError: the disk is full, or a file cannot be written.
        """
        record: dict[str, Any] = {"num_images": num_images, "seconds": round(seconds, 1)}
        record |= {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in values.items()}
        _append(self._lines, json.dumps(record).encode() + b"\n")
        if self._events is not None:
            self._events.scalars(num_images, values)

    def image(self, num_images: int, name: str, pixels: UInt8[np.ndarray, "3 rows cols"]) -> None:
        """Show a picture in TensorBoard, if there is one. Takes about a second per megabyte of PNG: sheets, no renders.

        Raises:
            TrainingError: the disk is full, or the file cannot be written.
        """
        if self._events is not None:
            self._events.image(num_images, name, pixels)

    def close(self) -> None:
        """Make what was logged survive a power cut.

        Raises:
            TrainingError: the disk refuses.
        """
        for path in [self._lines] if self._events is None else [self._lines, self._events.path]:
            with _explained(path):
                sync_file(path)


class _EventFile:
    """A new event file of TensorBoard, written by the caller's own thread.

    `SummaryWriter` writes in a thread of its own, which answers a full disk with a traceback and not with a sentence.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self.path = folder / f"events.out.tfevents.{time.time_ns():020d}"  # TensorBoard reads them in order of names
        with _explained(folder):
            folder.mkdir(exist_ok=True)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # The start of a session at a step hides what earlier files hold from that step on.
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=num_images + 1, session_log=start))

    def scalars(self, num_images: int, values: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import scalar

        for name, value in values.items():
            self._write_summary(num_images, scalar(name, value))

    def image(self, num_images: int, name: str, pixels: UInt8[np.ndarray, "3 rows cols"]) -> None:
        from torch.utils.tensorboard.summary import image

        self._write_summary(num_images, image(name, pixels, dataformats="CHW"))

    def _write_summary(self, num_images: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(wall_time=time.time(), step=num_images, summary=summary))

    def _write(self, event: Any) -> None:
        from torch.utils.tensorboard import RecordWriter

        with _explained(self.path), self.path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def _check_tensorboard() -> None:
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise TrainingError("TensorBoard is not installed. Install tensorboard or give --no-tensorboard.") from None


def _cut_back(path: Path, num_images: int) -> None:
    """Keep the whole lines of `path` that a run at `num_images` has behind it."""
    if not path.exists():
        path.touch()
    content = path.read_bytes()
    kept = b"".join(line + b"\n" for line in content.split(b"\n") if _is_before(line, num_images))
    if kept != content:
        write_atomically(path, kept)


def _is_before(line: bytes, num_images: int) -> bool:
    try:
        return bool(json.loads(line)["num_images"] <= num_images)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False  # empty, or cut short by a kill or a full disk


def _append(path: Path, content: bytes) -> None:
    with _explained(path), path.open("ab") as file:
        file.write(content)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        with explained(path):
            yield
    except OutputError as error:
        raise TrainingError(str(error)) from error
