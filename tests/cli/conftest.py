"""A small model, a cluster that commands share, and a way to run commands."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tilegen.cli.main import main
from tilegen.testing.checkpoints import save_random_checkpoint
from tilegen.tiling.cluster import cluster


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Path of a checkpoint of the smallest preset, with random weights."""
    path = tmp_path_factory.mktemp("model") / "nano.safetensors"
    save_random_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def scheduler():
    """Address of a cluster of one worker, so that not every command has to start its own."""
    with cluster(None, 1) as client:
        yield client.scheduler.address


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which commands run in."""
    path = tmp_path / "folder"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def run(*words: object) -> Result:
    """`tilegen` with these words. An exception that reaches the user as a traceback fails the test."""
    result = CliRunner().invoke(main, [str(word) for word in words], prog_name="tilegen")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(name="run")
def run_fixture():
    return run


@pytest.fixture
def refused(folder):
    """Runs `tilegen` with words that it must refuse, and gives its one sentence; nothing may be left behind."""

    def sentence(*words: object, exit_code: int = 1) -> str:
        before = sorted(Path(folder).rglob("*"))
        result = run(*words)
        assert (result.exit_code, result.stdout) == (exit_code, "")
        lines = result.stderr.strip().splitlines()
        if exit_code == 2:  # click shows the usage first
            assert lines[0].startswith("Usage: tilegen ")
        else:
            assert len(lines) == 1
        assert lines[-1].startswith("Error: ")
        assert lines[-1].endswith((".", "?"))
        assert sorted(Path(folder).rglob("*")) == before
        return lines[-1].removeprefix("Error: ")

    return sentence
