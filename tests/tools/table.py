"""Tool by property: what each tool printed of the two products, as the table of docs/gis.md.

python -m tests.tools.table
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from tests.tools.conftest import PLACES, generated
from tests.tools.readers import TIFF_READERS, ZARR_READERS, Record, missing
from tilegen.testing.checkpoints import save_random_checkpoint

HEADER = (
    "tool",
    "CRS",
    "transform",
    "overviews",
    "nodata",
    "names",
    "colours",
    "statistics of red",
    "pixel at a point",
)
STABLE = 7
"""Cells from here on are of pixels, of which another processor may round one in ten thousand differently."""

SILENT = "–"


def cells(tool: str, record: Record) -> list[str]:
    """One row; a dash where the tool says nothing."""
    left, top = record.transform[2], record.transform[5]
    sizes = record.overviews
    statistics = record.statistics
    return [
        tool,
        record.crs,
        f"{record.transform[0]:.9g} at {left:.9g}, {top:.9g}",
        SILENT if sizes is None else " ".join(f"{width}×{height}" for width, height in sizes),
        SILENT if record.nodata is None else f"{record.nodata:g}",
        SILENT if record.names is None else " ".join(record.names),
        SILENT if record.colours is None else " ".join(record.colours),
        SILENT if statistics is None else " ".join(f"{value:.2f}".removesuffix(".00") for value in statistics[0]),
        " ".join(map(str, record.pixels[4])),
    ]


def line(row: list[str] | tuple[str, ...]) -> str:
    """A row in Markdown."""
    return f"| {' | '.join(row)} |"


def main() -> None:
    warnings.filterwarnings("ignore", "Use `@` matmul", PendingDeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "nano.safetensors"
        save_random_checkpoint(model)
        for crs in PLACES:
            place = Path(folder) / crs.replace(":", "")
            place.mkdir()
            written = generated(crs, model, place)
            print(f"\n{written.points[4]!r} is the point.\n")
            print(line(HEADER), line(["---"] * len(HEADER)), sep="\n")
            for kind, path, readers in (("COG", written.tif, TIFF_READERS), ("Zarr", written.zarr, ZARR_READERS)):
                for tool, reader in readers.items():
                    if missing(tool) is None:
                        print(line(cells(f"{tool}, {kind}", reader(path, written.points))))


if __name__ == "__main__":
    main()
