"""The training loop: step, report, snapshot, stop."""

from __future__ import annotations

import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from tilegen.data.dataset import PackedDataset
from tilegen.errors import InputError
from tilegen.training.folder import export_shards
from tilegen.training.monitor import Monitor
from tilegen.training.parallel import agreed
from tilegen.training.snapshot import Score, save_snapshot
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When to stop, when to report and what to leave. Not part of the run's identity: a resumed run may have another.

    Args:
        kimg: stop after this many thousand images in all.
        minutes: stop after this many minutes of this call, less what the last snapshot took; None for no limit.
        report_s: seconds between two lines of progress.
        snapshot_s: seconds between two snapshots; there is one at the end in any case.
        render_px: edge of the large render of each snapshot; 0 for none.
        tensorboard: write event files beside log.jsonl.
        shards: at the end, leave small shards from which the run can be continued elsewhere.
    """

    kimg: float
    minutes: float | None = None
    report_s: float = 20.0
    snapshot_s: float = 300.0
    render_px: int = 2048
    tensorboard: bool = False
    shards: bool = False

    def __post_init__(self) -> None:
        minutes = 1.0 if self.minutes is None else self.minutes
        if not all(math.isfinite(limit) and limit > 0 for limit in (self.kimg, minutes, self.snapshot_s)):
            raise InputError("--kimg, --minutes and --snapshot-minutes must be positive and finite.")
        if not 0 <= self.render_px <= 1 << 14:
            raise InputError(f"--render-px goes from 0 to {1 << 14}, got {self.render_px}.")


def train(
    trainer: Trainer,
    dataset: PackedDataset,
    folder: Path,
    schedule: Schedule,
    *,
    score: Score | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Train until `schedule` says stop, or until SIGTERM or Ctrl-C: in each case with a snapshot.

    The leading process decides, reports and writes; the others call `follow`.

    Raises:
        KeyboardInterrupt: of the number of the signal that came, once everything is written.
    """
    state = trainer.state
    with _StopSignal() as stop, Monitor(folder, tensorboard=schedule.tensorboard, num_images=state.num_images) as log:
        clock, last_snapshot = _Clock(state, schedule), time.monotonic()
        sums: dict[str, list[float]] = defaultdict(list)
        if state.num_images >= 1000 * schedule.kimg:
            report(
                f"Nothing to learn: the run has seen {state.num_images / 1000:g} thousand images, and --kimg "
                f"{schedule.kimg:g} counts them from its beginning. Give a larger --kimg to go on."
            )
        while True:
            is_over = clock.is_over()
            done = agreed(is_over or stop.number is not None, state.device)
            if sums and (done or clock.report_is_due()):
                report(_report(state, log, sums, clock))
            if done or time.monotonic() - last_snapshot >= schedule.snapshot_s:
                started = time.monotonic()
                scores = save_snapshot(state, dataset, folder, log, render_px=schedule.render_px, score=score)
                last_snapshot = time.monotonic()
                clock.snapshot_took(last_snapshot - started)
                if scores:
                    report(f"{state.num_images / 1000:8.1f} kimg  " + _listed(scores))
            if done:
                break
            for name, value in trainer.step().items():
                sums[name].append(value)
        if schedule.shards:
            export_shards(state, folder)
    if stop.number is not None:
        raise KeyboardInterrupt(stop.number)


def follow(trainer: Trainer) -> None:
    """Take part in the steps of the leading process until it says stop."""
    while not agreed(False, trainer.state.device):
        trainer.step()


class _Clock:
    """How long this call has trained, how fast, and when it must end."""

    def __init__(self, state: TrainState, schedule: Schedule) -> None:
        self._state, self._schedule = state, schedule
        self._started = self._last_report = time.monotonic()
        self._start_images, self._start_seconds = state.num_images, state.seconds
        self._snapshot_s = 0.0

    def snapshot_took(self, seconds: float) -> None:
        """The next one will take as long: it belongs to the minutes that the user has."""
        self._snapshot_s = seconds

    def is_over(self) -> bool:
        """Whether the images or the minutes are used up. Brings the state's own clock up to date."""
        spent_s = time.monotonic() - self._started
        self._state.seconds = self._start_seconds + spent_s
        minutes = self._schedule.minutes
        late = minutes is not None and spent_s + self._snapshot_s >= 60 * minutes
        return late or self._state.num_images >= 1000 * self._schedule.kimg

    def report_is_due(self) -> bool:
        """Whether `report_s` have passed since the last time that the answer was yes."""
        if time.monotonic() - self._last_report < self._schedule.report_s:
            return False
        self._last_report = time.monotonic()
        return True

    def seconds_per_image(self) -> float:
        """Of this call, snapshots included."""
        return (time.monotonic() - self._started) / max(self._state.num_images - self._start_images, 1)

    def left_s(self) -> float:
        """Until the end, at this pace."""
        images = max(1000 * self._schedule.kimg - self._state.num_images, 0)
        left_s = images * self.seconds_per_image()
        if self._schedule.minutes is None:
            return left_s
        return min(left_s, max(60 * self._schedule.minutes - (time.monotonic() - self._started), 0))


def _report(state: TrainState, log: Monitor, sums: dict[str, list[float]], clock: _Clock) -> str:
    """Log the means since the last report and empty them; returns the line for the terminal."""
    means = {name: sum(values) / len(values) for name, values in sums.items()}
    sums.clear()
    means |= {"noise_rms": _noise_rms(state), "augment_p": state.augment_p}
    log.scalars(state.num_images, state.seconds, means)
    left_s = int(clock.left_s())
    shown = {name: means[name] for name in _SHOWN if name in means}
    return (
        f"{state.num_images / 1000:8.1f} kimg  {1000 * clock.seconds_per_image():5.1f} s/kimg  "
        f"ETA {left_s // 3600}:{left_s // 60 % 60:02d} h  " + _listed(shown)
    )


_SHOWN = ("logit_real", "logit_fake", "sign_real", "r1", "loss_g", "lattice", "noise_rms", "augment_p")
"""What the terminal shows; the log has all."""


def _listed(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


@torch.no_grad()
def _noise_rms(state: TrainState) -> float:
    parameters = state.generator.synthesis.named_parameters()
    strengths = torch.cat([value for name, value in parameters if name.endswith("noise_strength")])
    return float(strengths.square().mean().sqrt())


class _StopSignal:
    """Remembers SIGTERM and Ctrl-C so that the loop can end with a snapshot."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> _StopSignal:
        self._previous = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
