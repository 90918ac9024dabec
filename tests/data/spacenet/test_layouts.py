"""What the table says of names as they were published, and that it does not contradict itself."""

from pathlib import PurePosixPath

import pytest

from tilegen.data.spacenet.layouts import LAYOUTS
from tilegen.data.spacenet.recognise import recognise_image, recognise_label
from tilegen.errors import DataError


def image(path: str) -> tuple[str, str, str, str, str | None]:
    parts = PurePosixPath(path).parts
    what = recognise_image(parts[:-1], parts[-1])
    return what.layout.name, what.aoi, what.product.names[0], what.image_id, what.collect


NADIR7 = "nadir7_catid_1030010003D22F00"
CUBE = "L15-0331E-1257N_1327_3160_13"
TILE = "20190804111224_20190804111453_tile_8679"


# Paths as listings, tutorials and solutions of the challenges have them.
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("3band/3band_AOI_1_RIO_img5792.tif", ("SN1", "AOI_1_Rio", "3band", "AOI_1_RIO_img5792", None)),
        ("8band/8band_AOI_2_RIO_img7.tif", ("SN1", "AOI_1_Rio", "8band", "AOI_2_RIO_img7", None)),
        (
            "processedBuildingLabels/3band/3band_013022223130_Public_img54.tif",
            ("SN1", "AOI_1_Rio", "3band", "013022223130_Public_img54", None),
        ),
        (
            "SN2_buildings/train/AOI_2_Vegas/PS-RGB/SN2_buildings_train_AOI_2_Vegas_PS-RGB_img10.tif",
            ("SN2", "AOI_2_Vegas", "PS-RGB", "img10", None),
        ),
        (
            "AOI_5_Khartoum_Train/MUL-PanSharpen/MUL-PanSharpen_AOI_5_Khartoum_img9.tif",
            ("SN2", "AOI_5_Khartoum", "PS-MS", "img9", None),
        ),
        ("AOI_3_Paris_Test_public/MUL/MUL_AOI_3_Paris_img5.tif", ("SN2", "AOI_3_Paris", "MS", "img5", None)),
        ("SN2_AOI_3_Paris/8bit/RGB-PanSharpen_img1447.tif", ("SN2", "AOI_3_Paris", "PS-RGB", "img1447", None)),
        ("SN2/AOI_2_Vegas/PAN_AOI_3_Paris_img5.tif", ("SN2", "AOI_3_Paris", "PAN", "img5", None)),
        ("SN2/AOI_2_Vegas/AOI_3_Paris/PAN_img5.tif", ("SN2", "AOI_3_Paris", "PAN", "img5", None)),
        ("SN2/SN3_roads/PAN_AOI_3_Paris_img5.tif", ("SN3", "AOI_3_Paris", "PAN", "img5", None)),
        (
            "AOI_3_Paris/PAN/SN3_roads_train_AOI_3_Paris_PAN_img100.tif",
            ("SN3", "AOI_3_Paris", "PAN", "img100", None),
        ),
        (
            "AOI_2_Vegas_Roads_Train/RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img1.tif",
            ("SN3", "AOI_2_Vegas", "PS-RGB", "img1", None),
        ),
        (
            "SN3_roads/AOI_2_Vegas/RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img1.tif",
            ("SN3", "AOI_2_Vegas", "PS-RGB", "img1", None),
        ),
        (
            f"Atlanta_{NADIR7}/Pan-Sharpen/Pan-Sharpen_Atlanta_{NADIR7}_748451_3743589.tif",
            ("SN4", "AOI_6_Atlanta", "Pan-Sharpen", f"{NADIR7}_748451_3743589", NADIR7),
        ),
        (
            f"{NADIR7}/PS-RGBNIR/SN4_buildings_train_AOI_6_Atlanta_{NADIR7}_PS-RGBNIR_732701_3730989.tif",
            ("SN4", "AOI_6_Atlanta", "PS-RGBNIR", f"{NADIR7}_732701_3730989", NADIR7),
        ),
        (
            "nfs/tiles_upload/train/AOI_8_Mumbai/PS-MS/SN5_roads_train_AOI_8_Mumbai_PS-MS_chip979.tif",
            ("SN5", "AOI_8_Mumbai", "PS-MS", "chip979", None),
        ),
        (
            "AOI_9_San_Juan/PS-RGB/SN5_roads_test_public_AOI_9_San_Juan_PS-RGB_chip98.tif",
            ("SN5", "AOI_9_San_Juan", "PS-RGB", "chip98", None),
        ),
        (
            f"train/AOI_11_Rotterdam/PS-RGBNIR/SN6_Train_AOI_11_Rotterdam_PS-RGBNIR_{TILE}.tif",
            ("SN6", "AOI_11_Rotterdam", "PS-RGBNIR", TILE, None),
        ),
        (
            f"train/{CUBE}/images/global_monthly_2018_01_mosaic_{CUBE}.tif",
            ("SN7", CUBE, "images", f"2018_01_mosaic_{CUBE}", "2018_01"),
        ),
        (
            "Louisiana-East_Training_Public/PRE-event/10400100684A4B00_1_2_84.tif",
            ("SN8", "Louisiana-East", "PRE-event", "10400100684A4B00_1_2_84", "10400100684A4B00"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_published_name_is_recognised(path: str, expected: tuple[str, str, str, str, str | None]) -> None:
    assert image(path) == expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("SN2_buildings/quicklook.tif", "no round of SpaceNet gives"),
        (f"SAR/SN6_Train_AOI_11_Rotterdam_SAR-Intensity_{TILE}.tif", "no round of SpaceNet gives"),
        ("rgb/RGB-PanSharpen_AOI_2_Vegas_img1.tif", "may be of SN2 or SN3: put it below a folder"),
        ("SN2/RGB-PanSharpen_img1.tif", r"of which AOI \(AOI_2_Vegas, "),
        ("SN5/SN5_roads_train_AOI_2_Vegas_PS-RGB_chip1.tif", r"of which AOI \(AOI_7_Moscow, "),
        ("PRE-event/10400100684A4B00_1_2_84.tif", r"of which AOI \(Germany, "),
        (
            f"train/global_monthly_2018_01_mosaic_{CUBE}.tif",
            r"no folder of one of its products \(images_masked, images",
        ),
    ],
)
def test_what_a_name_does_not_say_is_not_guessed(path: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        image(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("vectordata/geojson/Geo_AOI_1_RIO_img1194.geojson", [("SN1", "buildings", "AOI_1_RIO_img1194")]),
        ("geoJson/013022223130_Public_img8_Geo.geojson", [("SN1", "buildings", "013022223130_Public_img8")]),
        ("summarydata/AOI_1_RIO_polygons_solution_3band.csv", [("SN1", "buildings", None)]),
        (
            "geojson_buildings/SN2_buildings_train_AOI_2_Vegas_geojson_buildings_img1.geojson",
            [("SN2", "buildings", "img1")],
        ),
        ("geojson/buildings/buildings_AOI_5_Khartoum_img3.geojson", [("SN2", "buildings", "img3")]),
        ("summaryData/AOI_2_Vegas_Train_Building_Solutions.csv", [("SN2", "buildings", None)]),
        (
            "geojson_roads/SN3_roads_train_AOI_2_Vegas_geojson_roads_img1.geojson",
            [("SN3", "roads", "img1")],
        ),
        (
            "roads/SN3_roads_train_AOI_2_Vegas_geojson_roads_speed_img1.geojson",
            [("SN3", "roads", "img1")],
        ),
        ("geojson/spacenetroads/spacenetroads_AOI_3_Paris_img377.geojson", [("SN3", "roads", "img377")]),
        (
            "geojson/spacenet-buildings/spacenet-buildings_748451_3743589.geojson",
            [("SN4", "buildings", "748451_3743589")],
        ),
        (
            "geojson_buildings/SN4_buildings_train_AOI_6_Atlanta_geojson_buildings_732701_3730989.geojson",
            [("SN4", "buildings", "732701_3730989")],
        ),
        (
            "AOI_7_Moscow/geojson_roads_speed/SN5_roads_train_AOI_7_Moscow_geojson_roads_speed_chip0.geojson",
            [("SN5", "roads", "chip0")],
        ),
        (
            f"geojson_buildings/SN6_Train_AOI_11_Rotterdam_Buildings_{TILE}.geojson",
            [("SN6", "buildings", TILE)],
        ),
        ("SummaryData/SN6_Train_AOI_11_Rotterdam_Buildings.csv", [("SN6", "buildings", None)]),
        (
            f"{CUBE}/labels_match/global_monthly_2018_01_mosaic_{CUBE}_Buildings.geojson",
            [("SN7", "buildings", f"2018_01_mosaic_{CUBE}")],
        ),
        (f"{CUBE}/labels_match_pix/global_monthly_2018_01_mosaic_{CUBE}_Buildings.geojson", []),
        (f"{CUBE}/labels/global_monthly_2018_01_mosaic_{CUBE}_UDM.geojson", []),
        (
            "Germany_Training_Public/annotations/0_15_63.geojson",
            [("SN8", "buildings", "0_15_63"), ("SN8", "roads", "0_15_63")],
        ),
        ("Germany_Training_Public/annotations/prepped_cleaned/buildings_0_15_63.geojson", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_published_label_file_is_recognised(path: str, expected: list[tuple[str, str, str | None]]) -> None:
    parts = PurePosixPath(path).parts
    found = recognise_label(parts[:-1], parts[-1])
    assert [(label.layout.name, label.label.kind, label.labelled) for label in found] == expected


def test_tables_are_of_products_that_their_round_has() -> None:
    for layout in LAYOUTS:
        names = {product.names[0] for product in layout.products}
        assert all(set(label.grid) <= names for label in layout.labels)


def test_the_first_product_of_a_round_shows_colours() -> None:
    assert all({"red", "green", "blue"} <= set(layout.products[0].band_names) for layout in LAYOUTS)
