"""Two real processes: gradients become their means, and the first one decides."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tilegen.training.parallel import agreed, average_gradients, join, leave

PROCESS = """
import sys
import torch
from torch import nn
from tilegen.training.parallel import agreed, average_gradients, join, leave

rank, rendezvous = int(sys.argv[1]), sys.argv[2]
join(rank, 2, rendezvous)
weight, bias, frozen = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (3,), (4,)))
weight.grad = torch.arange(6.0).view(2, 3) * (1 + 2 * rank)
bias.grad = torch.full((3,), float(10 * rank))
average_gradients([weight, frozen, bias])
print(weight.grad.tolist(), bias.grad.tolist(), frozen.grad)
print([agreed(flag) for flag in ((rank == 0), (rank == 1))])
leave()
"""


def test_processes_average_their_gradients_and_agree(tmp_path: Path) -> None:
    """Also where a parameter has no gradient."""
    command = [sys.executable, "-c", PROCESS]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "rendezvous")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in running]
    mean = "[[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]] [5.0, 5.0, 5.0] None"
    assert outputs == [[mean, "[True, False]"], [mean, "[True, False]"]]


@pytest.mark.parametrize("flag", [True, False])
def test_a_single_process_agrees_with_itself(tmp_path: Path, flag: bool) -> None:
    join(0, 1, str(tmp_path / "rendezvous"))
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    average_gradients([weight])
    assert weight.grad.tolist() == [1, 1]
    assert agreed(flag) is flag
    leave()
