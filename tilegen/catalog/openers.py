"""Who can open a product. Tried with the versions that docs/products.md names; older ones may do."""

from __future__ import annotations

_ANYBODY = "any reader of GeoTIFF: GDAL, QGIS, rasterio, ArcGIS; xarray with rioxarray"
_COG = {
    "deflate": _ANYBODY,
    "lzw": _ANYBODY,
    "jpeg": _ANYBODY,
    "zstd": "readers built on GDAL with zstd: QGIS, rasterio, xarray with rioxarray. For others: --compress deflate",
    "webp": "readers built on GDAL with WebP: QGIS, rasterio, xarray with rioxarray. For others: --compress jpeg",
}


def openers_of_tiff(compression: str | None) -> str:
    """Who opens a COG.

    Args:
        compression: as GDAL says it, such as "YCbCr JPEG".
    """
    name = (compression or "").rpartition(" ")[2].lower()
    return _COG.get(name, "readers built on GDAL")


def openers_of_store(*, zarr_format: int, sharded: bool, flat: bool) -> dict[str, str]:
    """Who opens a Zarr store, and how.

    Args:
        zarr_format: 2 or 3.
        sharded: whether many chunks lie in one file.
        flat: whether the full resolution lies in the root.
    """
    group = "" if flat else ", group='0'"
    array = "/image" if flat else "/0/image"
    found = {"xarray": f"xarray.open_zarr(PATH{group}), with zarr 3" + ("" if zarr_format == 3 else " or 2")}
    by_path = f'ZARR:"PATH":{array}'
    if zarr_format == 2:
        found["GDAL"] = f"3.10 or newer, {by_path}, without overviews; older ones one band at a time"
        found["QGIS"] = "with such a GDAL"
        return found
    place = "PATH itself" if flat else by_path
    found["GDAL"] = f"3.13 or newer, {place}, with overviews"
    if not sharded:
        found["GDAL"] += f"; 3.12 {by_path}, without"
    found["QGIS"] = "3.44 or newer, with such a GDAL"
    found["others"] = "make a COG: tilegen generate world.tif" + (", or give --zarr-format 2" if sharded else "")
    return found
