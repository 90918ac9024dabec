"""The Python of the README runs, with the bundled weights, and gives what its comments say."""

import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_there_is_a_block() -> None:
    assert BLOCKS


# rioxarray 0.19 multiplies transforms as affine did before 3.0.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_the_readme_runs(block: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    if "pixels" in names:
        pixels = names["pixels"]
        assert (pixels.shape, pixels.dtype) == ((3, 512, 512), "uint8")
        assert pixels.std() > 5
    if "image" in names:
        assert names["image"].shape == (3, 4096, 4096)
        assert names["image"].chunks is not None  # lazy: nothing was drawn
