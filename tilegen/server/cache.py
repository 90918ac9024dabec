"""A cache that is bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteCache(Generic[T]):
    """Keeps what was used last, up to a number of bytes. For one thread.

    Args:
        most_bytes: what is kept never adds up to more; a larger value is not kept at all.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> T | None:
        """The value, which is now the one used last; None if it is not kept."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: T, num_bytes: int) -> None:
        """Keep `value`, which takes `num_bytes`, and drop what was not used for longest."""
        if key in self._values:
            self.num_bytes -= self._values.pop(key)[1]
        if num_bytes > self._most_bytes:
            return
        self._values[key] = (value, num_bytes)
        self.num_bytes += num_bytes
        while self.num_bytes > self._most_bytes:
            self.num_bytes -= self._values.popitem(last=False)[1][1]
