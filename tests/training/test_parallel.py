"""Two real processes: they do what one does, and the first one decides."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tilegen.config import to_dict
from tilegen.data.dataset import PackedDataset
from tilegen.training.config import TrainConfig
from tilegen.training.loop import Schedule
from tilegen.training.parallel import agreed, distributed, join, leave, mean_over_processes, sum_over_processes
from tilegen.training.run import run_training
from tilegen.training.state import TrainState
from tilegen.training.step import Trainer

CPU = torch.device("cpu")

PROCESS = """
import sys
import torch
from torch import nn
from tilegen.training.parallel import agreed, distributed, join, leave, mean_over_processes, sum_over_processes

rank, rendezvous, cpu = int(sys.argv[1]), sys.argv[2], torch.device("cpu")
join(rank, 2, rendezvous, cpu)
layer = nn.Linear(2, 1, bias=False)
layer.weight.data = torch.tensor([[1.0, 2.0]])
wrapped = distributed(layer)
(wrapped(torch.tensor([[1.0, 10.0 * rank]])) * (1 + 2 * rank)).sum().backward()
(wrapped(torch.tensor([[4.0 * rank, 0.0]]))).sum().backward()
print(layer.weight.grad.tolist())
print(sum_over_processes(torch.tensor([1.0, rank])).tolist(), mean_over_processes(torch.tensor(rank * 3.0)).item())
print([agreed(flag, cpu) for flag in ((rank == 0), (rank == 1))])
leave()
"""


def test_processes_average_their_gradients_and_agree(tmp_path: Path) -> None:
    """Also those of two backward passes that add up: (1 + 3) / 2 + 4 / 2 and (0 + 30) / 2."""
    command = [sys.executable, "-c", PROCESS]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "rendezvous")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in running]
    expected = ["[[4.0, 15.0]]", "[2.0, 1.0] 1.5", "[True, False]"]
    assert outputs == [expected, expected]


@pytest.mark.parametrize("flag", [True, False])
def test_a_single_process_agrees_with_itself(tmp_path: Path, flag: bool) -> None:
    join(0, 1, str(tmp_path / "rendezvous"), CPU)
    layer = nn.Linear(2, 2)
    assert distributed(layer) is layer
    assert sum_over_processes(torch.ones(2)).tolist() == mean_over_processes(torch.ones(2)).tolist() == [1, 1]
    assert agreed(flag, CPU) is flag
    leave()


@pytest.mark.parametrize("loss", ["logistic", "relativistic"])
def test_two_processes_do_what_one_does(
    texture: Path, config_of: Callable[..., TrainConfig], tmp_path: Path, loss: str
) -> None:
    """Three steps in float32 with every penalty, mixing and augmentation: all weights, moments and counters agree.

    Adam divides a gradient by its own size, so where that is rounding error weights may differ by a whole step: what
    agrees is the gradients, the first moments at beta1 = 0.
    """
    options = {
        "batch": 8, "loss": loss, "bfloat16": False, "path_length_weight": 1.0, "path_length_interval": 1,
        "ada_target": 0.01, "ada_kimg": 0.02, "lr": 1e-4,
    }  # fmt: skip
    one = Trainer(TrainState.new(config_of(**options)), PackedDataset.open(texture))
    for _ in range(3):
        one.step()
    two = config_of(num_processes=2, **options)
    schedule = Schedule(kimg=0.024, render_px=0)
    run_training(two, texture, tmp_path / "two", schedule, report=lambda line: None)
    state = TrainState.load(tmp_path / "two" / "state.safetensors")
    assert to_dict(state.config) == to_dict(two)
    assert state.num_images == one.state.num_images == 24
    assert state.sign_sum == pytest.approx(one.state.sign_sum, abs=1e-6)
    assert state.path_length_mean == pytest.approx(one.state.path_length_mean, rel=1e-4)
    one.state.save(tmp_path / "one.safetensors")
    alone, shared = load_file(tmp_path / "one.safetensors"), load_file(tmp_path / "two" / "state.safetensors")
    assert set(alone) == set(shared)
    for name, tensor in alone.items():
        if name.endswith("exp_avg"):
            # A relativistic D has no use for its last bias: that gradient is rounding error alone.
            scale = max(tensor.abs().max().item(), 1e-3)
            torch.testing.assert_close(shared[name] / scale, tensor / scale, rtol=0, atol=2e-3, msg=name)
        elif not name.startswith("adam"):
            torch.testing.assert_close(shared[name], tensor, rtol=1e-3, atol=7e-4, msg=name)
