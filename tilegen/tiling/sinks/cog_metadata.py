"""What a COG says about itself: TIFF tags of each level, band names, provenance and statistics."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from jaxtyping import UInt64

from tilegen.bands import RGB
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.tiff_layout import Field, FieldType
from tilegen.tiling.sinks.tile_codec import TIFF_COMPRESSION, Compression

DESCRIPTION = "Synthetic satellite imagery made by tilegen; not an observation of the Earth."

_HORIZONTAL_PREDICTOR = 2


def level_fields(product: Product, level: int, compression: Compression) -> list[Field]:
    """The entries that describe the raster of one level, without the positions of its tiles."""
    rows, cols = product.level_shape(level)
    bands = len(product.band_names)
    is_rgb = _lowered(product)[:3] == RGB
    num_extra = bands - (3 if is_rgb else 1)
    fields = [
        Field.numbers(254, FieldType.LONG, min(level, 1)),  # 1: reduced resolution
        Field.numbers(256, FieldType.LONG, cols),
        Field.numbers(257, FieldType.LONG, rows),
        Field.numbers(258, FieldType.SHORT, *[8] * bands),
        Field.numbers(259, FieldType.SHORT, TIFF_COMPRESSION[compression]),
        Field.numbers(262, FieldType.SHORT, 2 if is_rgb else 1),  # RGB or MinIsBlack
        Field.numbers(277, FieldType.SHORT, bands),
        Field.numbers(284, FieldType.SHORT, 1),  # bands interleaved by pixel
        Field.numbers(317, FieldType.SHORT, _HORIZONTAL_PREDICTOR),
        Field.numbers(322, FieldType.SHORT, product.chunk_px),
        Field.numbers(323, FieldType.SHORT, product.chunk_px),
        Field.numbers(339, FieldType.SHORT, *[1] * bands),  # unsigned integers
        Field.text(42113, str(product.nodata)),
    ]
    if num_extra:
        fields.append(Field.numbers(338, FieldType.SHORT, *[0] * num_extra))  # unspecified, and never alpha
    return fields


def product_fields(product: Product, histogram: UInt64[np.ndarray, "bands 256"]) -> list[Field]:
    """The entries that only the full-resolution level has, georeference excepted."""
    return [
        Field.text(270, DESCRIPTION),
        Field.text(305, "tilegen"),
        Field.text(42112, _gdal_metadata(product, histogram)),
    ]


def flat_provenance(product: Product) -> dict[str, str]:
    """Provenance as flat text: strings as they are, everything else as JSON. Always says `synthetic`."""
    items = {"synthetic": True, **product.provenance}
    return {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in items.items()}


def statistics(counts: UInt64[np.ndarray, "256"], nodata: int) -> dict[str, float]:
    """STATISTICS_* items of one band as GDAL names them, over its valid pixels; empty if there are none.

    From the exact histogram, so they do not depend on the order of shards.
    """
    valid = {value: int(count) for value, count in enumerate(counts) if count and value != nodata}
    num_valid = sum(valid.values())
    if not num_valid:
        return {}
    total = sum(value * count for value, count in valid.items())
    squares = sum(value * value * count for value, count in valid.items())
    return {
        "STATISTICS_MAXIMUM": float(max(valid)),
        "STATISTICS_MEAN": total / num_valid,
        "STATISTICS_MINIMUM": float(min(valid)),
        "STATISTICS_STDDEV": math.sqrt(squares * num_valid - total * total) / num_valid,
        "STATISTICS_VALID_PERCENT": 100 * num_valid / int(counts.sum()),
    }


def _gdal_metadata(product: Product, histogram: UInt64[np.ndarray, "bands 256"]) -> str:
    """The XML of TIFF tag 42112."""
    items = [_item(name, value) for name, value in flat_provenance(product).items()]
    for band, name in enumerate(product.band_names):
        for key, value in statistics(histogram[band], product.nodata).items():
            items.append(_item(key, f"{value:.14g}", sample=band))
        items.append(_item("DESCRIPTION", name, sample=band, role="description"))
    return "<GDALMetadata>\n" + "".join(items) + "</GDALMetadata>\n"


def _item(name: str, value: str, **attributes: Any) -> str:
    described = "".join(f' {key}="{attribute}"' for key, attribute in attributes.items())
    # GDAL escapes values twice when it writes them, and takes both away when it reads.
    return f"  <Item name={quoteattr(name)}{described}>{escape(escape(value))}</Item>\n"


def _lowered(product: Product) -> Sequence[str]:
    return tuple(name.lower() for name in product.band_names)
