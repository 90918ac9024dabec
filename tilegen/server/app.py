"""The application: which address gives what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tilegen.errors import InputError, TilegenError
from tilegen.server import metadata
from tilegen.server.encoding import FORMATS
from tilegen.server.grid import NoTileError
from tilegen.server.guard import Guard, refused
from tilegen.server.imagery import Imagery
from tilegen.server.painter import BusyError
from tilegen.server.parameters import asked_seed, picture_format, seed_of, tile_of
from tilegen.server.settings import Settings
from tilegen.server.tiles import TileAnswers, busy

_PAGE = {
    "index.html": "text/html; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "readout.js": "text/javascript; charset=utf-8",
    "openlayers.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
"""The files of the page. No other file is ever read for a request."""

_Answer = Callable[[Request], Awaitable[Response]]


def create_app(imagery: Imagery, settings: Settings) -> ASGIApp:
    """The map of `imagery` as an ASGI application.

    Args:
        imagery: what is shown, of any seed.
        settings: the limits.
    """
    answers = _Answers(imagery, settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        answers.close()

    origins = [
        Middleware(CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET"])
        for _ in settings.origins[:1]
    ]
    app = Starlette(
        routes=answers.routes(),
        middleware=origins,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _http,
            InputError: _unusable,
            BusyError: busy,
            TilegenError: _broken,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, settings)


class _Answers:
    """One method per kind of address."""

    def __init__(self, imagery: Imagery, settings: Settings) -> None:
        self._imagery, self._settings = imagery, settings
        self._tiles: TileAnswers | None = None
        self._sets = metadata.matrix_sets(imagery)
        self._page = {name: files("tilegen.server").joinpath("page", name).read_bytes() for name in _PAGE}

    def routes(self) -> list[Route]:
        """All addresses there are."""
        table: dict[str, _Answer] = {
            "/": self.front,
            "/page/{name}": self.page,
            "/info.json": self.info,
            "/tilejson.json": self.tilejson,
            "/tiles/{z}/{x}/{name}": self.xyz,
            "/download.tif": self.download,
            "/download.png": self.download,
            "/conformance": self.conformance,
            "/tileMatrixSets": self.matrix_sets,
            "/tileMatrixSets/{set}": self.matrix_set,
            "/map/tiles": self.tilesets,
            "/map/tiles/{set}": self.tileset,
            "/map/tiles/{set}/{z}/{row}/{col}": self.tile,
        }
        return [Route(path, answer, methods=["GET"]) for path, answer in table.items()]

    def close(self) -> None:
        """Begin nothing more."""
        if self._tiles is not None:
            self._tiles.pyramid.close()

    async def front(self, request: Request) -> Response:
        """The page; the landing page of the API for those who ask for JSON."""
        accepted = request.headers.get("accept", "")
        wants_json = "application/json" in accepted and "text/html" not in accepted
        if request.query_params.get("f") == "json" or wants_json:
            return JSONResponse(metadata.landing(str(request.base_url), asked_seed(request, self._settings)))
        return self._file("index.html")

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        return self._file(request.path_params["name"])

    async def info(self, request: Request) -> Response:
        """What made the pixels."""
        return JSONResponse(metadata.info(self._imagery, self._settings, seed_of(request, self._settings)))

    async def tilejson(self, request: Request) -> Response:
        """TileJSON of the XYZ tiles."""
        seed = seed_of(request, self._settings)
        found = metadata.tilejson(self._imagery, str(request.base_url), seed)
        if found is None:
            return refused(404, "The imagery is nowhere on the map of the web; see /map/tiles/native.")
        return JSONResponse(found)

    async def xyz(self, request: Request) -> Response:
        """A tile of Web Mercator."""
        given = request.path_params
        row, _, ending = given["name"].rpartition(".")
        place = tile_of(given["z"], row, given["x"])
        return await self._answers.tile(request, metadata.MERCATOR, place, picture_format(ending))

    async def tile(self, request: Request) -> Response:
        """A tile of one of the two tile matrix sets."""
        given = request.path_params
        name, ending = self._known_set(request), request.query_params.get("f") or _ending(request)
        place = tile_of(given["z"], given["row"], given["col"])
        return await self._answers.tile(request, name, place, picture_format(ending))

    async def download(self, request: Request) -> Response:
        """A window as a file."""
        return await self._answers.download(request, request.url.path.rpartition(".")[2])

    async def conformance(self, request: Request) -> Response:
        """Classes of OGC's standards that are kept."""
        return JSONResponse({"conformsTo": metadata.CONFORMANCE})

    async def matrix_sets(self, request: Request) -> Response:
        """The tile matrix sets."""
        return JSONResponse(metadata.matrix_set_list(str(request.base_url), self._sets))

    async def matrix_set(self, request: Request) -> Response:
        """One tile matrix set."""
        found = self._sets[self._known_set(request)]
        return JSONResponse(found.model_dump(mode="json", exclude_none=True))

    async def tilesets(self, request: Request) -> Response:
        """The sets of tiles."""
        seed = asked_seed(request, self._settings)
        return JSONResponse(metadata.tileset_list(str(request.base_url), self._imagery, self._sets, seed))

    async def tileset(self, request: Request) -> Response:
        """One set of tiles."""
        name, seed = self._known_set(request), asked_seed(request, self._settings)
        return JSONResponse(metadata.tileset(str(request.base_url), self._imagery, name, self._sets[name], seed))

    @property
    def _answers(self) -> TileAnswers:
        if self._tiles is None:  # in the event loop, to which its queue belongs
            self._tiles = TileAnswers(self._imagery, self._settings)
        return self._tiles

    def _known_set(self, request: Request) -> str:
        name: str = request.path_params["set"]
        if name not in self._sets:
            raise HTTPException(404, f"The tile matrix sets are {' and '.join(self._sets)}.")
        return name

    def _file(self, name: str) -> Response:
        if name not in self._page:
            raise HTTPException(404, "There is no such page.")
        return Response(self._page[name], media_type=_PAGE[name], headers={"Cache-Control": "no-cache"})


def _ending(request: Request) -> str:
    """The format that a client accepts, in the order of its list; PNG unless it names one."""
    known = {picture.media_type: ending for ending, picture in FORMATS.items()}
    named = re.findall(r"[a-z]+/[a-z]+", request.headers.get("accept", ""))
    return next((known[name] for name in named if name in known), "png")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = "There is nothing at this address." if error.detail == "Not Found" else error.detail
    return refused(error.status_code, sentence, dict(error.headers or {}))


async def _unusable(request: Request, error: Exception) -> Response:
    return refused(404 if isinstance(error, NoTileError) else 400, str(error))


async def _broken(request: Request, error: Exception) -> Response:
    return refused(500, str(error))


async def _failed(request: Request, error: Exception) -> Response:
    return refused(500, "The server failed here; its log says why.")  # uvicorn logs what it was
