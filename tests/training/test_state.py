"""A state survives a restart bit by bit, and a broken file is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tilegen.data.dataset import PackedDataset
from tilegen.errors import InputError, TrainingError
from tilegen.training.config import TrainConfig
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

ConfigOf = Callable[..., TrainConfig]


def advance(state: TrainState, texture: Path, steps: int) -> TrainState:
    trainer = Trainer(state, PackedDataset.open(texture))
    for _ in range(steps):
        trainer.step()
    return state


def saved(state: TrainState, path: Path) -> dict[str, torch.Tensor]:
    state.save(path)
    return load_file(path)


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_run_that_was_stopped_ends_as_if_it_had_never_been(
    texture: Path, config_of: ConfigOf, tmp_path: Path, first: int, bfloat16: bool
) -> None:
    """Networks, average, optimisers: after four steps all tensors are equal to those of a straight run."""
    config = config_of(bfloat16=bfloat16)
    straight = saved(advance(TrainState.new(config), texture, 4), tmp_path / "straight.safetensors")
    advance(TrainState.new(config), texture, first).save(tmp_path / "stopped.safetensors")
    resumed = TrainState.load(tmp_path / "stopped.safetensors")
    assert (resumed.config, resumed.num_images) == (config, 4 * first)
    tensors = saved(advance(resumed, texture, 4 - first), tmp_path / "resumed.safetensors")
    assert set(tensors) == set(straight)
    assert [name for name, tensor in tensors.items() if not torch.equal(tensor, straight[name])] == []


def test_a_state_holds_both_networks_their_average_and_both_optimisers(
    texture: Path, config_of: ConfigOf, tmp_path: Path
) -> None:
    state = advance(TrainState.new(config_of()), texture, 1)
    state.seconds = 12.5
    tensors = saved(state, tmp_path / "state.safetensors")
    parts = {name.partition(".")[0] for name in tensors}
    assert parts == {"generator", "discriminator", "average", "adam_g", "adam_d"}
    assert sum(name.startswith("adam_g.") for name in tensors) == 3 * len(list(state.generator.parameters()))
    assert TrainState.load(tmp_path / "state.safetensors").seconds == 12.5


def test_weights_are_a_function_of_the_seed(config_of: ConfigOf) -> None:
    """And making them leaves everybody's random numbers alone."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (TrainState.new(config_of(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    weights = [state.generator.synthesis.layers[3].weight for state in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(one.average.synthesis.const, one.generator.synthesis.const)


def test_a_state_goes_on_under_other_settings(texture: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    state = advance(TrainState.new(config_of(lr=0.002)), texture, 1)
    state.save(tmp_path / "state.safetensors")
    other = TrainState.load(tmp_path / "state.safetensors", config_of(lr=0.001))
    assert other.adam_g.param_groups[0]["lr"] == 0.001
    assert other.num_images == 4
    assert torch.equal(other.generator.synthesis.const, state.generator.synthesis.const)
    advance(other, texture, 1)


def test_a_state_goes_on_with_larger_crops(texture: Path, config_of: ConfigOf, tmp_path: Path) -> None:
    """D keeps what it knows and learns on; its optimiser is new, that of G is not."""
    state = advance(TrainState.new(config_of()), texture, 2)
    before = saved(state, tmp_path / "state.safetensors")
    config = config_of(crop_px=64)
    grown = TrainState.load(tmp_path / "state.safetensors", config)
    after = saved(grown, tmp_path / "grown.safetensors")
    kept = {name for name in before if not name.startswith("adam_d.")}
    assert [name for name in kept if not torch.equal(before[name], after[name])] == []
    assert [name for name in after if name.startswith("adam_d.")] == []
    new = f"discriminator.blocks.{len(state.discriminator.blocks)}."
    assert all(name.startswith(new) for name in set(after) - set(before))
    learned = saved(advance(grown, texture, 1), tmp_path / "learned.safetensors")
    assert not torch.equal(learned[new + "down.weight"], after[new + "down.weight"])
    assert TrainState.load(tmp_path / "learned.safetensors").config == config


@given(kept=st.floats(0, 1, exclude_max=True))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_state_is_refused(config_of: ConfigOf, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "state.safetensors"
    if not (tmp_path / "whole").exists():
        TrainState.new(config_of()).save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(TrainingError, match="not a whole training state"):
        TrainState.load(path)


@given(where=st.floats(0.01, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_altered_state_is_refused(config_of: ConfigOf, tmp_path: Path, where: float, bit: int) -> None:
    """One bit, anywhere: in a weight, a moment, a counter, or the header."""
    if not (tmp_path / "whole").exists():
        TrainState.new(config_of()).save(tmp_path / "whole")
    content = bytearray((tmp_path / "whole").read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    (tmp_path / "state.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match="not a whole training state"):
        TrainState.load(tmp_path / "state.safetensors")


@pytest.mark.parametrize(
    "change",
    [{"num_images": -1}, {"num_images": 4.5}, {"num_images": "4"}, {"augment_p": 1.5}, {"augment_p": "0"},
     {"seconds": float("nan")}, {"sign_sum": None}, {"history": 5}, {"path_length_mean": float("inf")}],
    ids=str,
)  # fmt: skip
def test_counters_of_no_run_are_refused(config_of: ConfigOf, change: dict) -> None:
    state = TrainState.new(config_of())
    state.num_images = 12
    with pytest.raises(InputError):
        state.set_counters(state.counters() | change)
    assert state.num_images == 12


def test_what_is_no_state_is_refused(config_of: ConfigOf, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    for metadata in (None, {"tilegen_train_state": "{}"}, {"tilegen_train_state": "[]"}, {"tilegen_train_state": "{"}):
        save_file({"generator.const": torch.zeros(3)}, path, metadata=metadata)
        with pytest.raises(TrainingError, match="not a whole training state"):
            TrainState.load(path)
    with pytest.raises(TrainingError, match="not a whole training state"):
        TrainState.load(tmp_path / "none.safetensors")


def test_a_state_of_other_networks_is_refused(config_of: ConfigOf, tmp_path: Path) -> None:
    TrainState.new(config_of()).save(tmp_path / "state.safetensors")
    for other in (config_of(crop_px=16), config_of(preset="mini")):
        with pytest.raises(TrainingError, match="holds other networks than those of the run"):
            TrainState.load(tmp_path / "state.safetensors", other)


def test_weights_that_are_not_finite_never_replace_a_good_state(tmp_path: Path, config_of: ConfigOf) -> None:
    """A gradient can overflow in a step whose losses are finite: the loss shows it one step too late."""
    state = TrainState.new(config_of())
    state.save(tmp_path / "state.safetensors")
    good = (tmp_path / "state.safetensors").read_bytes()
    with torch.no_grad():
        state.generator.synthesis.const[0] = float("nan")
    with pytest.raises(
        TrainingError, match=r"generator\.synthesis\.const is not finite .* the last snapshot is intact"
    ):
        state.save(tmp_path / "state.safetensors")
    assert (tmp_path / "state.safetensors").read_bytes() == good
