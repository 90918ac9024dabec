"""The group of commands: what it lists, and how it ends."""

import signal

import click
import pytest
from click.testing import CliRunner

import tilegen
from tilegen.cli.main import LazyGroup
from tilegen.errors import DataError


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_with_what_it_does(run, option):
    listed = run(option).stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == [
        "generate",
        "export",
        "verify",
        "serve",
        "stac",
        "info",
        "data",
        "train",
        "evaluate",
        "bench",
    ]
    assert "Render a world" in listed


@pytest.mark.parametrize("command", [["generate"], ["verify"], ["info"], ["data"], ["data", "prepare"], ["train"]])
def test_every_command_has_help(run, command):
    result = run(*command, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: tilegen {' '.join(command)}")


def test_the_version_is_that_of_the_package(run):
    assert run("--version").stdout == f"tilegen {tilegen.__version__}\n"


def test_an_unknown_command_is_refused(refused):
    assert refused("generrate", exit_code=2).startswith("No such command 'generrate'.")


def ends_with(error: BaseException) -> tuple[int, str]:
    """Exit code and stderr of a command that raises `error`."""

    class Group(LazyGroup):
        def get_command(self, ctx, cmd_name):
            return click.Command(cmd_name, callback=fail)

    def fail():
        raise error

    result = CliRunner().invoke(Group("tilegen"), ["fail"])
    return result.exit_code, result.stderr


INTERRUPTED = "\nInterrupted. What is finished is kept: run the same command again to resume.\n"


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (DataError("a.tif is black. Leave it out."), 1, "Error: a.tif is black. Leave it out.\n"),
        (PermissionError(13, "Permission denied", "a.tif"), 1, "Error: a.tif: Permission denied.\n"),
        (OSError("the disk is gone"), 1, "Error: tilegen: the disk is gone.\n"),
        (MemoryError("no 8 GiB"), 1, "Error: There is not enough memory: no 8 GiB. Ask for less at once.\n"),
        (KeyboardInterrupt(), 130, INTERRUPTED),
        (KeyboardInterrupt(signal.SIGTERM), 143, INTERRUPTED),
    ],
)
def test_what_goes_wrong_is_one_sentence(error, exit_code, said):
    assert ends_with(error) == (exit_code, said)


def test_a_mistake_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        raise CliRunner().invoke(LazyGroup("tilegen", callback=lambda: 1 / 0), ["info"]).exception


def test_signals_are_handled_as_before_once_a_command_has_ended(run):
    before = signal.getsignal(signal.SIGTERM)
    run("info")
    assert signal.getsignal(signal.SIGTERM) is before
