"""How far one layer looks. The halo is derived from these numbers and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from tilegen.geometry.window import Window


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Output pixel o of a layer reads inputs floor((o * down - before) / up) .. floor((o * down + after) / up).

    `up` and `down` are the integer resampling factors, `before` and `after` the reach in units of 1/`up` input pixel.
    All four describe rows and columns alike. tilegen's own; checked against brute force in tests/geometry.
    """

    up: int = 1
    down: int = 1
    before: int = 0
    after: int = 0

    def interval(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open input interval read to produce the output interval [start, stop)."""
        first = (start * self.down - self.before) // self.up
        last = ((stop - 1) * self.down + self.after) // self.up
        return first, last + 1

    def needs(self, window: Window) -> Window:
        """Input window read to produce `window`."""
        row0, row1 = self.interval(window.row0, window.row1)
        col0, col1 = self.interval(window.col0, window.col1)
        return Window(row0=row0, col0=col0, row1=row1, col1=col1)

    def made_interval(self, start: int, stop: int) -> tuple[int, int]:
        """Largest half-open output interval that the input interval [start, stop) suffices for."""
        first = -(-(start * self.up + self.before) // self.down)
        last = (stop * self.up - 1 - self.after) // self.down
        return first, last + 1

    def made(self, window: Window) -> Window:
        """Largest output window that the input `window` suffices for: what a convolution without padding gives.

        Raises:
            InputError: it suffices for nothing.
        """
        row0, row1 = self.made_interval(window.row0, window.row1)
        col0, col1 = self.made_interval(window.col0, window.col1)
        return Window(row0=row0, col0=col0, row1=row1, col1=col1)


POINTWISE = Footprint()
"""A 1x1 convolution, an activation, a modulation."""

CONV3 = Footprint(before=1, after=1)
"""A 3x3 convolution without padding."""

UPCONV3 = Footprint(up=2, before=2, after=2)
"""Transposed 3x3 convolution of stride 2 and the [1, 3, 3, 1] FIR filter: every phase reads i-1, i, i+1."""

UPSAMPLE2 = Footprint(up=2, before=1, after=1)
"""Bilinear x2 with half-pixel centres, the FIR of the RGB skip."""


def site_footprint(level: int) -> Footprint:
    """How a pixel of `level` reads the style grid, which has two sites per cell (level 0 has one pixel per cell).

    Bilinear sampling at pixel centres: level 0 averages 2x2 sites, level 1 coincides with the sites, level l >= 2
    interpolates between sites that are 2**(l-1) pixels apart.
    """
    if level == 0:
        return Footprint(down=2, after=1)
    if level == 1:
        return POINTWISE
    spacing_px = 1 << (level - 1)
    return Footprint(up=spacing_px, before=spacing_px // 2, after=spacing_px // 2)
