"""The Python of docs/python.md runs, block after block, with the bundled weights, and gives what its comments say."""

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import rasterio

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


# rioxarray 0.19 and odc-geo multiply transforms as affine did before 3.0.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_the_blocks_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    plt.close("all")
    printed = capsys.readouterr().out
    for said in ("{'band': 3, 'y': 4000, 'x': 4000}", "{'band': 3, 'y': 500, 'x': 500}", "(3, 2)", "(664000.0, "):
        assert said in printed
    world, corner = names["world"], names["corner"]
    window = world.georef.window((664_000, 4_004_968, 664_032, 4_005_000))
    np.testing.assert_array_equal(corner, world.read(window))
    with rasterio.open("corner.tif") as tiff:
        assert (tiff.tags()["synthetic"], tiff.tags()["seed"]) == ("true", "7")
    assert names["on_dask"].image.chunks == ((3,), (2000,), (2000,))
    assert names["again"].config == world.config
