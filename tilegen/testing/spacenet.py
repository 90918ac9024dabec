"""Small made-up rounds of SpaceNet in the folders and under the names that the real ones come in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.warp import transform as warp_coordinates

from tilegen.testing.chips import textured_pixels, write_image

ONE_COLLECT = ("",)

BUILDING = (0.25, 0.25, 0.5, 0.5)
"""Of every chip, top, left, bottom and right of its one building as shares of its side."""

ROAD = 0.75
"""Of every chip, where its one road runs from left to right, as a share of its side from the top."""


@dataclass(frozen=True, kw_only=True)
class MadeUpRound:
    """How one round is written.

    Args:
        aoi: its first.
        image: path, with {aoi}, {product}, {collect}, {n} (number of the chip), {x} and {y} (its lower left corner).
        labels: path of the GeoJSON of each kind, with the same.
        product: its default, with three bands unless `bands` says otherwise.
        bands: of products that have not three, alpha counted.
        crs: of the images.
        label_crs: of the labels; None writes none, which is WGS 84.
        res: pixel size in units of `crs`.
        corner: x and y of the upper left of the first chip.
        dtype: of the pixels.
        collects: of the same ground.
    """

    aoi: str
    image: str
    labels: dict[str, str]
    product: str
    bands: dict[str, int] = field(
        default_factory=lambda: {"PAN": 1, "MS": 8, "PS-MS": 8, "MUL": 8, "MUL-PanSharpen": 8}
    )
    crs: str = "EPSG:4326"
    label_crs: str | None = None
    res: float = 2.7e-6
    corner: tuple[float, float] = (-115.1706, 36.2406)
    dtype: str = "uint16"
    collects: tuple[str, ...] = ONE_COLLECT


def _since_2019(name: str, aoi: str, kind: str, chip: str, corner: tuple[float, float]) -> MadeUpRound:
    folder = f"{name}/train/{{aoi}}"
    labels = "geojson_buildings" if kind == "buildings" else "geojson_roads_speed"
    return MadeUpRound(
        aoi=aoi,
        image=f"{folder}/{{product}}/{name}_train_{{aoi}}_{{product}}_{chip}{{n}}.tif",
        labels={kind: f"{folder}/{labels}/{name}_train_{{aoi}}_{labels}_{chip}{{n}}.geojson"},
        product="PS-RGB",
        corner=corner,
    )


def _challenge(suffix: str, kind: str, folder: str) -> MadeUpRound:
    return MadeUpRound(
        aoi="AOI_2_Vegas",
        image=f"{{aoi}}{suffix}/{{product}}/{{product}}_{{aoi}}_img{{n}}.tif",
        labels={kind: f"{{aoi}}{suffix}/geojson/{folder}/{folder}_{{aoi}}_img{{n}}.geojson"},
        product="RGB-PanSharpen",
    )


_SN4_COLLECTS = ("nadir7_catid_1030010003D22F00", "nadir53_catid_1030010003CD4300")
_SN6_TIMES = "20190804111224_20190804111453"
_SN7_MOSAIC = "global_monthly_{collect}_mosaic_{aoi}"
_SN8_LABELS = "SN8_floods/{aoi}_Training_Public/annotations/0_{n}_63.geojson"

ROUNDS = {
    "SN1": MadeUpRound(
        aoi="AOI_1_Rio",
        image="processedBuildingLabels/{product}/{product}_AOI_1_RIO_img{n}.tif",
        labels={"buildings": "processedBuildingLabels/vectordata/geojson/Geo_AOI_1_RIO_img{n}.geojson"},
        product="3band",
        bands={"8band": 8},
        res=4.49e-6,
        corner=(-43.6845, -22.9443),
        dtype="uint8",
    ),
    "SN2": _since_2019("SN2_buildings", "AOI_2_Vegas", "buildings", "img", (-115.1706, 36.2406)),
    "SN2 challenge": _challenge("_Train", "buildings", "buildings"),
    "SN3": _since_2019("SN3_roads", "AOI_3_Paris", "roads", "img", (2.2215, 49.0178)),
    "SN3 challenge": _challenge("_Roads_Train", "roads", "spacenetroads"),
    "SN4": MadeUpRound(
        aoi="AOI_6_Atlanta",
        image="SN4_buildings/Atlanta_{collect}/{product}/{product}_Atlanta_{collect}_{x}_{y}.tif",
        labels={"buildings": "SN4_buildings/geojson/spacenet-buildings/spacenet-buildings_{x}_{y}.geojson"},
        product="Pan-Sharpen",
        bands={"Pan-Sharpen": 4, "MS": 8, "PAN": 1},
        crs="EPSG:32616",
        label_crs="urn:ogc:def:crs:EPSG::32616",
        res=0.5,
        corner=(733601.0, 3725139.0),
        collects=_SN4_COLLECTS,
    ),
    "SN5": _since_2019("SN5_roads", "AOI_7_Moscow", "roads", "chip", (37.51, 55.76)),
    "SN6": MadeUpRound(
        aoi="AOI_11_Rotterdam",
        image=f"SN6_buildings/train/{{aoi}}/{{product}}/SN6_Train_{{aoi}}_{{product}}_{_SN6_TIMES}_tile_{{n}}.tif",
        labels={
            "buildings": "SN6_buildings/train/{aoi}/geojson_buildings/"
            f"SN6_Train_{{aoi}}_Buildings_{_SN6_TIMES}_tile_{{n}}.geojson"
        },
        product="PS-RGB",
        bands={"PS-RGBNIR": 4, "RGBNIR": 4, "PAN": 1, "SAR-Intensity": 4},
        crs="EPSG:32631",
        label_crs="urn:ogc:def:crs:EPSG::32631",
        res=0.5,
        corner=(593270.0, 5747657.0),
        dtype="float64",
    ),
    "SN7": MadeUpRound(
        aoi="L15-0331E-1257N_1327_3160_13",
        image=f"SN7_buildings/train/{{aoi}}/{{product}}/{_SN7_MOSAIC}.tif",
        labels={"buildings": f"SN7_buildings/train/{{aoi}}/labels/{_SN7_MOSAIC}_Buildings.geojson"},
        product="images_masked",
        bands={"images_masked": 4, "images": 4},
        crs="EPSG:3857",
        label_crs="urn:ogc:def:crs:OGC:1.3:CRS84",
        res=4.777,
        corner=(-13_560_000.0, 4_550_000.0),
        dtype="uint8",
        collects=("2018_01", "2018_02", "2018_11"),
    ),
    "SN8": MadeUpRound(
        aoi="Germany",
        image="SN8_floods/{aoi}_Training_Public/{product}/{collect}_0_{n}_63.tif",
        labels={"buildings": _SN8_LABELS, "roads": _SN8_LABELS},
        product="PRE-event",
        corner=(6.9, 50.5),
        dtype="uint8",
        collects=("10500500C4DD7000",),
    ),
}
"""One of each: SN2 and SN3 as they come since 2019 and as they came to the challenges."""


def write_spacenet(
    root: Path,
    name: str,
    *,
    aoi: str | None = None,
    product: str | None = None,
    num_chips: int = 2,
    side_px: int = 64,
    label_kinds: Sequence[str] | None = None,
    **profile: Any,
) -> list[Path]:
    """Write a row of chips that abut, from west to east, with one building and one road of two lanes in each.

    Args:
        root: folder to write into.
        name: of one of `ROUNDS`.
        aoi: another one than its first; the ground stays the same.
        product: another one than its default.
        num_chips: per collect; SN7 has one whatever is asked, as a file name of it has no place for more.
        side_px: rows and columns of each.
        label_kinds: kinds to write labels of; all that the round has if None.
        profile: of the GeoTIFFs, as rasterio takes it; `dtype` replaces that of the round.

    Returns:
        The images, collect by collect.
    """
    made_up = ROUNDS[name]
    product = product or made_up.product
    bands = made_up.bands.get(product, 3)
    dtype = profile.pop("dtype", made_up.dtype)
    images = []
    for collect in made_up.collects:
        for n in range(1, 2 if name == "SN7" else num_chips + 1):
            transform = _transform(made_up, side_px, n)
            x, y = (round(number) for number in _place(transform, 0.0, float(side_px)))
            names = {"aoi": aoi or made_up.aoi, "product": product, "collect": collect, "n": n, "x": x, "y": y}
            deep = dtype != "uint8"
            pixels = textured_pixels(side_px, side_px, bands=bands, seed=n, dtype=dtype, high=1600 if deep else 250)
            if name == "SN7":
                pixels[-1] = 255
                profile |= {"photometric": "RGB", "alpha": "YES"}
            path = root / made_up.image.format(**names)
            images.append(write_image(path, pixels, crs=made_up.crs, transform=transform, **profile))
            for kind in made_up.labels if label_kinds is None else label_kinds:
                _write_labels(root / made_up.labels[kind].format(**names), made_up, transform, side_px)
    return images


def _transform(made_up: MadeUpRound, side_px: int, n: int) -> Affine:
    x, y = made_up.corner
    return Affine(made_up.res, 0, x + (n - 1) * side_px * made_up.res, 0, -made_up.res, y)


def _place(transform: Affine, col: float, row: float) -> tuple[float, float]:
    return transform.c + transform.a * col, transform.f + transform.e * row


def _write_labels(path: Path, made_up: MadeUpRound, transform: Affine, side_px: int) -> None:
    """The building, the road, or both, as a FeatureCollection with heights of zero, as SpaceNet has them."""
    top, left, bottom, right = BUILDING
    outline = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    shapes = {
        "buildings": ("Polygon", outline, {"building": "yes"}),
        "roads": ("LineString", [(0.0, ROAD), (1.0, ROAD)], {"highway": "residential", "lane_number": "2"}),
    }
    features = []
    for kind in made_up.labels:
        geometry, places, properties = shapes[kind]
        points = [_place(transform, col * side_px, row * side_px) for col, row in places]
        label_crs = made_up.label_crs or "EPSG:4326"
        xs, ys = warp_coordinates(made_up.crs, label_crs, *np.transpose(points).tolist())
        line = [[x, y, 0.0] for x, y in zip(xs, ys, strict=True)]
        coordinates = [line] if geometry == "Polygon" else line
        features.append(
            {"type": "Feature", "properties": properties, "geometry": {"type": geometry, "coordinates": coordinates}}
        )
    record: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if made_up.label_crs:
        record["crs"] = {"type": "name", "properties": {"name": made_up.label_crs}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")
