"""`tilegen`: the group of commands, each loaded when it is called."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import Any

import click

from tilegen.errors import TilegenError

_COMMANDS = {
    "generate": "Render a world to GeoTIFF or Zarr.",
    "export": "Write a product in another format or layout.",
    "verify": "Compare a product with its world.",
    "serve": "Show a world or a product on a web map.",
    "stac": "Write a STAC item beside a product.",
    "info": "Describe a product, a checkpoint or a dataset.",
    "data": "Download and pack real imagery for training.",
    "train": "Learn a generator from real imagery.",
    "evaluate": "Judge a generator against real imagery.",
    "bench": "Measure how fast this machine draws.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used, so that --help is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded from the module of its name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"tilegen.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run. What tilegen or the system refuses becomes one sentence and exit code 1, a signal 128 and its number."""
        default = signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except TilegenError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            raise  # whoever read the output has left; click knows what to do
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'tilegen'}: {error.strerror or error}.") from None
        except MemoryError as error:
            raise click.ClickException(f"There is not enough memory: {error}. Ask for less at once.") from None
        except KeyboardInterrupt as interrupt:
            click.echo("\nInterrupted. What is finished is kept: run the same command again to resume.", err=True)
            sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
        finally:
            signal.signal(signal.SIGTERM, default)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does, for SIGTERM."""
    raise KeyboardInterrupt(number)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"tilegen {version('tilegen')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def main() -> None:
    """Endless, seamless, georeferenced synthetic satellite imagery."""
