"""Options that say where a product lies, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tilegen.cli.options import Bounds, Origin, Size

if TYPE_CHECKING:
    from tilegen.geometry.window import Window
    from tilegen.tiling.aoi import Aoi
    from tilegen.tiling.aoi_file import DrawnAoi
    from tilegen.tiling.product import Product
    from tilegen.world import World

C = TypeVar("C", bound=Callable[..., Any])

_DEFAULT_CRS = "EPSG:3857"

_OPTIONS = (
    click.option("--size", type=Size(), help="Pixels, such as 20000x20000."),
    click.option("--origin", type=Origin(), help="Upper left corner of --size in the CRS.  [default: 0,0]"),
    click.option("--bounds", type=Bounds(), help="Instead of --size: bounds in the CRS, snapped outward to the grid."),
    click.option(
        "--like", type=click.Path(path_type=Path), metavar="RASTER", help="CRS, grid and extent of this raster."
    ),
    click.option(
        "--aoi",
        "aoi_name",
        metavar="FILE[:LAYER]",
        help="Nodata outside of these polygons (GeoJSON, GeoPackage, Shapefile; any CRS). Their bounds without --size.",
    ),
    click.option(
        "--crs",
        help="CRS of the world's grid; 'utm': the zone of the middle of --aoi, or of --bounds or --origin, which are "
        f"longitudes and latitudes then.  [default: {_DEFAULT_CRS}]",
    ),
    click.option("--res", type=float, help="Pixel size in units of the CRS.  [default: that of the training imagery]"),
)


def where_options(command: C) -> C:
    """Give a command the options that `Where` is made of."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def split_options(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of `Where` among those that were given, and all others."""
    names = {field.name for field in fields(Where)}
    return {name: given[name] for name in names}, {name: value for name, value in given.items() if name not in names}


@dataclass(frozen=True, kw_only=True)
class Where:
    """The options as they were given; None for those that were not."""

    size: tuple[int, int] | None = None
    origin: tuple[float, float] | None = None
    bounds: tuple[float, float, float, float] | None = None
    like: Path | None = None
    aoi_name: str | None = None
    crs: str | None = None
    res: float | None = None

    def place(self) -> Place:
        """Read the files that are named, and choose the grid.

        Raises:
            click.UsageError: options that exclude or need each other.
            InputError: a file, or a place, cannot be used.
        """
        self._require_one_extent()
        drawn = self._drawn()
        if self.like is not None:
            return _place_like(self.like, drawn)
        if self.crs is not None and self.crs.lower() == "utm":
            return self._place_in_utm(drawn)
        return Place(where=self, crs=_DEFAULT_CRS if self.crs is None else self.crs, res=self.res, drawn=drawn)

    def _require_one_extent(self) -> None:
        given = [name for name in ("size", "bounds", "like") if getattr(self, name) is not None]
        if len(given) > 1:
            names = " and ".join(f"--{name}" for name in given)
            raise click.UsageError(f"{names} exclude each other: each of them says how large. Give one.")
        if not given and self.aoi_name is None:
            raise click.UsageError("How large? Give --size, --bounds, --like or --aoi.")
        if self.like is not None and not (self.crs is None and self.res is None):
            raise click.UsageError("--like gives CRS and pixel size already. Leave --crs and --res out.")
        if self.origin is not None and self.size is None:
            raise click.UsageError("--origin is the corner of --size. Give both, or neither.")

    def _drawn(self) -> DrawnAoi | None:
        from tilegen.tiling.aoi_file import read_aoi

        return None if self.aoi_name is None else read_aoi(self.aoi_name)

    def _place_in_utm(self, drawn: DrawnAoi | None) -> Place:
        """The place in the zone of its middle, with `origin` and `bounds` there."""
        from tilegen.geometry.utm import utm_bounds, utm_crs, utm_origin

        if self.bounds is not None:
            west, south, east, north = self.bounds
            east += 360 if east < west else 0
            crs = utm_crs((west + east) / 2, (south + north) / 2)
            where = replace(self, bounds=utm_bounds(crs, west, south, east, north))
        elif self.origin is not None:
            crs = utm_crs(*self.origin)
            where = replace(self, origin=utm_origin(crs, *self.origin))
        elif drawn is not None:
            crs, where = utm_crs(*drawn.centre()), self
        else:
            raise click.UsageError("--crs utm needs a place: --aoi, or --bounds or --origin in degrees.")
        return Place(where=where, crs=crs, res=self.res, drawn=drawn)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a world must be like, and which part of it is wanted.

    Args:
        where: the options, coordinates in `crs`.
        crs: of the grid.
        res: its pixel size; None for that of the model.
        anchor: its corner of pixel (0, 0).
        window: the extent, if it is known before the world is.
        drawn: the AOI, if there is one.
    """

    where: Where
    crs: str
    res: float | None
    anchor: tuple[float, float] = (0.0, 0.0)
    window: Window | None = None
    drawn: DrawnAoi | None = None

    @property
    def grid(self) -> dict[str, Any]:
        """Arguments of `open_world`."""
        return {"crs": self.crs, "res": self.res, "anchor": self.anchor}

    def product(self, world: World, *, chunk_px: int, shard_px: int) -> Product:
        """The product there.

        Raises:
            InputError: the place is not on the grid or not on the globe, or the AOI is beside the extent.
        """
        aoi = None if self.drawn is None else self.drawn.on(world.georef)
        extent = self._extent(world, aoi)
        world.georef.check_on_earth(extent)
        return world.product(extent, chunk_px=chunk_px, shard_px=shard_px, aoi=aoi)

    def notes(self, product: Product) -> list[str]:
        """Sentences on what was not taken as it was given."""
        notes, bounds = [], product.georef.bounds(product.extent)
        if self.drawn is not None and self.drawn.num_repaired:
            notes.append(
                f"--aoi {self.drawn.name}: {self.drawn.num_repaired} polygons were not valid and are repaired."
            )
        given = self.where.bounds
        if given is not None and any(
            abs(one - other) > 1e-6 * product.georef.res for one, other in zip(given, bounds, strict=True)
        ):
            snapped = ",".join(f"{value:.10g}" for value in bounds)
            notes.append(f"--bounds are snapped outward to the grid: {snapped}.")
        return notes

    def _extent(self, world: World, aoi: Aoi | None) -> Window:
        from tilegen.errors import InputError

        if self.window is not None:
            return self.window
        where, georef = self.where, world.georef
        if where.size is not None:
            return world.window_at(*(where.origin or (0.0, 0.0)), *where.size)
        if where.bounds is not None:
            west, _, east, _ = where.bounds
            if georef.is_geographic and west > east:
                raise InputError(
                    "--bounds cross the antimeridian, and a grid in degrees ends there. Give --crs utm, or another "
                    "projected CRS."
                )
            return georef.window(where.bounds)
        if aoi is None:
            raise InputError("There is no extent.")
        return aoi.covering()


def _place_like(path: Path, drawn: DrawnAoi | None) -> Place:
    from tilegen.tiling.like import read_grid

    georef, window = read_grid(path)
    return Place(
        where=Where(like=path), crs=georef.crs, res=georef.res, anchor=georef.anchor, window=window, drawn=drawn
    )


def say(notes: list[str], *, quiet: bool, as_json: bool) -> None:
    """Notes on stderr, for people or for machines."""
    from tilegen.cli.events import tell

    for note in notes:
        if as_json:
            tell("note", text=note)
        elif not quiet:
            click.echo(note, err=True)
