"""What stands in a URL, checked: bounded whole numbers and known words, or one sentence."""

from __future__ import annotations

import re

from starlette.requests import Request

from tilegen.errors import InputError
from tilegen.geometry.window import Window
from tilegen.server.encoding import FORMATS, PictureFormat
from tilegen.server.settings import MAX_DOWNLOAD_PX, Settings

_MOST_SHOWN = 40

MAX_SEED = (1 << 64) - 1
MAX_PIXEL = 1 << 40
"""Beyond what the map reaches."""


def whole(name: str, text: str, least: int, most: int) -> int:
    """A whole number.

    Raises:
        InputError: it is none, or out of range.
    """
    # ASCII alone, and never so long that parsing it takes time.
    number = int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None
    if number is None or not least <= number <= most:
        raise InputError(f"{name} is a whole number from {least} to {most}, not {_shown(text)}.")
    return number


def tile_of(zoom: str, row: str, col: str) -> tuple[int, int, int]:
    """(zoom, row, col) of a tile; whether there is one, the grid says.

    Raises:
        InputError: one is no number.
    """
    return whole("z", zoom, 0, 64), whole("The row", row, 0, MAX_PIXEL), whole("The column", col, 0, MAX_PIXEL)


def picture_format(ending: str) -> PictureFormat:
    """A format by the ending of a name.

    Raises:
        InputError: there is no such format.
    """
    if ending not in FORMATS:
        raise InputError(f"There are tiles as .png, .jpg and .webp, none as {_shown(ending)}.")
    return FORMATS[ending]


def seed_of(request: Request, settings: Settings) -> int:
    """The seed of a request, or that of the server.

    Raises:
        InputError: it is none, or the server shows one seed only.
    """
    text = request.query_params.get("seed")
    seed = settings.seed if text is None else whole("A seed", text, 0, MAX_SEED)
    if settings.is_seed_fixed and seed != settings.seed:
        raise InputError(f"This server shows seed {settings.seed} only.")
    return seed


def asked_seed(request: Request, settings: Settings) -> int | None:
    """The seed that a request names; None if it names none, and gets that of the server.

    Raises:
        InputError: as of `seed_of`.
    """
    return seed_of(request, settings) if "seed" in request.query_params else None


def window_of(request: Request) -> Window:
    """The window of a download, in pixels of full resolution.

    Raises:
        InputError: a number is missing or out of range.
    """
    given = {name: request.query_params.get(name, "") for name in ("row", "col", "rows", "cols")}
    row, col = (whole(name, given[name], -MAX_PIXEL, MAX_PIXEL) for name in ("row", "col"))
    rows, cols = (whole(name, given[name], 1, MAX_DOWNLOAD_PX) for name in ("rows", "cols"))
    return Window.from_size(rows, cols, row0=row, col0=col)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")
