"""What a Zarr store says about itself, as JSON: CF for today's xarray, the GeoZarr conventions for GDAL and the rest.

CF 1.11 section 5.6 (grid mappings); conventions "proj", "spatial" and "multiscales" of
https://github.com/zarr-conventions, version 0.1. Readers recognise the conventions by UUID.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from affine import Affine
from pyproj import CRS

from tilegen.tiling.product import Product
from tilegen.tiling.sinks.encoding import ZarrEncoding

IMAGE_NAME = "image"

_CONVENTIONS = (
    ("multiscales", "d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
    (
        "proj",
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
    ("spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
)
_COLOURS = {"red": "Red", "green": "Green", "blue": "Blue"}


def image_path(encoding: ZarrEncoding, level: int) -> str:
    """Path of the pixels of a level, below the store."""
    return f"{encoding.group_name(level)}/{IMAGE_NAME}".lstrip("/")


def stored_levels(attributes: Mapping[str, Any]) -> list[str]:
    """Paths of the pixels of all levels of a store, the full resolution first, by the attributes of its root.

    Raises:
        KeyError, TypeError: they say nothing of levels.
    """
    assets = [str(entry["asset"]) for entry in attributes["multiscales"]["layout"]]
    # An asset may be the group of a level, too.
    return [asset if asset.rpartition("/")[2] == IMAGE_NAME else f"{asset}/{IMAGE_NAME}" for asset in assets]


def level_transform(product: Product, level: int) -> Affine:
    """Affine transform of a level, corner convention. Its last pixel may reach beyond the extent."""
    full = product.georef.transform(product.extent)
    res = full.a * (1 << level)
    return Affine(res, 0.0, full.c, 0.0, -res, full.f)


def root_attributes(product: Product, encoding: ZarrEncoding) -> dict[str, Any]:
    """Attributes of the root group: provenance, georeference and the list of levels."""
    return {
        "synthetic": True,
        # Inner keys in the order that a GeoTIFF has them in, so that neither format knows more than the other.
        **{name: json.loads(json.dumps(value, sort_keys=True)) for name, value in product.provenance.items()},
        "title": "Synthetic satellite imagery made by tilegen; not an observation of the Earth",
        "Conventions": "CF-1.11",
        **group_attributes(product, 0, is_root=True),
        "spatial:bbox": list(product.georef.bounds(product.extent)),
        "multiscales": {
            "layout": [_layout_entry(product, encoding, level) for level in range(product.num_levels)],
            "resampling_method": encoding.resampling,
        },
    }


def group_attributes(product: Product, level: int, *, is_root: bool = False) -> dict[str, Any]:
    """Attributes of the group of a level, in the proj and spatial conventions; its arrays repeat them."""
    names = ("multiscales", "proj", "spatial") if is_root else ("proj", "spatial")
    rows, cols = product.level_shape(level)
    transform = level_transform(product, level)
    return {
        "zarr_conventions": [_declared(*convention) for convention in _CONVENTIONS if convention[0] in names],
        **_crs_attributes(product),
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(transform)[:6],
        "spatial:shape": [rows, cols],
        "spatial:bbox": [
            transform.c,
            transform.f + rows * transform.e,
            transform.c + cols * transform.a,
            transform.f,
        ],
        "spatial:registration": "pixel",
    }


def image_attributes(product: Product, level: int) -> dict[str, Any]:
    """Attributes of the pixels of a level."""
    return {
        "grid_mapping": "spatial_ref",
        # Makes spatial_ref a coordinate in plain xarray; otherwise rioxarray does not find the CRS.
        "coordinates": "spatial_ref",
        "long_name": list(product.band_names),
        "COLOR_INTERPRETATION": [_COLOURS.get(name.lower(), "Undefined") for name in product.band_names],
        # GDAL takes nodata from Zarr's fill value, rioxarray from here. CF's _FillValue would do for both, and have
        # plain xarray turn the image into float32 with NaN.
        "nodata": product.nodata,
        **_radiometry(product),
        **group_attributes(product, level),
    }


def _radiometry(product: Product) -> dict[str, Any]:
    """Scale and offset: in CF's words, which xarray applies, where all bands share them; CF has none for others."""
    if not product.scales:
        return {}
    if len({*zip(product.scales, product.offsets, strict=True)}) == 1:
        return {"scale_factor": product.scales[0], "add_offset": product.offsets[0]}
    return {"scales": list(product.scales), "offsets": list(product.offsets)}


def grid_mapping_attributes(product: Product, level: int) -> dict[str, Any]:
    """Attributes of the scalar `spatial_ref`: CF's parameters, WKT, and the transform in GDAL's order."""
    crs = CRS.from_user_input(product.georef.crs)
    transform = " ".join(repr(float(value)) for value in level_transform(product, level).to_gdal())
    return {**crs.to_cf(), "spatial_ref": product.georef.wkt, "GeoTransform": transform}


def axis_attributes(product: Product, axis: str) -> dict[str, Any]:
    """CF attributes of the coordinate "x" or "y" (pixel centres)."""
    axes = CRS.from_user_input(product.georef.crs).cs_to_cf()
    return next((dict(found) for found in axes if found.get("axis") == axis.upper()), {"axis": axis.upper()})


def _layout_entry(product: Product, encoding: ZarrEncoding, level: int) -> dict[str, Any]:
    """One level in the multiscales convention."""
    entry: dict[str, Any] = {
        "asset": _asset(encoding, level),
        "transform": {"scale": [1, 1, 1], "translation": [0, 0, 0]},
    }
    if level:
        entry["derived_from"] = _asset(encoding, level - 1)
        entry["transform"]["scale"] = [1, 2, 2]
    entry["spatial:shape"] = list(product.level_shape(level))
    entry["spatial:transform"] = list(level_transform(product, level))[:6]
    return entry


def _asset(encoding: ZarrEncoding, level: int) -> str:
    """Of the flat layout an array, as the group of a level may be the root; else a group, which readers prefer."""
    return image_path(encoding, level) if encoding.layout == "flat" else encoding.group_name(level)


def _crs_attributes(product: Product) -> dict[str, Any]:
    """The CRS by its code if it has one, and as WKT 2 otherwise."""
    authority = CRS.from_user_input(product.georef.crs).to_authority(min_confidence=100)
    return {"proj:code": ":".join(authority)} if authority else {"proj:wkt2": product.georef.wkt}


def _declared(name: str, uuid: str, description: str) -> dict[str, str]:
    return {
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
        "uuid": uuid,
        "name": name,
        "description": description,
    }
