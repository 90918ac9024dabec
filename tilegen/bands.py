"""Bands: their names, and which of them a person is shown."""

from __future__ import annotations

from collections.abc import Sequence

RGB = ("red", "green", "blue")
"""Names of the bands of a colour image, in order."""


def shown_bands(names: Sequence[str]) -> tuple[int, int, int]:
    """Indices of the bands that are shown as red, green and blue.

    Those of these names, in any case; without them the first three, and of one or two bands the first, which is grey.
    """
    lowered = [name.lower() for name in names]
    if set(RGB) <= set(lowered):
        red, green, blue = map(lowered.index, RGB)
        return red, green, blue
    return (0, 1, 2) if len(names) >= 3 else (0, 0, 0)
