"""What is known of each round of SpaceNet: names of its folders and files, bands of its products, and its licence.

A table and nothing else; `find` reads it. Sources: the listings and labelling guides of the challenge pages
(github.com/SpaceNetChallenge/SpaceNetChallenge.github.io, spacenet.ai/datasets), the products and label folders that
torchgeo lists (torchgeo/datasets/spacenet), and the challenge baselines named below. File names were compared with
original files of SN1 (3band) and SN2 (RGB-PanSharpen); all others stand as published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tilegen.bands import RGB

LabelKind = Literal["buildings", "roads"]

LICENCE = "CC BY-SA 4.0"
"""Of every round (spacenet.ai/datasets)."""

WORLDVIEW = ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir1", "nir2")
"""The eight bands of WorldView-2 and 3, in the order of their files."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """One kind of image of a round.

    Args:
        names: of its folders and in its file names; the first is what tilegen calls it, whatever the download did.
        band_names: in the order of the file, alpha left out.
    """

    names: tuple[str, ...]
    band_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A folder of images that are no chips to learn from, and why."""

    folder: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LabelLayout:
    """Where labels of one kind lie. Of several for one kind, the first that has a file for a chip is taken.

    Args:
        kind: what is labelled.
        file_name: of a GeoJSON file, with the group "labelled", which is equal to that of its images; or of a CSV.
        folders: names of the folder that the file is in; any if empty.
        grid: of a CSV with pixel coordinates, the first names of the products that have these pixels.
    """

    kind: LabelKind
    file_name: re.Pattern[str]
    folders: tuple[str, ...] = ()
    grid: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoundLayout:
    """One round of SpaceNet.

    Args:
        name: such as "SN2".
        folder: names of folders that hold nothing but this round; so do those of `ROUND_FOLDER`. Group: "aoi".
        aois: their names; none where each names itself in its files (group "aoi").
        products: in the order of preference, red, green and blue alone first.
        file_names: of images. Groups: "number" of the AOI, or "aoi"; "product"; "collect", where the same ground was
            imaged several times; "labelled", what the image shares with its labels; "image_id", unique within AOI and
            product, where it is not the last two together. What a name does not say, its folders do.
        labels: of every kind.
        left_out: folders that are passed over.
        attribution: whom to name.
    """

    name: str
    folder: re.Pattern[str]
    aois: tuple[str, ...]
    products: tuple[Product, ...]
    file_names: tuple[re.Pattern[str], ...]
    labels: tuple[LabelLayout, ...]
    attribution: str
    left_out: tuple[LeftOut, ...] = ()


def _pattern(text: str) -> re.Pattern[str]:
    """Names differ in case between downloads: AOI_1_RIO and AOI_1_Rio, Test_public and Test_Public."""
    return re.compile(text, re.IGNORECASE | re.ASCII)


def _attribution(imagery: str) -> str:
    return f"SpaceNet Partners (spacenet.ai); imagery (c) {imagery}"


_MAXAR = _attribution("Maxar/DigitalGlobe")

_AOI = r"AOI_(?P<number>\d+)_[A-Z]+(?:_[A-Z]+)*?"
_CITIES = ("AOI_2_Vegas", "AOI_3_Paris", "AOI_4_Shanghai", "AOI_5_Khartoum")
_CITY = r"AOI_[2-5]_(?:Vegas|Paris|Shanghai|Khartoum)"

# The first names are those of the download since 2019, the others those of the challenges.
_PS_RGB = Product(names=("PS-RGB", "RGB-PanSharpen"), band_names=RGB)
_PS_MS = Product(names=("PS-MS", "MUL-PanSharpen"), band_names=WORLDVIEW)
_MS = Product(names=("MS", "MUL"), band_names=WORLDVIEW)
_PAN = Product(names=("PAN",), band_names=("pan",))
_WORLDVIEW_PRODUCTS = (_PS_RGB, _PS_MS, _MS, _PAN)
_OLD_NAME = _pattern(rf"(?P<product>RGB-PanSharpen|MUL-PanSharpen|MUL|PAN)_(?:{_AOI}_)?(?P<image_id>img\d+)\.tif")


def _new_name(prefix: str, image_id: str) -> re.Pattern[str]:
    return _pattern(rf"{prefix}_[a-z_]+_{_AOI}_(?P<product>PS-RGB|PS-MS|MS|PAN)_(?P<image_id>{image_id})\.tif")


def _new_label(prefix: str, product: str, image_id: str) -> re.Pattern[str]:
    return _pattern(rf"{prefix}_[a-z_]+_{_AOI}_{product}_(?P<labelled>{image_id})\.geojson")


_SN1_ID = r"(?:AOI_[12]_RIO|\d+_Public)_img\d+"  # AOI_2_RIO: the test chips, which are of Rio as well
_SN1 = RoundLayout(
    name="SN1",
    folder=_pattern(r"AOI_1_Rio.*|processedBuildingLabels.*"),
    aois=("AOI_1_Rio",),
    products=(Product(names=("3band",), band_names=RGB), Product(names=("8band",), band_names=WORLDVIEW)),
    file_names=(_pattern(rf"(?P<product>3band|8band)_(?P<image_id>{_SN1_ID})\.tif"),),
    labels=(
        LabelLayout(kind="buildings", file_name=_pattern(rf"Geo_(?P<labelled>{_SN1_ID})\.geojson")),
        LabelLayout(kind="buildings", file_name=_pattern(rf"(?P<labelled>{_SN1_ID})_Geo\.geojson")),
        LabelLayout(kind="buildings", file_name=_pattern(r".*polygons_solution_3band\.csv"), grid=("3band",)),
        LabelLayout(kind="buildings", file_name=_pattern(r".*polygons_solution_8band\.csv"), grid=("8band",)),
    ),
    attribution=_MAXAR,
)

_SN2 = RoundLayout(
    name="SN2",
    folder=_pattern(rf"{_CITY}(?:_Train|_Test(?:_Public)?)?"),
    aois=_CITIES,
    products=_WORLDVIEW_PRODUCTS,
    file_names=(_new_name("SN2_buildings", r"img\d+"), _OLD_NAME),
    labels=(
        LabelLayout(kind="buildings", file_name=_new_label("SN2_buildings", "geojson_buildings", r"img\d+")),
        LabelLayout(kind="buildings", file_name=_pattern(rf"buildings_{_AOI}_(?P<labelled>img\d+)\.geojson")),
        LabelLayout(
            kind="buildings",
            file_name=_pattern(rf"{_AOI}_Train_Building_Solutions\.csv"),
            grid=("PS-RGB", "PS-MS", "PAN"),
        ),
    ),
    attribution=_MAXAR,
)

_SN3 = RoundLayout(
    name="SN3",
    folder=_pattern(rf"{_CITY}_Roads_(?:Train|Test(?:_Public)?)"),
    aois=_CITIES,
    products=_WORLDVIEW_PRODUCTS,
    file_names=(_new_name("SN3_roads", r"img\d+"), _OLD_NAME),
    labels=(
        LabelLayout(kind="roads", file_name=_new_label("SN3_roads", "geojson_roads", r"img\d+")),
        LabelLayout(kind="roads", file_name=_new_label("SN3_roads", "geojson_roads_speed", r"img\d+")),
        LabelLayout(kind="roads", file_name=_pattern(rf"spacenetroads_{_AOI}_(?P<labelled>img\d+)\.geojson")),
    ),
    attribution=_MAXAR,
)

_COLLECT = r"(?P<collect>nadir\d+_catid_[0-9A-F]+)"
_TILE = r"(?P<labelled>\d+_\d+)"  # metres east and north of its lower left corner, in UTM
_SN4 = RoundLayout(
    name="SN4",
    folder=_pattern(r"AOI_6_Atlanta.*|SpaceNet-Off-Nadir.*"),
    aois=("AOI_6_Atlanta",),
    products=(
        Product(names=("PS-RGBNIR",), band_names=(*RGB, "nir")),
        # Blue first, as convert_to_8bit_bgr of the CosmiQ_SN4_Baseline has it.
        Product(names=("Pan-Sharpen",), band_names=("blue", "green", "red", "nir")),
        _MS,
        _PAN,
    ),
    file_names=(
        _pattern(rf"(?P<product>Pan-Sharpen|MS|MUL|PAN)_Atlanta_{_COLLECT}_{_TILE}\.tif"),
        _pattern(rf"SN4_buildings_[a-z_]+_AOI_6_Atlanta_{_COLLECT}_(?P<product>PS-RGBNIR|MS|PAN)_{_TILE}\.tif"),
    ),
    labels=(
        LabelLayout(kind="buildings", file_name=_pattern(rf"spacenet-buildings_{_TILE}\.geojson")),
        LabelLayout(
            kind="buildings",
            file_name=_pattern(rf"SN4_buildings_[a-z_]+_AOI_6_Atlanta_geojson_buildings_{_TILE}\.geojson"),
        ),
        LabelLayout(
            kind="buildings",
            file_name=_pattern(r"Atlanta_nadir\d+_catid_[0-9A-F]+_Train\.csv"),
            grid=("PS-RGBNIR", "Pan-Sharpen", "PAN"),
        ),
        # Roads of Atlanta, named in apls and cresi (github.com/avanetten/cresi, speed_masks).
        LabelLayout(kind="roads", file_name=_pattern(rf"spacenet-roads_{_TILE}(?:_speed)?\.geojson")),
    ),
    attribution=_MAXAR,
)

_SN5 = RoundLayout(
    name="SN5",
    folder=_pattern(r"AOI_(?:7_Moscow|8_Mumbai|9_San_Juan|10_Dar_Es_Salaam).*"),
    aois=("AOI_7_Moscow", "AOI_8_Mumbai", "AOI_9_San_Juan", "AOI_10_Dar_Es_Salaam"),
    products=_WORLDVIEW_PRODUCTS,
    file_names=(_new_name("SN5_roads", r"chip\d+"),),
    labels=(
        LabelLayout(kind="roads", file_name=_new_label("SN5_roads", "geojson_roads_speed", r"chip\d+")),
        LabelLayout(kind="roads", file_name=_new_label("SN5_roads", "geojson_roads", r"chip\d+")),
    ),
    attribution=_MAXAR,
)

# The time stamps are of a radar strip; the optical images are of one day (Shermeyer et al. 2020, arXiv 2004.06500).
_SN6_ID = r"\d+_\d+_tile_\d+"
_SN6 = RoundLayout(
    name="SN6",
    folder=_pattern(r"AOI_11_Rotterdam.*"),
    aois=("AOI_11_Rotterdam",),
    products=(
        Product(names=("PS-RGB",), band_names=RGB),
        Product(names=("PS-RGBNIR",), band_names=(*RGB, "nir")),
        Product(names=("RGBNIR",), band_names=(*RGB, "nir")),
        _PAN,
    ),
    file_names=(
        _pattern(
            rf"SN6_[a-z_]+_AOI_11_Rotterdam_(?P<product>PS-RGB|PS-RGBNIR|RGBNIR|PAN)_(?P<image_id>{_SN6_ID})\.tif"
        ),
    ),
    labels=(
        LabelLayout(
            kind="buildings",
            file_name=_pattern(rf"SN6_[a-z_]+_AOI_11_Rotterdam_Buildings_(?P<labelled>{_SN6_ID})\.geojson"),
        ),
        LabelLayout(
            kind="buildings",
            file_name=_pattern(r"SN6_[a-z_]+_AOI_11_Rotterdam_Buildings\.csv"),
            grid=("PS-RGB", "PS-RGBNIR", "PAN"),
        ),
    ),
    left_out=(LeftOut(folder="SAR-Intensity", reason="holds radar images, which show no colours"),),
    attribution=_MAXAR,
)

_MONTH = r"(?P<collect>\d{4}_\d{2})_mosaic_(?P<aoi>L15-\d{4}E-\d{4}N_\d+_\d+_\d+)"
_SN7 = RoundLayout(
    name="SN7",
    folder=_pattern(r"L15-\d{4}E-\d{4}N_\d+_\d+_\d+"),
    aois=(),
    # Clouds are taken out of the masked images only, and these alone were published for the test.
    products=(Product(names=("images_masked",), band_names=RGB), Product(names=("images",), band_names=RGB)),
    file_names=(_pattern(rf"global_monthly_(?P<image_id>{_MONTH})\.tif"),),
    labels=(
        # labels_match_pix has files of the same names, with pixel coordinates.
        LabelLayout(
            kind="buildings",
            file_name=_pattern(rf"global_monthly_(?P<labelled>{_MONTH})_Buildings\.geojson"),
            folders=("labels", "labels_match"),
        ),
    ),
    left_out=(LeftOut(folder="UDM_masks", reason="holds masks of clouds and no images"),),
    attribution=_attribution("Planet Labs"),
)

_SN8_ID = r"\d+_\d+_\d+"
_SN8 = RoundLayout(
    name="SN8",
    folder=_pattern(r"(?P<aoi>Germany|Louisiana-East|Louisiana-West)_(?:Training|Test)_Public"),
    aois=("Germany", "Louisiana-East", "Louisiana-West"),
    products=(Product(names=("PRE-event",), band_names=RGB),),
    file_names=(_pattern(rf"(?P<collect>[0-9A-F]{{16}})_(?P<labelled>{_SN8_ID})\.tif"),),
    labels=(
        LabelLayout(
            kind="buildings", file_name=_pattern(rf"(?P<labelled>{_SN8_ID})\.geojson"), folders=("annotations",)
        ),
        LabelLayout(kind="roads", file_name=_pattern(rf"(?P<labelled>{_SN8_ID})\.geojson"), folders=("annotations",)),
    ),
    left_out=(LeftOut(folder="POST-event", reason="shows the ground of PRE-event again, flooded"),),
    attribution=_MAXAR,
)

LAYOUTS = (_SN1, _SN2, _SN3, _SN4, _SN5, _SN6, _SN7, _SN8)
"""All rounds, in their order."""

ROUND_FOLDER = _pattern(r"(?:SN|SpaceNet[-_ ]?)(?P<round>[1-8])(?:\D.*)?")
"""Names of folders that hold one round: SN2_buildings, SN3_roads_train_AOI_2_Vegas, SN8_floods."""

AOI_FOLDER = _pattern(r".*AOI_(?P<number>\d+)_.*")
"""Names of folders that hold one AOI."""
