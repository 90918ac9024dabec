"""Answers that hold pixels: tiles of both grids, and downloads."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilegen.server.cache import ByteCache
from tilegen.server.download import flat, geotiff
from tilegen.server.encoding import FORMATS, PictureFormat, encoded
from tilegen.server.guard import refused
from tilegen.server.imagery import Imagery
from tilegen.server.mercator import reading, warped
from tilegen.server.metadata import MERCATOR, version_of
from tilegen.server.painter import BusyError, Pixels
from tilegen.server.parameters import seed_of, window_of
from tilegen.server.pyramid import Pyramid
from tilegen.server.settings import Settings

_MOST_DOWNLOADS = 2
"""Downloads at a time: each holds its whole area."""

_Paint = Callable[[], Coroutine[Any, Any, Pixels]]

_KEPT = "public, max-age=86400, immutable"
_GONE = 499
"""Nobody reads this answer."""


class TileAnswers:
    """Tiles and downloads of one imagery. For one event loop."""

    def __init__(self, imagery: Imagery, settings: Settings) -> None:
        self._imagery, self._settings = imagery, settings
        self.pyramid = Pyramid(
            imagery,
            cache_bytes=settings.cache_bytes,
            num_threads=settings.num_threads,
            most_waiting=settings.most_waiting,
        )
        self._pictures: ByteCache[bytes] = ByteCache(settings.cache_bytes // 4)
        self._num_downloads = 0
        self._version = version_of(imagery, settings)

    async def tile(
        self, request: Request, matrix_set: str, place: tuple[int, int, int], picture: PictureFormat
    ) -> Response:
        """The tile at (zoom, row, col) of one of the two tile matrix sets.

        Raises:
            InputError: there is no such tile.
        """
        seed = seed_of(request, self._settings)
        paint = self._mercator(seed, place) if matrix_set == MERCATOR else self._native(seed, place)
        key = (seed, matrix_set, place, picture.name)
        # Who names the version never needs to ask again; all others ask whether their picture is still right.
        is_named = request.query_params.get("v") == self._version
        tag = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()[:32]
        headers = {"ETag": f'"{tag}"', "Cache-Control": _KEPT if is_named else "no-cache"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = self._pictures.get(key)
        if content is None:
            content = await _while_connected(request, self._painted(key, paint, picture))
        if content is None:
            return Response(status_code=_GONE)
        return Response(content, media_type=picture.media_type, headers=headers)

    async def download(self, request: Request, ending: str) -> Response:
        """A window of full resolution as a GeoTIFF or a PNG.

        Raises:
            InputError: the window is none, too large, or lies beyond the edge.
        """
        seed, window = seed_of(request, self._settings), window_of(request)
        grid = self._imagery.grid
        clipped = grid.clipped(0, window)
        if clipped is None:
            return refused(404, "There is no imagery here: the area lies beyond its edge.")
        if self._num_downloads >= _MOST_DOWNLOADS:
            return refused(503, "Other downloads are under way. Ask again in a few seconds.", {"Retry-After": "5"})
        self._num_downloads += 1
        try:
            pixels = await _while_connected(request, self.pyramid.window(seed, 0, clipped))
            if pixels is None:
                return Response(status_code=_GONE)
            made, names = self._imagery.provenance(seed), self._imagery.band_names
            if ending == "png":
                content = await asyncio.to_thread(encoded, pixels, names, FORMATS["png"], flat(made))
            else:
                content = await asyncio.to_thread(geotiff, pixels, names, grid, clipped, made)
        finally:
            self._num_downloads -= 1
        name = f"tilegen-seed{seed}-row{clipped.row0}-col{clipped.col0}.{ending}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(content, media_type="image/png" if ending == "png" else "image/tiff", headers=headers)

    def _native(self, seed: int, place: tuple[int, int, int]) -> _Paint:
        return functools.partial(self.pyramid.tile, seed, *self._imagery.grid.address(*place))

    def _mercator(self, seed: int, place: tuple[int, int, int]) -> _Paint:
        grid = self._imagery.grid
        found = reading(grid, *place)

        async def pixels() -> Pixels:
            source = await self.pyramid.window(seed, found.level, found.window)
            return source if found.is_exact else await asyncio.to_thread(warped, grid, found, source, place)

        return pixels

    async def _painted(self, key: tuple[Any, ...], paint: _Paint, picture: PictureFormat) -> bytes:
        content = await asyncio.to_thread(encoded, await paint(), self._imagery.band_names, picture)
        self._pictures.put(key, content, len(content))
        return content


async def _while_connected(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`; None if the client went away before, and then the work is cancelled."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def busy(request: Request, error: Exception) -> Response:
    """The answer where a queue is full."""
    assert isinstance(error, BusyError)
    return refused(503, "Too much waits to be painted. Ask again in a few seconds.", {"Retry-After": "3"})
