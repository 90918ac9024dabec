"""How a product is stored: compression, overviews, layout. Plain data, one class per format, checked at birth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tilegen.errors import InputError
from tilegen.tiling.product import Product

RESAMPLINGS = ("average", "nearest")
"""How overviews are made. Both need no pixel but the four below, so shards stay independent of each other."""

# Higher levels cost 3 to 15 times the time for 0.5 to 8 % of the size of noisy imagery.
DEFAULT_LEVEL = 1
DEFAULT_QUALITY = 85

_MAX_LEVEL = {"deflate": 12, "zstd": 22}
COMPRESSIONS = ("deflate", "zstd", "lzw", "jpeg", "webp")
_LOSSY = ("jpeg", "webp")
LAYOUTS = ("flat", "groups")

# Compressed bytes per byte of pixels, above what 8-bit imagery of the default model needs: docs/products.md compares.
_EXACT_SHARES = {"deflate": 0.8, "lzw": 0.9, "zstd": 0.85}
_VALUES_SHARE = 1.1  # without a predictor, as in Zarr
_LOSSY_SHARES = ((85, 0.2), (95, 0.3), (100, 0.5))  # up to which quality; WebP of 100 is exact
_ONE_BAND = 2.0  # times as much: three bands are stored as brightness, and colours at half the resolution


def _require_one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{option} {value!r} is not one of {', '.join(known)}.")


@dataclass(frozen=True, kw_only=True)
class CogEncoding:
    """How the tiles of a COG are made.

    Args:
        compression: "deflate" and "lzw" open everywhere; "zstd" is the fastest and needs a reader built on GDAL; "jpeg"
            and "webp" are lossy, for pictures.
        predictor: 2 stores differences of neighbours, which compress far better; 1 stores values. Not of lossy ones.
        level: effort of deflate (1 to 12) and zstd (1 to 22).
        quality: of jpeg and webp, 1 to 100; 100 makes webp lossless, as in GDAL.
        resampling: of overviews, "average" or "nearest".

    Raises:
        InputError: values that do not go together.
    """

    compression: str = "deflate"
    predictor: int | None = None
    level: int | None = None
    quality: int | None = None
    resampling: str = "average"

    def __post_init__(self) -> None:
        _require_one_of("--compress", self.compression, COMPRESSIONS)
        _require_one_of("--resampling", self.resampling, RESAMPLINGS)
        name = self.compression
        if self.level is not None and not 1 <= self.level <= _MAX_LEVEL.get(name, 0):
            raise InputError(
                f"--level {self.level}: deflate has levels 1 to 12 and zstd 1 to 22, {name} "
                + ("does not go so far." if name in _MAX_LEVEL else "has none.")
            )
        if self.quality is not None and (name not in _LOSSY or not 1 <= self.quality <= 100):
            raise InputError(f"--quality {self.quality}: jpeg and webp have one, 1 to 100; this is {name}.")
        if self.predictor is not None and (name in _LOSSY or self.predictor not in (1, 2)):
            raise InputError(f"--predictor {self.predictor}: deflate, zstd and lzw have one, 1 or 2; this is {name}.")

    @property
    def is_lossy(self) -> bool:
        """Whether pixels come back altered; then a mask says which are valid, as nodata would not survive."""
        return self.compression == "jpeg" or (self.compression == "webp" and self.used_quality < 100)

    @property
    def num_planes(self) -> int:
        """What is stored for each tile: the image, and of lossy ones its mask."""
        return 2 if self.is_lossy else 1

    @property
    def used_level(self) -> int:
        """The level in use."""
        return DEFAULT_LEVEL if self.level is None else self.level

    @property
    def used_quality(self) -> int:
        """The quality in use."""
        return DEFAULT_QUALITY if self.quality is None else self.quality

    @property
    def used_predictor(self) -> int:
        """The predictor in use, as TIFF numbers them: 1 is none."""
        if self.compression in _LOSSY:
            return 1
        return 2 if self.predictor is None else self.predictor

    def compressed_share(self, product: Product) -> float:
        """Bytes of the file per byte of pixels, overviews among both: rather more than it will be."""
        if self.compression not in _LOSSY:
            return _EXACT_SHARES[self.compression] if self.used_predictor == 2 else _VALUES_SHARE
        share = next(share for quality, share in _LOSSY_SHARES if self.used_quality <= quality)
        return share * _ONE_BAND if len(product.band_names) == 1 else share

    @property
    def options(self) -> dict[str, str]:
        """All that changes the bytes of the file, as text."""
        options = {"format": "cog", "compression": self.compression, "resampling": self.resampling}
        if self.compression in _MAX_LEVEL:
            options["level"] = str(self.used_level)
        if self.compression in _LOSSY:
            options["quality"] = str(self.used_quality)
        else:
            options["predictor"] = str(self.used_predictor)
        return options

    def check_product(self, product: Product) -> None:
        """Pass if the compression can hold such pixels.

        Raises:
            InputError: it cannot.
        """
        bands, wanted = len(product.band_names), {"jpeg": (1, 3), "webp": (3,)}.get(self.compression)
        if wanted is None or (bands in wanted and product.dtype == "uint8"):
            return
        raise InputError(
            f"{self.compression} holds {' or '.join(map(str, wanted))} bands of uint8, this product has {bands} of "
            f"{product.dtype}. Use --compress deflate, zstd or lzw."
        )


@dataclass(frozen=True, kw_only=True)
class ZarrEncoding:
    """How a Zarr store is laid out.

    Args:
        zarr_format: 3, or 2 for readers that know no other.
        sharded: many chunks in one file; None does so where the format can, which version 2 cannot.
        layout: "flat" has the full resolution in the root, as GDAL's own overviews want it; "groups" has a group for
            each level, 0, 1, 2 ..., as DataTree and the examples of GeoZarr.
        level: effort of zstd, 1 to 22.
        resampling: of overviews, "average" or "nearest".

    Raises:
        InputError: values that do not go together.
    """

    zarr_format: int = 3
    sharded: bool | None = None
    layout: str = "flat"
    level: int | None = None
    resampling: str = "average"

    def __post_init__(self) -> None:
        _require_one_of("--zarr-layout", self.layout, LAYOUTS)
        _require_one_of("--resampling", self.resampling, RESAMPLINGS)
        if self.zarr_format not in (2, 3):
            raise InputError(f"--zarr-format is 2 or 3, got {self.zarr_format}.")
        if self.zarr_format == 2 and self.sharded:
            raise InputError("Zarr version 2 has no shards. Leave sharded out.")
        if self.level is not None and not 1 <= self.level <= _MAX_LEVEL["zstd"]:
            raise InputError(f"--level {self.level}: the zstd of a Zarr store has levels 1 to 22.")

    @property
    def has_shards(self) -> bool:
        """Whether many chunks lie in one file."""
        return self.zarr_format == 3 if self.sharded is None else self.sharded

    @property
    def used_level(self) -> int:
        """The level in use."""
        return DEFAULT_LEVEL if self.level is None else self.level

    def compressed_share(self, product: Product) -> float:
        """Bytes of the store per byte of pixels. See `CogEncoding.compressed_share`."""
        return _VALUES_SHARE

    @property
    def options(self) -> dict[str, str]:
        """All that changes the bytes of the store, as text."""
        used = {**asdict(self), "sharded": self.has_shards, "level": self.used_level}
        return {"format": "zarr", **{name: str(value) for name, value in used.items()}}

    def group_name(self, level: int) -> str:
        """Path of the group of a level, "" for the root."""
        if self.layout == "groups":
            return str(level)
        return f"ovr_{1 << level}x" if level else ""


DEFAULT_COG, DEFAULT_ZARR = CogEncoding(), ZarrEncoding()


def cog_encoding(options: Mapping[str, Any]) -> CogEncoding:
    """The encoding of a COG with these options, which are named as the fields.

    Raises:
        InputError: one of them is of Zarr.
    """
    return CogEncoding(**_only(options, DEFAULT_COG, "a .zarr"))


def zarr_encoding(options: Mapping[str, Any]) -> ZarrEncoding:
    """The encoding of a Zarr store with these options, which are named as the fields.

    Raises:
        InputError: one of them is of a COG.
    """
    if options.get("compression") == "zstd":
        options = {name: value for name, value in options.items() if name != "compression"}
    return ZarrEncoding(**_only(options, DEFAULT_ZARR, "a .tif; a Zarr store is compressed by zstd"))


def encoding_of(name: str, options: Mapping[str, Any]) -> CogEncoding | ZarrEncoding:
    """The encoding of the product of this name, of whose suffix `open_sink` made sure, with these options.

    Raises:
        InputError: one of them is of the other format.
    """
    return zarr_encoding(options) if name.rstrip("/").lower().endswith(".zarr") else cog_encoding(options)


_OPTION_OF = {"compression": "--compress", "layout": "--zarr-layout", "sharded": "--no-shards"}


def _only(options: Mapping[str, Any], default: CogEncoding | ZarrEncoding, other: str) -> Mapping[str, Any]:
    foreign = [name for name in options if name not in {field.name for field in fields(default)}]
    if foreign:
        option = _OPTION_OF.get(foreign[0], f"--{foreign[0].replace('_', '-')}")
        raise InputError(f"{option} is an option of {other}. Leave it out.")
    return options
