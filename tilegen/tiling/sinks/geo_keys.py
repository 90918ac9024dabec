"""GeoTIFF keys of a product, taken from GDAL rather than written by hand."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.tiff_layout import Field, read_first_directory

# ModelPixelScale, ModelTiepoint, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams (OGC GeoTIFF 1.1, annex A).
_GEO_TAGS = {33550, 33922, 34735, 34736, 34737}


def geo_fields(product: Product) -> list[Field]:
    """The GeoTIFF entries of an image with the product's CRS and transform: those of a 2x2 file made by GDAL.

    Raises:
        OutputError: the CRS cannot be expressed in GeoTIFF keys.
    """
    profile = {
        "driver": "GTiff",
        "height": 2,
        "width": 2,
        "count": 1,
        "dtype": "uint8",
        "crs": CRS.from_wkt(product.georef.wkt),
        "transform": product.georef.transform(product.extent),
        "BIGTIFF": "YES",
        "ENDIANNESS": "LITTLE",
    }
    # Pixels of 1 from (0, 0) on are a place as good as any, and rasterio warns of it.
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
        return _read_back(profile, product)


def _read_back(profile: dict[str, Any], product: Product) -> list[Field]:
    with MemoryFile() as memory:
        with memory.open(**profile) as template:
            template.write(np.zeros((1, 2, 2), np.uint8))
        content = bytes(memory.getbuffer())
    with MemoryFile(content) as memory, memory.open() as template:
        if template.crs is None:
            raise OutputError(f"GeoTIFF cannot express the CRS {product.georef.crs!r}. Write .zarr instead.")
    return [field for field in read_first_directory(content) if field.tag in _GEO_TAGS]
