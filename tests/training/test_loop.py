"""The loop: it resumes, reports, leaves whole files, and touches no other run."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tilegen.config import to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.errors import InputError, TrainingError
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import load_generator, resolve_checkpoint
from tilegen.training.config import TrainConfig
from tilegen.training.folder import continue_run, load_config, open_run
from tilegen.training.loop import Schedule, train
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

ConfigOf = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def run(folder: Path, config: TrainConfig, texture: Path, kimg: float) -> list[str]:
    lines: list[str] = []
    go(folder, config, texture, Schedule(kimg=kimg, report_s=0.0, render_px=64), lines.append)
    return lines


def go(
    folder: Path, config: TrainConfig, texture: Path, schedule: Schedule, report: Callable[[str], None] = print
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    dataset = PackedDataset.open(texture)
    train(Trainer(open_run(folder, config, CPU), dataset), dataset, folder, schedule, report=report)


@pytest.fixture(scope="module")
def finished(texture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three steps that stopped after one and was resumed."""
    from tilegen.training.run import configured

    folder = tmp_path_factory.mktemp("runs") / "deep" / "run"
    config = configured(texture, preset="nano", crop_px=32, num_processes=1, batch=4, r1_interval=2)
    run(folder, config, texture, kimg=0.004)
    run(folder, config, texture, kimg=0.012)
    return folder


def test_a_resumed_run_ends_where_a_straight_one_does(
    texture: Path, config_of: ConfigOf, finished: Path, tmp_path: Path
) -> None:
    run(tmp_path, config_of(), texture, kimg=0.012)
    straight, resumed = load_file(tmp_path / "state.safetensors"), load_file(finished / "state.safetensors")
    assert set(straight) == set(resumed)
    assert [name for name, tensor in straight.items() if not torch.equal(tensor, resumed[name])] == []


def test_a_run_leaves_a_checkpoint_of_the_average(texture: Path, finished: Path) -> None:
    generator, card = load_generator(resolve_checkpoint(str(finished)))
    state = TrainState.load(finished / "state.safetensors")
    assert (state.num_images, card.num_images) == (12, 12)
    assert card.resolution_m == PackedDataset.open(texture).card.resolution_m == 0.5
    assert card.about["train"] == to_dict(state.config)
    assert set(card.about) == {"data", "licence", "attribution", "stretches", "train", "train_before", "train_seconds"}
    for kept, average in zip(generator.parameters(), state.average.parameters(), strict=True):
        assert torch.equal(kept, average.half().float())
    assert generator((3,), Window.from_size(16, 16)).isfinite().all()


def test_a_run_leaves_a_sheet_for_the_eye(finished: Path) -> None:
    """16 crops of 16 worlds beside one window of a single world."""
    with Image.open(finished / "sheets" / "000000.png") as sheet:
        assert (sheet.size, sheet.mode) == ((1024, 512), "RGB")
        pixels = np.asarray(sheet)
    assert pixels.min() >= 1
    crops = pixels[:, :512].reshape(4, 128, 4, 128, 3).swapaxes(1, 2).reshape(16, -1)
    assert (crops.std(axis=1) > 5).all()
    assert len(np.unique(crops, axis=0)) == 16
    # World 0 is the first crop, and the corner of the window.
    np.testing.assert_allclose(pixels[:128, :128].astype(int), pixels[:128, 512:640], atol=20)


def test_a_run_keeps_a_log_for_machines(finished: Path) -> None:
    records = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [record["num_images"] for record in records] == [4, 8, 12]
    for record in records:
        assert {"seconds", "loss_d", "loss_g", "logit_real", "logit_fake", "noise_rms"} <= set(record)
    assert ["r1" in record for record in records] == [True, False, True]
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds)


def test_reports_are_one_line_each(texture: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    lines = run(tmp_path, config_of(), texture, kimg=0.008)
    assert len(lines) == 2
    assert all("kimg" in line and "ETA 0:00 h" in line and "\n" not in line for line in lines)


def test_a_run_that_is_done_does_no_more(texture: Path, config_of: ConfigOf, finished: Path) -> None:
    before = load_file(finished / "state.safetensors")
    said = run(finished, config_of(), texture, kimg=0.012)
    assert said == [
        "Nothing to learn: the run has seen 0.012 thousand images, and --kimg 0.012 counts them from its beginning. "
        "Give a larger --kimg to go on."
    ]
    after = load_file(finished / "state.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_limit_of_time_stops_a_run(texture: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    schedule = Schedule(kimg=1000.0, minutes=1e-9)
    go(tmp_path, config_of(), texture, schedule)
    assert TrainState.load(tmp_path / "state.safetensors").num_images == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_a_snapshot(
    texture: Path, config_of: ConfigOf, tmp_path: Path, number: signal.Signals
) -> None:
    """Raised from within, at the first report; afterwards the signal means again what it meant."""
    before, lines = signal.getsignal(number), []

    def report(line: str) -> None:
        lines.append(line)
        signal.raise_signal(number)

    schedule = Schedule(kimg=1000.0, report_s=0.0)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        go(tmp_path, config_of(), texture, schedule, report)
    assert interrupt.value.args == (number,)
    assert signal.getsignal(number) == before
    assert len(lines) <= 2
    assert TrainState.load(tmp_path / "state.safetensors").num_images == 8


def test_a_failed_run_leaves_the_last_snapshot_as_it_was(texture: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    run(tmp_path, config_of(), texture, kimg=0.004)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    state, dataset = open_run(tmp_path, config_of(), CPU), PackedDataset.open(texture)
    state.discriminator.out.weight.data.fill_(float("inf"))
    with pytest.raises(TrainingError, match="not finite after 4 images"):
        train(Trainer(state, dataset), dataset, tmp_path, Schedule(kimg=1.0))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# Other runs in the same folder


@pytest.mark.parametrize("change", [{"lr": 0.001}, {"batch": 8}, {"seed": 1}, {"preset": "mini"}], ids=str)
def test_a_run_of_other_settings_is_not_touched(config_of: ConfigOf, finished: Path, change: dict) -> None:
    before = (finished / "run.json").read_bytes()
    with pytest.raises(TrainingError, match=r"holds a run with other settings or data\. Give another --out"):
        open_run(finished, config_of(**change), CPU)
    assert (finished / "run.json").read_bytes() == before


@pytest.mark.parametrize("kept", [0, 7, 100, 5000, -1])
def test_a_truncated_state_is_refused(config_of: ConfigOf, finished: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    (tmp_path / "state.safetensors").write_bytes((finished / "state.safetensors").read_bytes()[:kept])
    with pytest.raises(TrainingError, match="not a whole training state"):
        open_run(tmp_path, config_of(), CPU)


def test_a_state_of_another_run_is_refused(config_of: ConfigOf, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(to_dict(config_of(lr=0.1)), indent=1))
    (tmp_path / "state.safetensors").write_bytes((finished / "state.safetensors").read_bytes())
    with pytest.raises(TrainingError, match="of another run"):
        open_run(tmp_path, config_of(lr=0.1), CPU)


@pytest.mark.parametrize("name", ["model.safetensors", "log.jsonl", "state.safetensors"])
def test_files_of_no_run_are_not_replaced(config_of: ConfigOf, finished: Path, tmp_path: Path, name: str) -> None:
    """A model that somebody keeps, and its log: a new run there would end both."""
    (tmp_path / name).write_bytes((finished / name).read_bytes())
    with pytest.raises(TrainingError, match=f"{name} but no run.json"):
        open_run(tmp_path, config_of(), CPU)
    if name != "state.safetensors":
        with pytest.raises(TrainingError, match=f"{name} but no run.json"):
            continue_run(finished, tmp_path, config_of(lr=0.5))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b"[1]", b"5"])
def test_a_damaged_config_is_refused(config_of: ConfigOf, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(TrainingError, match="other settings"):
        open_run(tmp_path, config_of(), CPU)
    with pytest.raises(TrainingError, match="holds no training run"):
        load_config(tmp_path)


def test_a_run_that_was_begun_is_not_described_anew(config_of: ConfigOf, finished: Path, tmp_path: Path) -> None:
    """Another run that has no snapshot yet."""
    open_run(tmp_path, config_of(seed=9), CPU)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(TrainingError, match="other settings"):
        continue_run(finished, tmp_path, config_of(lr=0.5))
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_run_knows_its_config(config_of: ConfigOf, finished: Path, tmp_path: Path) -> None:
    assert load_config(finished) == config_of()
    with pytest.raises(TrainingError, match="holds no training run"):
        load_config(tmp_path)


def test_a_run_can_go_on_elsewhere_under_other_settings(config_of: ConfigOf, finished: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    other = config_of(lr=0.001, batch=8)
    new.mkdir()
    continue_run(finished, new, other)
    state = open_run(new, other, CPU)
    assert state.num_images == 12
    assert state.history == ({"until_num_images": 12, "lr": 0.002, "batch": 4},)
    continue_run(tmp_path / "nowhere", new, config_of(lr=0.5))  # there is a run already
    assert load_config(new).lr == 0.001
    with pytest.raises(TrainingError, match="holds no training run"):
        continue_run(tmp_path / "nowhere", tmp_path / "other", other)


@pytest.mark.parametrize(
    "limit", [{"kimg": float("nan")}, {"kimg": float("inf")}, {"kimg": 1.0, "minutes": float("nan")}]
)
def test_a_schedule_without_an_end_is_refused(limit: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be positive and finite"):
        Schedule(**limit)
