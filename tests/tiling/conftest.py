"""Clusters that tests share, and processes that they may kill."""

import pytest

from tilegen.testing.faults import Controls
from tilegen.testing.processes import Processes
from tilegen.tiling.cluster import cluster


@pytest.fixture(scope="module")
def two_workers():
    with cluster(None, 2) as client:
        yield client


@pytest.fixture
def controls(tmp_path):
    folder = tmp_path / "controls"
    folder.mkdir()
    return Controls(folder=str(folder))


@pytest.fixture
def processes(tmp_path):
    folder = tmp_path / "processes"
    folder.mkdir()
    processes = Processes(folder=folder)
    yield processes
    processes.stop()
