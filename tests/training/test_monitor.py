"""What a run logs reads back, survives kills and resumes without repeating itself, and a full disk is one sentence."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tilegen.errors import TrainingError
from tilegen.training.monitor import Monitor

CURVE = "loss/g"


def logged(folder: Path, steps: list[int], *, at: int, shift: float = 0.0) -> None:
    """Resume at `at` images and log one curve at `steps`, each with its own number plus `shift`."""
    with Monitor(folder, tensorboard=True, num_images=at) as monitor:
        for step in steps:
            monitor.scalars(step, step / 10, {CURVE: step + shift})


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def event_files(folder: Path) -> list[Path]:
    return sorted((folder / "tensorboard").iterdir())


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def curve(folder: Path) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(folder).Scalars(CURVE)]


def test_what_is_logged_reads_back(tmp_path: Path) -> None:
    pixels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    values = {"loss/g": 0.125, "loss/d": 2 / 3, "r1": 3e-9, "kid": math.nan}
    with Monitor(tmp_path / "new", tensorboard=True, num_images=0) as monitor:
        monitor.scalars(16, 1.26, values)
        monitor.image(16, "sheet", pixels)
    rounded = {"loss/g": 0.125, "loss/d": 0.666667, "r1": 3e-9, "kid": None}
    assert lines(tmp_path / "new") == [{"num_images": 16, "seconds": 1.3} | rounded]
    found = events(tmp_path / "new")
    assert {name: found.Scalars(name)[0].value for name in values} == pytest.approx(values, nan_ok=True)
    (event,) = found.Images("sheet")
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels.transpose(1, 2, 0))
    assert event.step == 16


def test_without_tensorboard_there_are_only_lines(tmp_path: Path) -> None:
    with Monitor(tmp_path, tensorboard=False, num_images=0) as monitor:
        monitor.scalars(4, 1.0, {CURVE: 1.0})
        monitor.image(4, "sheet", np.zeros((3, 2, 2), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_resumed_run_logs_no_step_twice(tmp_path: Path) -> None:
    """The last snapshot was at 20 images, the kill at 40."""
    logged(tmp_path, [10, 20, 30, 40], at=0)
    logged(tmp_path, [30, 40, 50], at=20, shift=0.5)
    expected = [(10, 10), (20, 20), (30, 30.5), (40, 40.5), (50, 50.5)]
    assert [(line["num_images"], line[CURVE]) for line in lines(tmp_path)] == expected
    assert curve(tmp_path) == expected


def test_a_line_that_a_kill_cut_short_is_forgotten(tmp_path: Path) -> None:
    """Cut anywhere: whole lines stay, byte for byte, and the next one begins a new line."""
    path, record = tmp_path / "log.jsonl", {"r1": 1 / 7}
    with Monitor(tmp_path, tensorboard=False, num_images=0) as monitor:
        for step in (1, 2, 3):
            monitor.scalars(step, 1.0, record)
    content = path.read_bytes()
    ends = [index for index, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        Monitor(tmp_path, tensorboard=False, num_images=3).scalars(4, 1.0, record)
        num_whole = sum(end <= cut for end in ends)
        assert [line["num_images"] for line in lines(tmp_path)] == [*range(1, num_whole + 1), 4]
        assert path.read_bytes().startswith(content[: ends[num_whole - 1] + 1] if num_whole else b"")


def test_an_event_file_that_a_kill_cut_short_does_not_hide_the_next_one(tmp_path: Path) -> None:
    logged(tmp_path, [10, 20], at=0)
    (torn,) = event_files(tmp_path)
    torn.write_bytes(torn.read_bytes()[:-3])
    logged(tmp_path, [20, 30], at=10, shift=0.5)
    assert curve(tmp_path) == [(10, 10), (20, 20.5), (30, 30.5)]


def test_all_is_written_when_a_call_returns(tmp_path: Path) -> None:
    """A kill loses nothing: what a second reader sees while the run goes on is whole."""
    with Monitor(tmp_path, tensorboard=True, num_images=0) as monitor:
        monitor.scalars(10, 1.0, {CURVE: 10.0})
        assert [line[CURVE] for line in lines(tmp_path)] == [10]
        assert curve(tmp_path) == [(10, 10)]


@pytest.mark.parametrize("broken", ["log.jsonl", "tensorboard"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, broken: str) -> None:
    with Monitor(tmp_path, tensorboard=True, num_images=0) as monitor:
        path = tmp_path / "log.jsonl" if broken == "log.jsonl" else event_files(tmp_path)[0]
        path.rename(tmp_path / "aside")
        path.symlink_to("/dev/full")
        with pytest.raises(TrainingError, match=r"^The disk is full at .*run the same command again\.$"):
            monitor.scalars(10, 1.0, {CURVE: 10.0})
        path.unlink()
        (tmp_path / "aside").rename(path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"a file")
    with pytest.raises(TrainingError, match=r"^Cannot write .*run: File exists\.$"):
        Monitor(tmp_path / "run", tensorboard=True, num_images=0)


WITHOUT_TENSORBOARD = """
import sys
from pathlib import Path
sys.modules["tensorboard"] = None
from tilegen.errors import TrainingError
from tilegen.training.monitor import Monitor
folder = Path(sys.argv[1])
Monitor(folder, tensorboard=False, num_images=4).close()
try:
    Monitor(folder, tensorboard=True, num_images=0)
except TrainingError as error:
    print(error)
"""


def test_a_machine_without_tensorboard_is_told_what_to_do(tmp_path: Path) -> None:
    """And nothing of the log is lost by asking."""
    logged(tmp_path, [4], at=0)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORBOARD, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stdout == "TensorBoard is not installed. Install tensorboard or give --no-tensorboard.\n", done.stderr
    assert len(lines(tmp_path)) == 1
