"""A finished product as a catalogue sees it, read from the product itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from tilegen.errors import InputError
from tilegen.tiling.finished import crs_of, is_zarr_store, opened_file, opened_store, opened_tiff, says_what_made_it
from tilegen.tiling.sinks.zarr_attributes import stored_levels

_READ_BYTES = 1 << 20
_STATISTICS = ("minimum", "maximum", "mean", "stddev", "valid_percent")


@dataclass(frozen=True, kw_only=True)
class Band:
    """One band.

    Args:
        name: such as "red".
        scale: factor of its pixels, if they mean something else, and
        offset: summand.
        statistics: minimum, maximum, mean, stddev and valid_percent of its valid pixels, if the product says so.
    """

    name: str
    scale: float | None = None
    offset: float | None = None
    statistics: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A product.

    Args:
        name: of the file or store, without its folder.
        crs: as a code or WKT.
        shape: (rows, cols).
        transform: the six coefficients of the affine transform, row by row.
        dtype: of the pixels.
        nodata: None if a mask says it.
        bands: in order.
        said: what it says of itself; strings, numbers and what JSON has.
        resampling: of its overviews.
        zarr_format: 2 or 3; None for a GeoTIFF.
        compression: of a GeoTIFF.
    """

    name: str
    crs: str
    shape: tuple[int, int]
    transform: tuple[float, ...]
    dtype: str
    nodata: float | int | None
    bands: tuple[Band, ...]
    said: Mapping[str, Any]
    resampling: str
    zarr_format: int | None = None
    compression: str | None = None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) in the CRS."""
        res_x, _, left, _, res_y, top = self.transform
        return left, top + self.shape[0] * res_y, left + self.shape[1] * res_x, top


def read_facts(product: str | Path) -> Facts:
    """What a finished product of tilegen says of itself.

    Args:
        product: on a disk, or s3://BUCKET/NAME.

    Raises:
        InputError: it is none.
    """
    path = os.fspath(product)
    facts = _zarr_facts(path) if is_zarr_store(path) else _tiff_facts(path)
    if not says_what_made_it(facts.said):
        raise InputError(f"{path} does not say what made it. Was it made by tilegen?")
    return facts


def checksum(product: str | Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file, as a multihash in hexadecimal. Reads all of it."""
    sha, num_bytes = hashlib.sha256(), 0
    with opened_file(product) as file:
        while data := file.read(_READ_BYTES):
            sha.update(data)
            num_bytes += len(data)
    return num_bytes, f"1220{sha.hexdigest()}"  # 0x12: SHA-256, 0x20: of 32 bytes


def _tiff_facts(path: str) -> Facts:
    with opened_tiff(path) as tiff:
        if tiff.crs is None:
            raise InputError(f"{path} has no CRS, so a catalogue has no place for it.")
        said = tiff.tags()
        bands = tuple(
            Band(
                name=name or f"band {number}",
                scale=None if (scale, offset) == (1.0, 0.0) else scale,
                offset=None if (scale, offset) == (1.0, 0.0) else offset,
                statistics=_statistics(tiff.tags(number)),
            )
            for number, (name, scale, offset) in enumerate(
                zip(tiff.descriptions, tiff.scales, tiff.offsets, strict=True), start=1
            )
        )
        return Facts(
            name=_name(path),
            crs=tiff.crs.to_string(),
            shape=tiff.shape,
            transform=tuple(tiff.transform)[:6],
            dtype=tiff.dtypes[0],
            nodata=tiff.nodata,
            bands=bands,
            said=said,
            resampling=said.get("OVERVIEW_RESAMPLING", "average").lower(),
            compression=tiff.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION"),
        )


def _zarr_facts(path: str) -> Facts:
    with opened_store(path) as store:
        try:
            group = zarr.open_group(store, mode="r")
            said: dict[str, Any] = dict(group.attrs.asdict())
            image = zarr.open_array(store, path=stored_levels(said)[0], mode="r")
            about: dict[str, Any] = dict(image.attrs.asdict())
            return Facts(
                name=_name(path),
                crs=crs_of(said),
                shape=(int(image.shape[-2]), int(image.shape[-1])),
                transform=_six(said["spatial:transform"]),
                dtype=str(image.dtype),
                nodata=about.get("nodata"),
                bands=_store_bands(about),
                said=said,
                resampling=str(said["multiscales"].get("resampling_method", "average")),
                zarr_format=group.metadata.zarr_format,
            )
        except (KeyError, ValueError, TypeError, IndexError, RecursionError, FileNotFoundError):
            raise InputError(f"{path} is not a Zarr store that tilegen finished.") from None


def _store_bands(about: Mapping[str, Any]) -> tuple[Band, ...]:
    names = [str(name) for name in about["long_name"]]
    scales = about.get("scales", [about.get("scale_factor")] * len(names))
    offsets = about.get("offsets", [about.get("add_offset")] * len(names))
    return tuple(
        Band(name=name, scale=scale, offset=offset) for name, scale, offset in zip(names, scales, offsets, strict=True)
    )


def _six(coefficients: Sequence[float]) -> tuple[float, ...]:
    """The coefficients of an affine transform.

    Raises:
        ValueError: they are fewer, or no numbers.
    """
    a, b, c, d, e, f = (float(value) for value in coefficients[:6])
    return a, b, c, d, e, f


def _statistics(tags: Mapping[str, str]) -> dict[str, float] | None:
    """GDAL's, unless they say that they are approximate."""
    if "STATISTICS_APPROXIMATE" in tags:
        return None
    found = {name: tags.get(f"STATISTICS_{name.upper()}") for name in _STATISTICS}
    return {name: float(value) for name, value in found.items() if value is not None} or None


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
