"""Reading one chip: pixels, which of them are valid, and where they lie."""

from __future__ import annotations

import math
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from jaxtyping import Bool, Shaped
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from tilegen.amounts import amount
from tilegen.data.wedges import black_wedges
from tilegen.errors import DataError

MAX_CHIP_PX = 1 << 28
"""Most pixels of one chip (16384 x 16384). Cut larger rasters into chips first."""

MAX_CHIP_BYTES = 4 << 30
"""Most bytes of its pixels, as a header claims them: of eight bands in 16 bits, or of three as float32."""

DRIVERS = ("GTiff", "JPEG", "PNG", "WEBP")
"""Formats that are opened. Not VRT and its like, which make GDAL read other files than the one named."""

# GDAL's defaults hide damage: libjpeg fills what is missing inside a JPEG with grey and only warns, and the fast path
# for whole PNG files leaves a truncated rest black without a word.
_GDAL_OPTIONS = {
    "GDAL_NUM_THREADS": 1,
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,
}


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One image as it came, its own radiometry kept.

    Args:
        name: what errors and cards call it; never an absolute path.
        pixels: [bands, rows, cols], alpha removed; zero where not valid.
        valid: [rows, cols], False where there is no imagery.
        crs: such as "EPSG:32631", or WKT; None when unknown.
        transform: from (col, row) of a pixel's corner to the CRS; None when unknown.
    """

    name: str
    pixels: Shaped[np.ndarray, "bands rows cols"]
    valid: Bool[np.ndarray, "rows cols"]
    crs: str | None
    transform: Affine | None

    @property
    def res(self) -> tuple[float, float] | None:
        """(rows, cols) pixel size in units of the CRS; None when unknown."""
        t = self.transform
        return None if t is None else (math.hypot(t.b, t.e), math.hypot(t.a, t.d))


def read_chip(content: Path | bytes, *, name: str, num_bands: int = 3, min_px: int = 1) -> Chip:
    """Read a GeoTIFF, JPEG, PNG or WebP image whole.

    Args:
        content: a file, with what GDAL finds beside it (world files, masks), or the bytes of one.
        name: what errors call the chip.
        num_bands: bands that the chip must have, alpha not counted.
        min_px: smallest allowed number of rows and of columns.

    Raises:
        DataError: the file is truncated, corrupt, of another format, too small, too large, black or without any
            valid pixel, has another number of bands, a palette, complex numbers, or NaN in valid pixels.
    """
    try:
        with ExitStack() as opened:
            opened.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            opened.enter_context(rasterio.Env(**_GDAL_OPTIONS))
            path = str(content) if isinstance(content, Path) else opened.enter_context(MemoryFile(content)).name
            source = opened.enter_context(DatasetReader(path, driver=list(DRIVERS)))
            return _read(source, name, num_bands, min_px)
    except (RasterioError, CRSError, UnicodeError) as error:
        # GDAL names the file with its whole path, which is nobody's business: the sentence may be stored.
        what = str(error).replace(str(content), name) if isinstance(content, Path) else str(error)
        raise DataError(f"{name}: cannot be read, it is truncated, corrupt or no image ({what}).") from error


def _read(source: DatasetReader, name: str, num_bands: int, min_px: int) -> Chip:
    has_alpha = source.count > 1 and source.colorinterp[-1] is ColorInterp.alpha
    _check_header(source, name, source.count - has_alpha, num_bands, min_px)
    pixels = source.read(list(range(1, num_bands + 1)))
    valid = _valid_pixels(source, has_alpha)

    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels[:, valid]).all():
        raise DataError(f"{name}: has NaN or infinite pixels. Tag them as nodata, or leave the chip out.")
    pixels[:, ~valid] = 0
    valid &= ~black_wedges(pixels, valid)
    pixels[:, ~valid] = 0
    if not valid.any():
        raise DataError(f"{name}: has no valid pixel. Leave it out.")
    if not pixels.any():
        raise DataError(f"{name}: is black all over. Leave it out.")
    return Chip(
        name=name, pixels=_without_float_coding(pixels), valid=valid, crs=_crs(source), transform=_transform(source)
    )


def _check_header(source: DatasetReader, name: str, bands: int, num_bands: int, min_px: int) -> None:
    """Refuse what the header already shows, before any memory is taken for pixels."""
    if bands != num_bands:
        raise DataError(
            f"{name}: has {bands} band{'s' * (bands != 1)} (alpha not counted) where {num_bands} were expected. "
            "Leave it out, or pack chips of as many bands on their own."
        )
    if min(source.shape) < min_px:
        raise DataError(f"{name}: is {source.height} x {source.width} pixels, smaller than the minimum of {min_px}.")
    if source.height * source.width > MAX_CHIP_PX:
        raise DataError(f"{name}: is {source.height} x {source.width} pixels, too large for one chip. Cut it first.")
    if ColorInterp.palette in source.colorinterp:
        raise DataError(f"{name}: stores palette indices, no colours. Convert it to RGB first.")
    if len(set(source.dtypes)) > 1 or "complex" in source.dtypes[0]:
        raise DataError(f"{name}: has bands of type {', '.join(source.dtypes)}. Real bands of one type are needed.")
    num_bytes = source.height * source.width * source.count * np.dtype(source.dtypes[0]).itemsize
    if num_bytes > MAX_CHIP_BYTES:
        raise DataError(f"{name}: has {amount(num_bytes)} of pixels, too many for one chip. Cut it first.")


def _valid_pixels(source: DatasetReader, has_alpha: bool) -> Bool[np.ndarray, "rows cols"]:
    """Pixels inside the nodata tag, the internal mask or the alpha band, whichever the file has."""
    if not has_alpha:
        return np.asarray(source.dataset_mask() != 0)
    alpha = source.read(source.count)
    # Half transparent pixels are half no-data. Writers disagree whether opaque is 255 or 65535 in 16 bits.
    return np.asarray((alpha == alpha.max()) & (alpha > 0))


def _without_float_coding(
    pixels: Shaped[np.ndarray, "bands rows cols"],
) -> Shaped[np.ndarray, "bands rows cols"]:
    """uint16 for floats that hold whole numbers of 16 bits (SpaceNet 6 chips are float64), others unchanged."""
    if not np.issubdtype(pixels.dtype, np.floating) or pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        return pixels
    whole = pixels.astype(np.uint16)
    return whole if np.array_equal(whole, pixels) else pixels


def _crs(source: DatasetReader) -> str | None:
    return source.crs.to_string() if source.crs else None


def _transform(source: DatasetReader) -> Affine | None:
    """None for the identity that GDAL reports when there is no transform."""
    transform: Affine = source.transform
    known = not transform.is_identity and all(map(math.isfinite, transform)) and transform.determinant
    return transform if known else None
