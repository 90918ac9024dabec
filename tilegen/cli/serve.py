"""`tilegen serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilegen.cli.options import ScaleSeed, default_workers, once_each

if TYPE_CHECKING:
    from tilegen.server.imagery import Imagery

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_OF_A_WORLD = ("seed", "is_seed_fixed", "scale_seeds", "model", "crs", "res", "truncation_psi")


@click.command()
@click.argument("product", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--seed", type=int, default=0, show_default=True, help="The world that is shown first.")
@click.option("--fixed-seed", "is_seed_fixed", is_flag=True, help="Show no other seed.")
@click.option("--scale-seed", "scale_seeds", type=ScaleSeed(), multiple=True, help="As of `tilegen generate`.")
@click.option("--model", default="default", show_default=True, help="'default', a checkpoint, or a training run.")
@click.option("--crs", default="EPSG:3857", show_default=True, help="CRS of the world's grid.")
@click.option("--res", type=float, help="Pixel size in units of the CRS.  [default: that of the training imagery]")
@click.option("--truncation-psi", type=float, default=1.0, show_default=True, help="Below 1: less varied.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--engine", default="auto", show_default=True, help="auto, compiled or eager.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 is everywhere.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free one.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that browsers may use for it.")
@click.option("--cors", "origins", multiple=True, metavar="ORIGIN", help="A site whose pages may read the tiles.")
@click.option("--workers", type=click.IntRange(1, 256), help="Threads that paint.  [default: one per core]")
@click.option("--max-zoom-out", type=click.IntRange(0, 4), default=3, show_default=True, help="Levels, 4x work each.")
@click.option("--cache", "cache_mib", type=click.IntRange(1, 1 << 20), default=256, show_default=True, help="In MiB.")
@click.option("--max-waiting", type=click.IntRange(64, 1 << 16), default=256, show_default=True, help="Then it is 503.")
@click.option("--max-per-client", type=click.IntRange(1, 1 << 16), default=64, show_default=True, help="Then 429.")
@click.pass_context
def serve(  # noqa: PLR0913  one argument per option
    ctx: click.Context,
    /,
    *,
    product: Path | None,
    is_seed_fixed: bool,
    max_zoom_out: int,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    workers: int | None,
    cache_mib: int,
    max_waiting: int,
    max_per_client: int,
    **world: Any,
) -> None:
    """A web map of an endless world, or of PRODUCT, a GeoTIFF (.tif) or a Zarr store (.zarr). Ctrl-C stops it.

    Example:  tilegen serve --seed 7
    """
    _require_server()
    from tilegen.server.app import create_app
    from tilegen.server.run import bound, run
    from tilegen.server.settings import LOOPBACK, Settings

    is_local = host in _LOOPBACK
    if product is None:
        imagery, seed = _world(max_zoom_out, shows_path=is_local, options=world)
    else:
        imagery, seed = _product(ctx, product, max_zoom_out), 0
    settings = Settings(
        seed=seed,
        is_seed_fixed=is_seed_fixed or product is not None,
        cache_bytes=cache_mib << 20,
        num_threads=workers or default_workers(),
        most_waiting=max_waiting,
        most_per_client=max_per_client,
        hosts=(*LOOPBACK, *hosts) if is_local else hosts or None,
        origins=origins,
    )
    app, listening = create_app(imagery, settings), bound(host, port)
    name = f"[{host}]" if ":" in host else host
    click.echo(f"http://{name}:{listening.getsockname()[1]}/  (Ctrl-C stops it)")
    if not is_local:
        click.echo("Everybody who can reach this machine can use it; nothing is encrypted.", err=True)
    run(app, listening, settings)
    click.echo("Stopped.")


def _world(max_zoom_out: int, *, shows_path: bool, options: dict[str, Any]) -> tuple[Imagery, int]:
    """What is shown, and its seed, which a world's file has of its own."""
    from tilegen.server.worlds import WorldImagery
    from tilegen.world import open_world

    model: str = options["model"]
    world = open_world(**options | {"scale_seeds": once_each("--scale-seed", options["scale_seeds"])})
    imagery = WorldImagery(world, max_zoom_out=max_zoom_out, model=model if shows_path else Path(model).name)
    imagery.load()
    return imagery, world.config.seed


def _product(ctx: click.Context, path: Path, max_zoom_out: int) -> Imagery:
    from tilegen.errors import InputError
    from tilegen.server.products import open_product

    given = [name for name in _OF_A_WORLD if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE]
    if given:
        options = {"is_seed_fixed": "fixed_seed", "scale_seeds": "scale_seed"}
        option = f"--{options.get(given[0], given[0]).replace('_', '-')}"
        raise InputError(f"{option} is of a world; {path} is written already. Leave one of them out.")
    return open_product(path, max_zoom_out=max_zoom_out)


def _require_server() -> None:
    from importlib.util import find_spec

    from tilegen.errors import InputError

    missing = [name for name in ("morecantile", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InputError(f"`tilegen serve` needs {' and '.join(missing)}. Install it: pip install {' '.join(missing)}.")
