"""HaloPlan: which window every layer must produce so that the last one yields exactly the window asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilegen.geometry.footprint import Footprint
from tilegen.geometry.window import Window


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One node of the network: its name and what it reads, as (name of the source, footprint) pairs."""

    name: str
    reads: tuple[tuple[str, Footprint], ...] = ()


@dataclass(frozen=True, kw_only=True)
class HaloPlan:
    """The window of every layer, in that layer's own absolute pixels. Plain data: print it, compare it, pickle it."""

    windows: tuple[tuple[str, Window], ...]

    @classmethod
    def for_window(cls, window: Window, layers: Sequence[Layer]) -> HaloPlan:
        """Walk `layers` (sources first, the image last) backwards, joining what all readers need of each source."""
        needed = {layers[-1].name: window}
        for layer in reversed(layers):
            for source, footprint in layer.reads:
                need = footprint.needs(needed[layer.name])
                needed[source] = needed[source].union(need) if source in needed else need
        return cls(windows=tuple((layer.name, needed[layer.name]) for layer in layers if layer.name in needed))

    def __getitem__(self, name: str) -> Window:
        for layer_name, window in self.windows:
            if layer_name == name:
                return window
        raise KeyError(name)

    def __str__(self) -> str:
        return "\n".join(f"{name:<12} {window.height:>6} x {window.width:<6} {window}" for name, window in self.windows)
