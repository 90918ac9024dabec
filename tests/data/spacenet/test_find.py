"""Finding chips in small trees of every round, in original files, and among things that are not what they seem."""

import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import rasterio

from tilegen.data.spacenet.find import SpaceNetChip, find_spacenet
from tilegen.errors import DataError, InputError
from tilegen.testing.spacenet import ROUNDS, write_spacenet

REAL = Path(__file__).parents[4] / "shared" / "data" / "spacenet_shared_fixtures.zip"


def ids(chips: list[SpaceNetChip]) -> list[tuple[str, str, str, str]]:
    return [(chip.round, chip.aoi, chip.product, chip.image_id) for chip in chips]


@pytest.mark.parametrize("name", ROUNDS)
def test_all_chips_of_a_round_are_found_with_all_their_labels(name: str, tmp_path: Path) -> None:
    images = write_spacenet(tmp_path, name, num_chips=3)
    chips, rejects = find_spacenet(tmp_path)
    assert rejects == []
    assert {chip.source.path for chip in chips} == set(images)
    assert len(set(ids(chips))) == len(images)
    for chip in chips:
        assert chip.round == name.split()[0]
        assert chip.label_kinds == set(ROUNDS[name].labels)
        with rasterio.open(chip.source.path) as file:
            alpha = file.colorinterp[-1] is rasterio.enums.ColorInterp.alpha
            assert len(chip.band_names) == file.count - alpha


@pytest.mark.parametrize("name", ["SN2", "SN2 challenge", "SN3", "SN3 challenge", "SN5", "SN6"])
def test_the_root_may_be_above_or_below_the_round(name: str, tmp_path: Path) -> None:
    """Down to the folder of the product, above which the round and the AOI are named."""
    image = write_spacenet(tmp_path / "here" / "and there", name)[0]
    expected = ids(find_spacenet(tmp_path)[0])
    for folder in image.parents[: len(image.relative_to(tmp_path).parts) - 1]:
        assert ids(find_spacenet(folder)[0]) == expected


def test_a_root_with_several_rounds_gives_them_all_in_natural_order(tmp_path: Path) -> None:
    for name in ("SN8", "SN3 challenge", "SN2 challenge"):
        write_spacenet(tmp_path, name, num_chips=11)
    chips, _ = find_spacenet(tmp_path)
    assert Counter(chip.round for chip in chips) == {"SN2": 11, "SN3": 11, "SN8": 11}
    assert [chip.round for chip in chips] == sorted(chip.round for chip in chips)
    assert [chip.image_id for chip in chips[:11]] == [f"img{n}" for n in range(1, 12)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cities of SN2, one of them in three products, and one each of SN5 and SN8."""
    root = tmp_path_factory.mktemp("world")
    write_spacenet(root, "SN2")
    for product in ("PS-RGB", "PS-MS", "PAN"):
        write_spacenet(root, "SN2", aoi="AOI_3_Paris", product=product)
    write_spacenet(root, "SN5", aoi="AOI_9_San_Juan", product="PAN")
    write_spacenet(root, "SN8")
    return root


@pytest.mark.parametrize(
    ("rounds", "aois", "expected"),
    [
        (["sn5", "8"], None, {"AOI_9_San_Juan", "Germany"}),
        (None, ["2", "germany"], {"AOI_2_Vegas", "Germany"}),
        (None, ["aoi_3_PARIS", "San Juan"], {"AOI_3_Paris", "AOI_9_San_Juan"}),
        (["SN2"], ["vegas"], {"AOI_2_Vegas"}),
        ([], [], {"AOI_2_Vegas", "AOI_3_Paris", "AOI_9_San_Juan", "Germany"}),
    ],
)
def test_rounds_and_aois_can_be_asked_for(
    world: Path, rounds: list[str] | None, aois: list[str] | None, expected: set[str]
) -> None:
    chips, _ = find_spacenet(world, rounds=rounds, aois=aois)
    assert {chip.aoi for chip in chips} == expected


def test_each_aoi_comes_in_one_product_and_colours_go_first(world: Path) -> None:
    chips, rejects = find_spacenet(world)
    assert {(chip.aoi, chip.product) for chip in chips} == {
        ("AOI_2_Vegas", "PS-RGB"),
        ("AOI_3_Paris", "PS-RGB"),
        ("AOI_9_San_Juan", "PAN"),
        ("Germany", "PRE-event"),
    }
    assert rejects == []


def test_a_product_can_be_asked_for_by_any_of_its_names(world: Path) -> None:
    chips, rejects = find_spacenet(world, rounds=["SN2"], product="mul-pansharpen")
    assert {(chip.aoi, chip.product, len(chip.band_names)) for chip in chips} == {("AOI_3_Paris", "PS-MS", 8)}
    assert [(reject.name, reject.reason) for reject in rejects] == [
        ("SN2/AOI_2_Vegas", "SN2/AOI_2_Vegas: has no product mul-pansharpen, only PS-RGB.")
    ]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"rounds": ["SN2", "SN4"]},
            "There is no round 'SN4'. What there is: SN2 AOI_2_Vegas (PS-RGB); SN2 AOI_3_Paris",
        ),
        ({"rounds": ["SN2"], "aois": ["Rio"]}, "There is no AOI 'Rio'. What there is: SN2 AOI_2_Vegas (PS-RGB); "),
        (
            {"aois": ["vegas"], "product": "SWIR"},
            "There is no product 'SWIR'. What there is: SN2 AOI_2_Vegas (PS-RGB).",
        ),
    ],
)
def test_who_asks_for_what_is_not_there_is_told_what_is(
    world: Path, asked: dict[str, list[str]], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        find_spacenet(world, **asked)
    assert str(caught.value).startswith(sentence)


def test_the_same_chip_downloaded_twice_counts_once(tmp_path: Path) -> None:
    """In the names of the challenge and in those of today."""
    write_spacenet(tmp_path, "SN2")
    write_spacenet(tmp_path, "SN2 challenge")
    chips, rejects = find_spacenet(tmp_path)
    assert ids(chips) == [("SN2", "AOI_2_Vegas", "PS-RGB", "img1"), ("SN2", "AOI_2_Vegas", "PS-RGB", "img2")]
    assert [reject.reason.partition(": ")[2][:20] for reject in rejects] == ["is the same chip as "] * 2


def test_the_same_ground_at_other_times_is_kept_apart_by_its_collect(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN4", num_chips=1)
    write_spacenet(tmp_path, "SN7")
    chips, _ = find_spacenet(tmp_path)
    assert [chip.collect for chip in chips] == [
        "nadir7_catid_1030010003D22F00",
        "nadir53_catid_1030010003CD4300",
        "2018_01",
        "2018_02",
        "2018_11",
    ]


def test_radar_floods_and_cloud_masks_are_left_out_with_one_sentence_each(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN6")
    write_spacenet(tmp_path, "SN6", product="SAR-Intensity", num_chips=5)
    write_spacenet(tmp_path, "SN8")
    write_spacenet(tmp_path, "SN8", product="POST-event", num_chips=5)
    chips, rejects = find_spacenet(tmp_path)
    assert {chip.product for chip in chips} == {"PS-RGB", "PRE-event"}
    assert [reject.name for reject in rejects] == [
        "SN6_buildings/train/AOI_11_Rotterdam/SAR-Intensity",
        "SN8_floods/Germany_Training_Public/POST-event",
    ]


def test_an_image_of_no_layout_is_named_with_the_reason(tmp_path: Path) -> None:
    """And a control character in its name does not reach a terminal."""
    image = write_spacenet(tmp_path, "SN2")[0]
    image.rename(image.with_name("holiday\x1b[2J.tif"))
    chips, rejects = find_spacenet(tmp_path)
    assert [chip.image_id for chip in chips] == ["img2"]
    assert [reject.reason for reject in rejects] == [
        "SN2_buildings/train/AOI_2_Vegas/PS-RGB/holiday?[2J.tif: has a name that no round of SpaceNet gives its images."
    ]


def test_without_any_chip_the_first_other_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"JPEG")
    with pytest.raises(DataError, match=r"holds no chip of SpaceNet.*1 files left out: photo\.jpg: has a name"):
        find_spacenet(tmp_path)


@pytest.mark.parametrize("name", ["SN2.tar.gz", "nothing"])
def test_an_archive_or_nothing_is_no_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "SN2.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=f"{name} is no folder. Unpack"):
        find_spacenet(tmp_path / name)


def test_links_lead_to_no_file_outside_of_the_root(tmp_path: Path) -> None:
    """Neither to images nor to labels; links within the root are as good as files."""
    outside = write_spacenet(tmp_path / "outside", "SN2", num_chips=3)
    images = write_spacenet(tmp_path / "root", "SN2", num_chips=4)
    labels = tmp_path / "root/SN2_buildings/train/AOI_2_Vegas/geojson_buildings"
    first_label = next(labels.glob("*img1.geojson"))
    images[0].unlink()
    images[0].symlink_to(outside[0])
    images[1].rename(tmp_path / "root" / "moved")
    images[1].symlink_to(tmp_path / "root" / "moved")
    images[2].unlink()
    images[2].symlink_to(tmp_path / "root" / "nowhere")
    (images[2].parent / "PS-RGB_img9.tif").symlink_to("PS-RGB_img9.tif")
    first_label.rename(tmp_path / "label")
    first_label.symlink_to(tmp_path / "label")
    (tmp_path / "root" / "more").symlink_to(tmp_path / "outside", target_is_directory=True)
    chips, rejects = find_spacenet(tmp_path / "root")
    assert [chip.image_id for chip in chips] == ["img2", "img4"]
    assert sorted((Path(reject.name).name[-12:], reject.reason.partition(": ")[2][:23]) for reject in rejects) == [
        ("RGB_img1.tif", "is a link that leads ou"),
        ("RGB_img3.tif", "cannot be opened (No su"),
        ("RGB_img9.tif", "cannot be opened (Too m"),
        ("img1.geojson", "is a link that leads ou"),
        ("more", "is a link to a folder, "),
    ]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    image = write_spacenet(tmp_path, "SN2")[0]
    image.unlink()
    os.mkfifo(image)
    chips, rejects = find_spacenet(tmp_path)
    assert len(chips) == 1
    assert rejects[0].reason.endswith("is no regular file.")


# Labels


def test_chips_without_a_label_file_are_unlabelled(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2", label_kinds=[])
    chips, rejects = find_spacenet(tmp_path)
    assert [chip.labels for chip in chips] == [(), ()]
    assert rejects == []


def test_a_label_file_without_a_byte_says_nothing(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2")
    next(tmp_path.rglob("*img1.geojson")).write_bytes(b"")
    chips, rejects = find_spacenet(tmp_path)
    assert [len(chip.labels) for chip in chips] == [0, 1]
    assert rejects[0].reason.endswith("has no bytes, so that nothing is known of it.")


def test_labels_of_another_round_or_city_are_not_taken(tmp_path: Path) -> None:
    """Image numbers are the same in all of them."""
    write_spacenet(tmp_path, "SN2", label_kinds=[])
    write_spacenet(tmp_path, "SN2", aoi="AOI_3_Paris")
    write_spacenet(tmp_path, "SN3", aoi="AOI_2_Vegas")
    chips, _ = find_spacenet(tmp_path)
    assert {(chip.round, chip.aoi, chip.label_kinds) for chip in chips} == {
        ("SN2", "AOI_2_Vegas", frozenset()),
        ("SN2", "AOI_3_Paris", frozenset({"buildings"})),
        ("SN3", "AOI_2_Vegas", frozenset({"roads"})),
    }


TABLE = 'ImageId,BuildingId,PolygonWKT_Pix,PolygonWKT_Geo\n{},1,"POLYGON ((1 1 0,5 1 0,5 4 0,1 1 0))",1\n'


@pytest.mark.parametrize(
    ("name", "table", "image_id"),
    [
        ("SN1", "summarydata/AOI_1_RIO_polygons_solution_3band.csv", "AOI_1_RIO_img1"),
        ("SN2 challenge", "AOI_2_Vegas_Train/summaryData/AOI_2_Vegas_Train_Building_Solutions.csv", "AOI_2_Vegas_img1"),
        (
            "SN4",
            "summaryData/Atlanta_nadir7_catid_1030010003D22F00_Train.csv",
            "Atlanta_nadir7_catid_1030010003D22F00_733601_3725107",
        ),
        (
            "SN6",
            "SummaryData/SN6_Train_AOI_11_Rotterdam_Buildings.csv",
            "20190804111224_20190804111453_tile_1",
        ),
    ],
)
def test_a_table_serves_the_chips_that_it_lists_if_they_have_no_geojson(
    name: str, table: str, image_id: str, tmp_path: Path
) -> None:
    write_spacenet(tmp_path, name, label_kinds=[])
    (tmp_path / table).parent.mkdir(parents=True)
    (tmp_path / table).write_text(TABLE.format(image_id), encoding="utf-8")
    chips, _ = find_spacenet(tmp_path)
    assert [[label.path.name for label in chip.labels] for chip in chips] == [
        [Path(table).name],
        *[[]] * (len(chips) - 1),
    ]


def test_a_table_in_pixels_does_not_serve_a_product_with_other_pixels(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2 challenge", product="MUL", label_kinds=[])
    (tmp_path / "AOI_2_Vegas_Train_Building_Solutions.csv").write_text(TABLE.format("AOI_2_Vegas_img1"))
    chips, _ = find_spacenet(tmp_path)
    assert [chip.labels for chip in chips] == [(), ()]


def test_geojson_goes_before_a_table_and_a_table_serves_its_own_round_only(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2 challenge")
    write_spacenet(tmp_path, "SN3 challenge")
    (tmp_path / "AOI_2_Vegas_Train_Building_Solutions.csv").write_text(TABLE.format("AOI_2_Vegas_img1"))
    chips, _ = find_spacenet(tmp_path)
    assert [(chip.round, *sorted(label.path.name for label in chip.labels)) for chip in chips] == [
        ("SN2", "buildings_AOI_2_Vegas_img1.geojson"),
        ("SN2", "buildings_AOI_2_Vegas_img2.geojson"),
        ("SN3", "spacenetroads_AOI_2_Vegas_img1.geojson"),
        ("SN3", "spacenetroads_AOI_2_Vegas_img2.geojson"),
    ]


def test_of_two_files_of_one_kind_the_first_of_the_layout_is_taken(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN5", num_chips=1)
    with_speed = next(tmp_path.rglob("*.geojson"))
    folder = with_speed.parent.with_name("geojson_roads")
    folder.mkdir()
    (folder / with_speed.name.replace("_speed", "")).write_bytes(with_speed.read_bytes())
    chips, _ = find_spacenet(tmp_path)
    assert [label.path for label in chips[0].labels] == [with_speed]


@pytest.mark.parametrize(
    "text", [TABLE[:-30].format("AOI_2_Vegas_img1"), "a,b\n1,2\n", '"\x00', "ImageId,PolygonWKT_Pix\nimg1\n"]
)
def test_a_broken_table_is_named_once_and_its_chips_are_unlabelled(text: str, tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2", label_kinds=[])
    (tmp_path / "AOI_2_Vegas_Train_Building_Solutions.csv").write_text(text)
    chips, rejects = find_spacenet(tmp_path)
    assert [chip.labels for chip in chips] == [(), ()]
    assert [reject.name for reject in rejects] == ["AOI_2_Vegas_Train_Building_Solutions.csv"]


# Original files


def test_original_chips_are_found_and_other_files_are_not_mistaken_for_chips(tmp_path: Path) -> None:
    """The others were renamed by somebody, so that nothing says which chips they are."""
    if not REAL.exists():
        pytest.skip("the original chips are not beside the repository")
    with zipfile.ZipFile(REAL) as archive:
        archive.extractall(tmp_path)
    chips, rejects = find_spacenet(tmp_path / "original")
    assert Counter((chip.round, chip.aoi, chip.product) for chip in chips) == {
        ("SN1", "AOI_1_Rio", "3band"): 10,
        ("SN2", "AOI_3_Paris", "PS-RGB"): 1,
        ("SN2", "AOI_4_Shanghai", "PS-RGB"): 1,
    }
    assert len(rejects) == 5
    for chip in chips:
        with rasterio.open(chip.source.path) as file:
            assert file.count == len(chip.band_names)
