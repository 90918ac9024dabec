"""MemorySink keeps the contract."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tilegen.errors import OutputError
from tilegen.testing.sinks import SinkContract, address_product
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.memory import Memory, MemorySink


class TestMemorySink(SinkContract):
    memories: dict[Path, Memory] = {}  # noqa: RUF012 - shared on purpose: it stands for the disk

    def open(self, folder: Path, product: Product) -> MemorySink:
        return MemorySink(product=product, memory=self.memories.setdefault(folder, Memory()))

    def read(self, folder: Path) -> list[np.ndarray] | None:
        memory = self.memories[folder]
        return [memory.pixels] if memory.is_complete and memory.pixels is not None else None

    def digest(self, folder: Path) -> str:
        return hashlib.sha256(self.memories[folder].pixels.tobytes()).hexdigest()


def test_the_image_can_be_had_only_when_it_is_complete():
    sink = MemorySink(product=address_product(20, 30))
    with pytest.raises(OutputError, match="not finished"):
        _ = sink.image
    with pytest.raises(OutputError, match="begin"):
        sink.write((0, 0), np.ones((3, 20, 30), np.uint8))
    sink.begin(overwrite=False)
    sink.write((0, 0), np.ones((3, 20, 30), np.uint8))
    sink.finish()
    assert sink.image.shape == (3, 20, 30)
