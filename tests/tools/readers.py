"""What each tool finds in a product, as one record: a function per tool, and nothing of tilegen's in it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's python3-gdal and python3-qgis are installed for this one only
_MOMENTS = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")

Points = list[tuple[float, float]]
"""(x, y) in the CRS of the product."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a tool says; None where it has no word for it.

    Args:
        crs: authority and code.
        transform: six numbers of the affine transform, as affine orders them.
        size: (width, height).
        overviews: (width, height) of each, the largest first.
        nodata: of the first band.
        names: of the bands.
        colours: what each band is shown as, in lower case.
        statistics: (minimum, maximum, mean, standard deviation) of each band.
        pixels: values of all bands at each of the points.
    """

    crs: str
    transform: tuple[float, ...]
    size: tuple[int, int]
    pixels: list[tuple[int, ...]]
    overviews: list[tuple[int, int]] | None = None
    nodata: float | None = None
    names: tuple[str, ...] | None = None
    colours: tuple[str, ...] | None = None
    statistics: list[tuple[float, ...]] | None = None


def rasterio(path: Path, points: Points) -> Record:
    """rasterio, with the GDAL of its wheel."""
    import rasterio

    with rasterio.open(path) as tiff:
        tags = [tiff.tags(band) for band in tiff.indexes]
        return Record(
            crs=tiff.crs.to_string(),
            transform=tuple(tiff.transform)[:6],
            size=(tiff.width, tiff.height),
            overviews=[_overview(path, level) for level in range(len(tiff.overviews(1)))],
            nodata=tiff.nodata,
            names=tiff.descriptions,
            colours=tuple(colour.name for colour in tiff.colorinterp),
            statistics=[tuple(float(tag[f"STATISTICS_{name}"]) for name in _MOMENTS) for tag in tags],
            pixels=[tuple(map(int, values)) for values in tiff.sample(points)],
        )


def gdal(path: Path, points: Points) -> Record:
    """gdalinfo and gdallocationinfo; ground coordinates are those of the CRS."""
    info = json.loads(run("gdalinfo", "-json", path))
    left, res, skew_x, top, skew_y, down = info["geoTransform"]
    bands = info["bands"]
    return Record(
        crs=_code(info["coordinateSystem"]["wkt"]),
        transform=(res, skew_x, left, skew_y, down, top),
        size=tuple(info["size"]),
        overviews=[tuple(overview["size"]) for overview in bands[0]["overviews"]],
        nodata=bands[0]["noDataValue"],
        names=tuple(band["description"] for band in bands),
        colours=tuple(band["colorInterpretation"].lower() for band in bands),
        statistics=[tuple(float(band["metadata"][""][f"STATISTICS_{name}"]) for name in _MOMENTS) for band in bands],
        pixels=gdal_pixels(path, points, "-geoloc", len(bands)),
    )


def gdal_pixels(path: Path, points: Points, option: str, num_bands: int) -> list[tuple[int, ...]]:
    """Of gdallocationinfo; `option` says in which coordinates the points are."""
    asked = "\n".join(f"{x!r} {y!r}" for x, y in points)
    values = [int(word) for word in run("gdallocationinfo", "-valonly", option, path, stdin=asked).split()]
    return [tuple(values[start : start + num_bands]) for start in range(0, len(values), num_bands)]


def rio_cogeo(path: Path, points: Points) -> Record:
    """`rio cogeo info`. It reads no pixels, so those are rasterio's."""
    from rio_cogeo import cog_info

    info = cog_info(path)
    size = info.Profile.Width, info.Profile.Height
    (left, top), (res, down) = info.GEO.Origin, info.GEO.Resolution
    bands = list(info.Band_Metadata.values())
    return Record(
        crs=info.GEO.CRS.removeprefix("http://www.opengis.net/def/crs/").replace("/0/", ":"),
        transform=(res, 0.0, left, 0.0, down, top),
        size=size,
        overviews=[(level.Width, level.Height) for level in info.IFD[1:]],
        nodata=info.Profile.Nodata,
        names=tuple(band.Description for band in bands),
        colours=tuple(band.ColorInterp for band in bands),
        pixels=rasterio(path, points).pixels,
    )


def rioxarray(path: Path, points: Points) -> Record:
    """rioxarray.open_rasterio, pixels by coordinate."""
    import rioxarray
    from rasterio.errors import RasterioIOError

    sizes, level = [], 0
    with rioxarray.open_rasterio(path) as image:
        while True:
            try:
                with rioxarray.open_rasterio(path, overview_level=level) as overview:
                    sizes.append(overview.shape[:0:-1])
            except RasterioIOError:  # there is no such overview
                break
            level += 1
        return Record(
            crs=image.rio.crs.to_string(),
            transform=tuple(image.rio.transform())[:6],
            size=(image.rio.width, image.rio.height),
            overviews=sizes,
            nodata=image.rio.nodata,
            names=image.attrs["long_name"],
            statistics=None,
            pixels=_selected(image, points),
        )


def rio_tiler(path: Path, points: Points) -> Record:
    """rio-tiler, on which titiler stands: points are longitudes and latitudes, and statistics are computed."""
    from rio_tiler.io import Reader

    with Reader(path) as tiff:
        info, bands = tiff.info(), tiff.statistics(max_size=None).values()
        left, bottom, right, top = info.bounds
        return Record(
            crs=_from_uri(info.crs),
            transform=((right - left) / info.width, 0.0, left, 0.0, (bottom - top) / info.height, top),
            size=(info.width, info.height),
            overviews=[_halved(info.width, info.height, level) for level, _ in enumerate(info.overviews, start=1)],
            nodata=info.nodata_value,
            names=tuple(name for _, name in info.band_descriptions),
            colours=tuple(info.colorinterp),
            statistics=[(band.min, band.max, band.mean, band.std) for band in bands],
            pixels=[tuple(map(int, tiff.point(*place).array.data)) for place in lonlats(_from_uri(info.crs), points)],
        )


def odc_geo(path: Path, points: Points) -> Record:
    """odc-geo: the geobox of a GeoTIFF or of a Zarr store, and the pixels that it says lie at the points."""
    import odc.geo.xr  # noqa: F401  registers the accessor
    import rioxarray
    import xarray

    opened = xarray.open_zarr(path).image if path.is_dir() else rioxarray.open_rasterio(path)
    with opened as image:
        box = image.odc.geobox
        cols_rows = [~box.transform @ point for point in points]
        return Record(
            crs=f"EPSG:{box.crs.epsg}",
            transform=tuple(box.transform)[:6],
            size=(box.width, box.height),
            nodata=image.odc.nodata,
            pixels=[tuple(map(int, image[:, int(row), int(col)].values)) for col, row in cols_rows],
        )


def xarray_zarr(path: Path, points: Points) -> Record:
    """xarray.open_zarr with rioxarray's accessor; levels as the multiscales convention lists them."""
    import rioxarray  # noqa: F401  registers the accessor
    import xarray

    with xarray.open_zarr(path) as dataset:
        image, layout = dataset.image, dataset.attrs["multiscales"]["layout"]
        shapes = []
        for entry in layout[1:]:
            with xarray.open_zarr(path, group=entry["asset"].rpartition("/")[0]) as level:
                shapes.append(level.image.shape[:0:-1])
        return Record(
            crs=image.rio.crs.to_string(),
            transform=tuple(image.rio.transform())[:6],
            size=(image.rio.width, image.rio.height),
            overviews=shapes,
            nodata=image.rio.nodata,
            names=tuple(image.attrs["long_name"]),
            colours=tuple(colour.lower() for colour in image.attrs["COLOR_INTERPRETATION"]),
            pixels=_selected(image, points),
        )


def qgis(path: Path, points: Points, picture: Path | None = None) -> Record:
    """QGIS without a screen, in the system's Python; `picture` is a PNG of its map."""
    script = Path(__file__).with_name("ask_qgis.py")
    asked = json.dumps({"source": str(path), "points": points, "picture": None if picture is None else str(picture)})
    said = json.loads(run(SYSTEM_PYTHON, script, stdin=asked).splitlines()[-1])
    return Record(
        crs=said["crs"],
        transform=tuple(said["transform"]),
        size=tuple(said["size"]),
        overviews=[tuple(size) for size in said["overviews"]],
        nodata=said["nodata"],
        names=tuple(re.sub(r"^Band \d+: ", "", name) for name in said["names"]),
        colours=tuple(name.lower() for name in said["colours"]),
        statistics=[tuple(band) for band in said["statistics"]],
        pixels=[tuple(values) for values in said["pixels"]],
    )


TIFF_READERS = {
    "rasterio": rasterio,
    "GDAL's command line": gdal,
    "rio-cogeo": rio_cogeo,
    "rioxarray": rioxarray,
    "odc-geo": odc_geo,
    "rio-tiler": rio_tiler,
    "QGIS": qgis,
}
ZARR_READERS = {"xarray": xarray_zarr, "odc-geo": odc_geo}


@cache
def missing(tool: str) -> str | None:
    """Why a tool cannot be asked here; None if it can."""
    if tool == "GDAL's command line" and not _answers("gdalinfo", "--version"):
        return "needs gdal-bin: apt-get install gdal-bin"
    if tool == "QGIS" and not _answers(SYSTEM_PYTHON, "-c", "import qgis.core"):
        return "needs PyQGIS for the system's Python: apt-get install python3-qgis"
    return None


def run(*command: Any, stdin: str = "") -> str:
    """What a command prints; it must end well."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lonlats(crs: str, points: Points) -> Points:
    """Points of a CRS as longitudes and latitudes of WGS 84."""
    to_degrees = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    return [to_degrees.transform(x, y) for x, y in points]


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _code(wkt: str) -> str:
    return ":".join(CRS.from_wkt(wkt).to_authority())


def _from_uri(uri: str) -> str:
    """http://www.opengis.net/def/crs/EPSG/0/32611 as EPSG:32611."""
    authority, _, code = uri.rsplit("/", 2)
    return f"{authority.rpartition('/')[2]}:{code}"


def _halved(width: int, height: int, level: int) -> tuple[int, int]:
    return -(-width // (1 << level)), -(-height // (1 << level))


def _overview(path: Path, level: int) -> tuple[int, int]:
    import rasterio

    with rasterio.open(path, overview_level=level) as tiff:
        return tiff.width, tiff.height


def _selected(image: Any, points: Points) -> list[tuple[int, ...]]:
    return [tuple(map(int, np.asarray(image.sel(x=x, y=y, method="nearest")))) for x, y in points]
