"""Where: one frozen rectangle type instead of four loose integers."""

from __future__ import annotations

from dataclasses import dataclass

from tilegen.errors import InputError

MAX_COORDINATE = 1 << 60
"""Largest absolute coordinate. Leaves headroom in signed 64 bits for sums and for doubled coordinates."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Half-open rectangle of absolute pixels at one level, rows first; may be negative and far away.

    Rows are `row0 <= row < row1`, columns `col0 <= col < col1`. Never empty.

    Raises:
        InputError: a side is not positive or a coordinate lies beyond ±2**60.
    """

    row0: int
    col0: int
    row1: int
    col1: int

    def __post_init__(self) -> None:
        if self.row1 <= self.row0 or self.col1 <= self.col0:
            raise InputError(
                f"A window needs at least one row and one column, got {self}. Give row1 > row0, col1 > col0."
            )
        if max(abs(self.row0), abs(self.col0), abs(self.row1), abs(self.col1)) > MAX_COORDINATE:
            raise InputError(f"{self} lies beyond ±2**60 pixels, where coordinates end. Move it closer to the origin.")

    def __str__(self) -> str:
        return f"rows {self.row0}..{self.row1}, cols {self.col0}..{self.col1}"

    @classmethod
    def from_size(cls, height: int, width: int, *, row0: int = 0, col0: int = 0) -> Window:
        """The window of `height` rows and `width` columns whose first pixel is (`row0`, `col0`)."""
        return cls(row0=row0, col0=col0, row1=row0 + height, col1=col0 + width)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.col1 - self.col0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.height, self.width

    def shifted(self, rows: int, cols: int) -> Window:
        """This window moved by (`rows`, `cols`)."""
        return Window(row0=self.row0 + rows, col0=self.col0 + cols, row1=self.row1 + rows, col1=self.col1 + cols)

    def contains(self, other: Window) -> bool:
        """Whether `other` lies inside."""
        return (
            self.row0 <= other.row0 and self.col0 <= other.col0 and other.row1 <= self.row1 and other.col1 <= self.col1
        )

    def union(self, other: Window) -> Window:
        """The smallest window that contains both."""
        return Window(
            row0=min(self.row0, other.row0),
            col0=min(self.col0, other.col0),
            row1=max(self.row1, other.row1),
            col1=max(self.col1, other.col1),
        )

    def intersection(self, other: Window) -> Window | None:
        """The pixels in both windows, or None when they do not meet."""
        row0, col0 = max(self.row0, other.row0), max(self.col0, other.col0)
        row1, col1 = min(self.row1, other.row1), min(self.col1, other.col1)
        if row1 <= row0 or col1 <= col0:
            return None
        return Window(row0=row0, col0=col0, row1=row1, col1=col1)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Slices (rows, cols) that cut this window out of an array that covers `outer`.

        Raises:
            InputError: this window is not inside `outer`.
        """
        if not outer.contains(self):
            raise InputError(f"{self} is not inside {outer}. Fetch a larger window first.")
        return (
            slice(self.row0 - outer.row0, self.row1 - outer.row0),
            slice(self.col0 - outer.col0, self.col1 - outer.col0),
        )
