"""Reading the tables of building polygons in pixel coordinates that came with the first rounds of SpaceNet."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from tilegen.errors import DataError

_IMAGE, _POLYGON = "ImageId", "PolygonWKT_Pix"


@lru_cache(maxsize=4)
def read_solutions(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Polygons as WKT, x to the right and y down from the corner of the image in pixels, by ImageId in lower case.

    Chips without buildings have a row with an empty polygon (solution format of the SpaceNet building challenges:
    ImageId, BuildingId, PolygonWKT_Pix, PolygonWKT_Geo). The last tables are kept, as they serve thousands of chips.

    Raises:
        DataError: the file cannot be read, or is no such table.
    """
    polygons: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if missing := {_IMAGE, _POLYGON} - set(rows.fieldnames or ()):
                raise DataError(f"{path.name}: has no column {' and '.join(sorted(missing))}. Download it again.")
            for row in rows:
                if not row[_IMAGE] or not row[_POLYGON]:
                    raise DataError(f"{path.name}: is truncated after line {rows.line_num}. Download it again.")
                polygons.setdefault(row[_IMAGE].casefold(), []).append(row[_POLYGON])
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: cannot be read as a table of labels ({error}). Download it again.") from error
    return {image_id: tuple(wkts) for image_id, wkts in polygons.items()}
