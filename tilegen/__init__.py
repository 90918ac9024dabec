"""tilegen: endless, seamless, georeferenced synthetic satellite imagery.

    world = tilegen.open_world(seed=7)
    world.read(tilegen.Window.from_size(512, 512, row0=-256))    # [bands, rows, cols] uint8

Importing this module loads neither torch nor any GIS library; its names load what they need on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilegen.geometry.window import Window as Window
    from tilegen.world import World as World
    from tilegen.world import open_world as open_world

_HOMES = {"Window": "tilegen.geometry.window", "World": "tilegen.world", "open_world": "tilegen.world"}

__all__ = ["Window", "World", "__version__", "open_world"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tilegen")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tilegen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
