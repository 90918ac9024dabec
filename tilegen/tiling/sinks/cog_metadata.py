"""What a COG says about itself: TIFF tags of each level, band names, provenance and statistics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from jaxtyping import UInt64

from tilegen.bands import RGB
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import CogEncoding
from tilegen.tiling.sinks.moments import statistics
from tilegen.tiling.sinks.tiff_layout import Field, FieldType
from tilegen.tiling.sinks.tile_codec import TIFF_COMPRESSION

DESCRIPTION = "Synthetic satellite imagery made by tilegen; not an observation of the Earth."

_MASK, _DEFLATE = 4, 8
_MIN_IS_BLACK, _COLOURS, _YCBCR = 1, 2, 6  # values of the TIFF tag 262
# TIFF 6.0, section 20: luma goes from 0 to 255, both chromas from 128 to 255, as in all JPEG files.
_REFERENCE_BLACK_WHITE = (0, 255, 128, 255, 128, 255)


def level_fields(product: Product, level: int, encoding: CogEncoding) -> list[Field]:
    """The entries that describe the raster of one level, without the positions of its tiles."""
    bands = len(product.band_names)
    is_rgb = _lowered(product)[:3] == RGB
    # JPEG stores any three bands as YCbCr: it knows no other three.
    is_ycbcr = encoding.compression == "jpeg" and bands == 3
    photometric = _YCBCR if is_ycbcr else _COLOURS if is_rgb or encoding.compression == "webp" else _MIN_IS_BLACK
    num_extra = bands - (1 if photometric == _MIN_IS_BLACK else 3)
    fields = [
        Field.numbers(254, FieldType.LONG, min(level, 1)),  # 1: reduced resolution
        *_shape_fields(product, level),
        Field.numbers(258, FieldType.SHORT, *[8 * np.dtype(product.dtype).itemsize] * bands),
        Field.numbers(259, FieldType.SHORT, TIFF_COMPRESSION[encoding.compression]),
        Field.numbers(262, FieldType.SHORT, photometric),
        Field.numbers(277, FieldType.SHORT, bands),
        Field.numbers(284, FieldType.SHORT, 1),  # bands interleaved by pixel
        Field.numbers(339, FieldType.SHORT, *[1] * bands),  # unsigned integers
    ]
    if encoding.used_predictor > 1:
        fields.append(Field.numbers(317, FieldType.SHORT, encoding.used_predictor))
    if not encoding.is_lossy:
        fields.append(Field.text(42113, str(product.nodata)))
    if num_extra:
        fields.append(Field.numbers(338, FieldType.SHORT, *[0] * num_extra))  # unspecified, and never alpha
    if is_ycbcr:
        fields.append(Field.numbers(530, FieldType.SHORT, 2, 2))  # chroma of 2x2 pixels
        fields.append(Field.fractions(532, *_REFERENCE_BLACK_WHITE))
    return fields


def mask_fields(product: Product, level: int) -> list[Field]:
    """The entries of the mask of one level: one bit per pixel, 1 where it is valid."""
    return [
        Field.numbers(254, FieldType.LONG, _MASK | min(level, 1)),
        *_shape_fields(product, level),
        Field.numbers(258, FieldType.SHORT, 1),
        Field.numbers(259, FieldType.SHORT, _DEFLATE),
        Field.numbers(262, FieldType.SHORT, _MASK),
        Field.numbers(277, FieldType.SHORT, 1),
        Field.numbers(284, FieldType.SHORT, 1),
        Field.numbers(339, FieldType.SHORT, 1),
    ]


def _shape_fields(product: Product, level: int) -> list[Field]:
    rows, cols = product.level_shape(level)
    return [
        Field.numbers(256, FieldType.LONG, cols),
        Field.numbers(257, FieldType.LONG, rows),
        Field.numbers(322, FieldType.SHORT, product.chunk_px),
        Field.numbers(323, FieldType.SHORT, product.chunk_px),
    ]


def product_fields(product: Product, encoding: CogEncoding, moments: UInt64[np.ndarray, "bands 6"]) -> list[Field]:
    """The entries that only the full-resolution level has, georeference excepted."""
    return [
        Field.text(270, DESCRIPTION),
        Field.text(305, "tilegen"),
        Field.text(42112, _gdal_metadata(product, encoding, moments)),
    ]


def flat_provenance(product: Product) -> dict[str, str]:
    """Provenance as flat text: strings as they are, everything else as JSON. Always says `synthetic`."""
    items = {"synthetic": True, **product.provenance}
    return {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in items.items()}


def creation_options(encoding: CogEncoding) -> dict[str, str]:
    """What was asked for and does not show in the tags, in the words of GDAL's creation options."""
    said = {name.upper(): value for name, value in encoding.options.items() if name in {"level", "quality"}}
    return {"OVERVIEW_RESAMPLING": encoding.resampling.upper(), **said}


def _gdal_metadata(product: Product, encoding: CogEncoding, moments: UInt64[np.ndarray, "bands 6"]) -> str:
    """The XML of TIFF tag 42112."""
    items = [_item(name, value) for name, value in flat_provenance(product).items()]
    items += [_item(name, value) for name, value in creation_options(encoding).items()]
    if encoding.compression == "webp" and encoding.is_lossy:
        items.append(_item("WEBP_LEVEL", str(encoding.used_quality), domain="IMAGE_STRUCTURE"))  # as GDAL says it
    for band, name in enumerate(product.band_names):
        found = {key: f"{value:.14g}" for key, value in statistics(moments[band]).items()}
        if found and encoding.is_lossy:  # they are those of the pixels before
            found = {"STATISTICS_APPROXIMATE": "YES", **found}
        items += [_item(key, value, sample=band) for key, value in found.items()]
        items.append(_item("DESCRIPTION", name, sample=band, role="description"))
        if product.scales:
            items.append(_item("OFFSET", repr(product.offsets[band]), sample=band, role="offset"))
            items.append(_item("SCALE", repr(product.scales[band]), sample=band, role="scale"))
    return "<GDALMetadata>\n" + "".join(items) + "</GDALMetadata>\n"


def _item(name: str, value: str, **attributes: Any) -> str:
    described = "".join(f' {key}="{attribute}"' for key, attribute in attributes.items())
    # GDAL escapes values twice when it writes them, and takes both away when it reads.
    return f"  <Item name={quoteattr(name)}{described}>{escape(escape(value))}</Item>\n"


def _lowered(product: Product) -> Sequence[str]:
    return tuple(name.lower() for name in product.band_names)
