"""What the server says of itself: TileJSON 3.0, OGC API Tiles 1.0, and what made the pixels."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

from morecantile import TileMatrixSet

from tilegen.server.encoding import FORMATS
from tilegen.server.grid import MAP_TILE_PX
from tilegen.server.imagery import Imagery
from tilegen.server.mercator import WEB_MERCATOR, zooms
from tilegen.server.settings import MAX_DOWNLOAD_PX, Settings

SYNTHETIC = "Synthetic imagery made by tilegen; not an observation of the Earth."

NATIVE, MERCATOR = "native", WEB_MERCATOR.id or "WebMercatorQuad"
"""The two tile matrix sets: the imagery's own, and that of web maps."""

# Each is a requirements class of OGC 20-057 (API Tiles) or 17-083r4 (tile matrix sets) that is kept here. Not "core" of
# API Common: there is no API definition.
CONFORMANCE = [
    *(
        f"http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/{name}"
        for name in ("core", "tileset", "tilesets-list", "dataset-tilesets", "png", "jpeg")
    ),
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilematrixset",
]


def version_of(imagery: Imagery, settings: Settings) -> str:
    """A word that is another one where the same address and seed give other pixels. For browsers, which keep tiles."""
    grid = imagery.grid
    place = [grid.crs, grid.res, grid.x0, grid.y0, grid.num_levels]
    made = json.dumps([imagery.provenance(settings.seed), imagery.about(), place], sort_keys=True)
    return hashlib.sha256(made.encode()).hexdigest()[:32]


def info(imagery: Imagery, settings: Settings, seed: int) -> dict[str, Any]:
    """What the page shows and needs."""
    grid, made = imagery.grid, imagery.provenance(seed)
    edge = grid.edge
    return {
        "synthetic": True,
        "notice": SYNTHETIC,
        "software": f"tilegen {version('tilegen')}",
        "version": version_of(imagery, settings),
        "seed": str(seed),  # JavaScript has no whole numbers of 64 bits
        "is_seed_fixed": settings.is_seed_fixed or imagery.about()["kind"] == "product",
        "crs": grid.crs,
        "res": grid.res,
        "origin": [grid.x0, grid.y0],
        "bands": list(imagery.band_names),
        "tile_px": MAP_TILE_PX,
        "native_zoom": grid.native_zoom,
        "min_zoom": grid.min_zoom,
        "centred": grid.centred,
        "edge": None if edge is None else [edge.row0, edge.col0, edge.row1, edge.col1],
        "max_download_px": MAX_DOWNLOAD_PX,
        "command": _command(imagery, settings, seed),
        "licence": made.get("licence"),
        "attribution": made.get("attribution"),
        "provenance": made,
        **imagery.about(),
    }


def tilejson(imagery: Imagery, base: str, seed: int) -> dict[str, Any] | None:
    """TileJSON 3.0.0 of the XYZ tiles; None if the imagery is nowhere on the map of the web."""
    found = zooms(imagery.grid)
    if found is None:
        return None
    return {
        "tilejson": "3.0.0",
        "name": f"tilegen, seed {seed}",
        "description": SYNTHETIC,
        "attribution": imagery.provenance(seed).get("attribution") or "",
        "scheme": "xyz",
        "tiles": [f"{base}tiles/{{z}}/{{x}}/{{y}}.png?seed={seed}"],
        "minzoom": found[0],
        "maxzoom": found[1],
        "vector_layers": [],
    }


def matrix_sets(imagery: Imagery) -> dict[str, TileMatrixSet]:
    """Both tile matrix sets by name."""
    native = imagery.grid.tile_matrix_set(NATIVE, "The imagery's own grid: plain pixels, never resampled")
    return {NATIVE: native, MERCATOR: WEB_MERCATOR}


def landing(base: str, seed: int | None = None) -> dict[str, Any]:
    """The landing page of OGC API Tiles; with a seed, its links lead to that world."""
    return {
        "title": "tilegen",
        "description": SYNTHETIC,
        "links": [
            _link(base, _of_seed("?f=json", seed), "self", "This page"),
            _link(base, "" if seed is None else f"#seed={seed}", "alternate", "A map", media="text/html"),
            _link(base, "conformance", "http://www.opengis.net/def/rel/ogc/1.0/conformance", "Conformance"),
            _link(
                base,
                _of_seed("map/tiles", seed),
                "http://www.opengis.net/def/rel/ogc/1.0/tilesets-map",
                "Map tiles",
            ),
            _link(base, "tileMatrixSets", "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes", "Tile matrix sets"),
            _link(base, _of_seed("tilejson.json", seed), "describedby", "TileJSON"),
            _link(base, _of_seed("info.json", seed), "about", "What made the pixels"),
        ],
    }


def matrix_set_list(base: str, sets: dict[str, TileMatrixSet]) -> dict[str, Any]:
    """The list of tile matrix sets."""
    return {
        "tileMatrixSets": [
            {"id": name, "title": found.title, "links": [_link(base, f"tileMatrixSets/{name}", "self", name)]}
            for name, found in sets.items()
        ]
    }


def tileset_list(
    base: str, imagery: Imagery, sets: dict[str, TileMatrixSet], seed: int | None = None
) -> dict[str, Any]:
    """The list of sets of tiles: of Web Mercator none if the imagery is nowhere there."""
    names = [name for name in sets if name == NATIVE or zooms(imagery.grid) is not None]
    return {"tilesets": [tileset(base, imagery, name, sets[name], seed) for name in names]}


def tileset(base: str, imagery: Imagery, name: str, found: TileMatrixSet, seed: int | None = None) -> dict[str, Any]:
    """One set of tiles, and how to ask for them; with a seed, for those of that world."""
    path = f"map/tiles/{name}"
    template = f"{base}{path}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}"
    media = {picture.media_type: ending for ending, picture in FORMATS.items()}
    grid = imagery.grid
    least, greatest = (grid.min_zoom, grid.native_zoom) if name == NATIVE else zooms(grid) or (0, 0)
    registered = {"tileMatrixSetURI": f"http://www.opengis.net/def/tilematrixset/OGC/1.0/{name}"}
    return {
        "title": "tilegen",
        "dataType": "map",
        "crs": found.model_dump(mode="json")["crs"],
        **(registered if name == MERCATOR else {}),
        "tileMatrixSetLimits": [_limits(imagery, name, zoom) for zoom in range(least, greatest + 1)],
        "links": [
            _link(base, _of_seed(path, seed), "self", "This set of tiles"),
            _link(
                base,
                f"tileMatrixSets/{name}",
                "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme",
                "Its tile matrix set",
            ),
            *(
                {"rel": "item", "type": kind, "templated": True, "href": _of_seed(f"{template}?f={ending}", seed)}
                for kind, ending in media.items()
            ),
        ],
    }


def _command(imagery: Imagery, settings: Settings, seed: int) -> tuple[str, ...] | None:
    """The command for a seed; None if it takes none, as with a file that says which world, and another is shown."""
    command = imagery.command()
    return command if command and ("{seed}" in command or seed == settings.seed) else None


def _of_seed(address: str, seed: int | None) -> str:
    """An address that asks for a seed, if there is one to ask for."""
    if seed is None:
        return address
    return f"{address}{'&' if '?' in address else '?'}seed={seed}"


def _limits(imagery: Imagery, name: str, zoom: int) -> dict[str, Any]:
    """Which rows and columns of a zoom may be asked for; of Web Mercator all, though many may be empty."""
    grid, last_row, last_col = imagery.grid, (1 << zoom) - 1, (1 << zoom) - 1
    if name == NATIVE and not grid.centred and grid.edge is not None:
        tile_px = MAP_TILE_PX << (grid.native_zoom - zoom)
        last_row, last_col = (grid.edge.row1 - 1) // tile_px, (grid.edge.col1 - 1) // tile_px
    rows, cols = {"minTileRow": 0, "maxTileRow": last_row}, {"minTileCol": 0, "maxTileCol": last_col}
    return {"tileMatrix": str(zoom), **rows, **cols}


def _link(base: str, path: str, rel: str, title: str, media: str = "application/json") -> dict[str, Any]:
    return {"href": f"{base}{path}", "rel": rel, "type": media, "title": title}
