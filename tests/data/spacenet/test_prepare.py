"""SpaceNet to a packed file: all rounds, one resolution, one stretch per AOI, apart on the ground; and bad input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.numpy import load_file

from tilegen.cli.main import main
from tilegen.data.card import DatasetCard
from tilegen.data.dataset import PackedDataset
from tilegen.data.packed import read_card
from tilegen.data.spacenet.prepare import prepare_spacenet
from tilegen.errors import DataError, InputError, OutputError
from tilegen.testing.chips import textured_pixels, write_image
from tilegen.testing.disks import fill
from tilegen.testing.spacenet import BUILDING, ROAD, ROUNDS, write_spacenet

REAL = Path(__file__).parents[4] / "shared" / "data" / "spacenet_shared_fixtures.zip"

Ground = set[tuple[int, int]]


def ground_of(path: Path, split: str) -> Ground:
    """(row, col) on the grid of the zone, of all valid pixels of a split; chips of one zone share the grid."""
    tensors, ground = load_file(path), set()
    for index, chip in enumerate(read_card(path).chips):
        if chip.split != split:
            continue
        res, _, x, _, _, y = chip.transform
        valid = tensors.get(f"valid/{index:05d}", np.ones(chip.shape[1:], np.uint8))
        corner = np.rint([-y / res, x / res]).astype(int)
        ground |= set(map(tuple, (np.argwhere(valid) + corner).tolist()))
    return ground


def pack(root: Path, out: Path, **options: object) -> DatasetCard:
    return prepare_spacenet(root, out, **{"min_px": 16, "val_fraction": 0.0} | options).card


# What is packed


@pytest.mark.parametrize("name", ROUNDS)
def test_every_round_packs_with_its_labels(tmp_path: Path, name: str) -> None:
    """In the middle of its building a chip is all building, beyond it is none; likewise the road."""
    write_spacenet(tmp_path / "data", name)
    out = tmp_path / "out.safetensors"
    res_m = 4.0 if name == "SN7" else 0.5
    card = pack(tmp_path / "data", out, res_m=res_m, min_px=8)
    assert card.resolution_m == res_m
    assert card.licence == "CC BY-SA 4.0"
    assert all(chip.group == f"{name[:3]} {ROUNDS[name].aoi}" for chip in card.chips)
    assert {chip.collect is None for chip in card.chips} == {len(ROUNDS[name].collects) == 1 and name != "SN8"}
    tensors = load_file(out)
    for index, chip in enumerate(card.chips):
        assert chip.labels == tuple(ROUNDS[name].labels)
        labels, (_, rows, cols) = tensors[f"label/{index:05d}"], chip.shape
        top, left, bottom, right = BUILDING
        middle = labels[0, int(rows * (top + bottom) / 2), int(cols * (left + right) / 2)]
        outside = labels[0, int(rows * 0.9), int(cols * 0.9)]
        assert (middle, outside) == ((255, 0) if "buildings" in chip.labels else (0, 0))
        if "roads" in chip.labels:
            assert labels[1, int(rows * ROAD), cols // 2] > 0
            assert labels[1, int(rows * 0.3), cols // 2] == 0


def test_one_stretch_for_an_aoi_so_that_dark_chips_stay_dark(tmp_path: Path) -> None:
    """Of two AOIs; the stretch is of the pixels as resampled."""
    for aoi, highs in (("AOI_2_Vegas", [500, 1000, 2000]), ("AOI_3_Paris", [300])):
        paths = write_spacenet(tmp_path, "SN2", aoi=aoi, num_chips=len(highs), label_kinds=())
        for path, high in zip(paths, highs, strict=True):
            darken(path, high)
    card = pack(tmp_path, tmp_path / "out.safetensors", stretch_percent=(0.0, 100.0))
    assert [stretch.group for stretch in card.stretches] == ["SN2 AOI_2_Vegas", "SN2 AOI_3_Paris"]
    tensors = load_file(tmp_path / "out.safetensors")
    tops = [int(tensors[f"chip/{index:05d}"].max()) for index in range(4)]
    assert tops == pytest.approx([500 / 2000 * 255, 1000 / 2000 * 255, 255, 255], abs=12)


def darken(path: Path, high: int) -> None:
    """Write the chip anew, its counts between 0 and `high`."""
    import rasterio

    with rasterio.open(path) as file:
        profile = {"crs": file.crs, "transform": file.transform}
        pixels = file.read()
    write_image(path, (pixels.astype(float) / pixels.max() * high).astype(np.uint16), **profile)


def test_eight_bands_keep_their_names(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2", product="PS-MS")
    write_spacenet(tmp_path, "SN2")
    out = tmp_path / "out.safetensors"
    pack(tmp_path, out, product="MUL-PanSharpen")
    dataset = PackedDataset.open(out)
    assert dataset.band_names[:3] == ("coastal", "blue", "green")
    assert (dataset.num_bands, dataset.card.stretches[0].group) == (8, "SN2 AOI_2_Vegas")
    crops, labels = dataset.labelled_crops(np.random.default_rng(0), kinds=("buildings",), crop_px=8, batch=50)
    assert crops.shape == (50, 8, 8, 8)
    assert len(labels.unique()) > 1


def test_eight_bits_are_not_stretched(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN1")
    assert pack(tmp_path, tmp_path / "out.safetensors").stretches == ()


# Splits


def test_collects_of_one_ground_are_never_in_both_splits(tmp_path: Path) -> None:
    """Two collects of 16 abutting chips: where one validates, so does the other, and no pixel is in both splits."""
    write_spacenet(tmp_path, "SN4", num_chips=16, side_px=32, label_kinds=())
    out = tmp_path / "out.safetensors"
    card = pack(tmp_path, out, val_fraction=0.2)
    train, val = ground_of(out, "train"), ground_of(out, "val")
    assert train
    assert val
    assert not train & val
    dropped = [reject.name for reject in card.rejects]
    assert len(dropped) == 32 - len(card.chips)
    assert all("abuts ground that validates" in reject.reason for reject in card.rejects)


def test_abutting_chips_in_degrees_are_never_in_both_splits(tmp_path: Path) -> None:
    """Turned by the projection and set on pixels of the grid, neighbours overlap by slivers."""
    write_spacenet(tmp_path, "SN2", num_chips=16, label_kinds=())
    write_spacenet(tmp_path, "SN3", aoi="AOI_2_Vegas", num_chips=16, label_kinds=())
    out = tmp_path / "out.safetensors"
    pack(tmp_path, out, val_fraction=0.2, res_m=0.3)
    assert ground_of(out, "val")
    assert not ground_of(out, "train") & ground_of(out, "val")


# The report


def test_the_report_shows_what_went_in(tmp_path: Path) -> None:
    images = write_spacenet(tmp_path / "data", "SN4", num_chips=12, side_px=32)
    images[0].write_bytes(b"bad")
    report = prepare_spacenet(tmp_path / "data", tmp_path / "a.safetensors", min_px=16)
    folder = tmp_path / "a-report"
    assert report.folder == folder
    record = json.loads((folder / "report.json").read_text())
    counts = record["groups"]["SN4 AOI_6_Atlanta"]
    assert (counts["train"], counts["val"]) == (report.count("train"), report.count("val"))
    assert len(record["rejects"]) == 24 - len(report.card.chips)
    page = (folder / "report.md").read_text()
    assert all(reject.reason in page for reject in report.card.rejects)
    for name in ("train.png", "val.png", "train-labels.png", "val-labels.png", "histograms.png", "map.png"):
        assert f"]({name})" in page
        with Image.open(folder / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 2
    (histogram,) = record["histograms"]
    assert histogram["stretched"][0][0] == pytest.approx(0.02 * sum(histogram["stretched"][0]), rel=0.5)


def test_an_existing_report_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    write_spacenet(tmp_path / "data", "SN2", label_kinds=())
    out, folder = tmp_path / "a.safetensors", tmp_path / "a-report"
    folder.mkdir()
    (folder / "diary.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="a-report is not a report"):
            pack(tmp_path / "data", out, overwrite=overwrite)
    (folder / "diary.txt").unlink()
    with pytest.raises(OutputError, match="a-report exists"):
        pack(tmp_path / "data", out)
    assert not out.exists()
    pack(tmp_path / "data", out, overwrite=True)
    pack(tmp_path / "data", out, overwrite=True)
    assert (folder / "report.json").is_file()


# Bad input


def spoilt(path: Path, how: str) -> None:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-3000])
    elif how == "mislabelled":  # another product under this name
        write_image(path, textured_pixels(64, 64, bands=8, dtype="uint16"), crs="EPSG:4326")
    elif how == "of nowhere":
        write_image(path, textured_pixels(64, 64, dtype="uint16"))
    elif how == "tiny":
        shutil.copy(write_spacenet(path.parents[5] / "tiny", "SN2", num_chips=1, side_px=16)[0], path)
    elif how == "black":
        write_image(path, np.zeros((3, 64, 64), np.uint16), crs="EPSG:4326")
    elif how == "labelled badly":
        (label,) = path.parents[1].rglob("*_img2.geojson")
        label.write_text("{")


@pytest.mark.parametrize("how", ["empty", "truncated", "mislabelled", "of nowhere", "tiny", "black", "labelled badly"])
def test_a_bad_chip_is_left_out_and_named_or_refused(tmp_path: Path, how: str) -> None:
    root, out = tmp_path / "data", tmp_path / "out.safetensors"
    spoilt(write_spacenet(root, "SN2", num_chips=3)[1], how)
    with pytest.raises(DataError, match=r"_img2\.\w+: .*\.$"):
        pack(root, out, strict=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "tiny") == ["data"]
    card = pack(root, out)
    assert [chip.name.rpartition("_")[2] for chip in card.chips] == ["img1.tif", "img3.tif"]
    (reject,) = card.rejects
    assert "_img2." in reject.name + reject.reason


def test_folders_that_are_left_out_by_rule_are_nothing_bad(tmp_path: Path) -> None:
    """Radar is no optical imagery, and a download of SpaceNet 6 always has it."""
    write_spacenet(tmp_path / "data", "SN6", label_kinds=())
    write_spacenet(tmp_path / "data", "SN6", product="SAR-Intensity", label_kinds=())
    card = pack(tmp_path / "data", tmp_path / "out.safetensors", strict=True)
    assert len(card.chips) == 2
    assert "SAR" in card.rejects[0].name


def test_products_of_different_bands_are_not_mixed(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2", label_kinds=())
    write_spacenet(tmp_path, "SN6", product="PAN", label_kinds=())
    with pytest.raises(InputError, match=r"The bands differ \(.*SN6 AOI_11_Rotterdam PAN: pan.*Choose with --rounds"):
        pack(tmp_path, tmp_path / "out.safetensors")
    pack(tmp_path, tmp_path / "out.safetensors", rounds=["SN2"])


@pytest.mark.parametrize(
    "options",
    [{"res_m": 0.0}, {"res_m": float("nan")}, {"min_px": 0}, {"val_fraction": -0.1}, {"stretch_percent": (5.0, 5.0)}],
)
def test_options_without_sense_are_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(InputError):
        pack(tmp_path, tmp_path / "out.safetensors", **options)


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("320k")


def test_a_disk_that_fills_up_while_packing_is_one_sentence(tmp_path: Path, small_disk: Path) -> None:
    """There is room when the second pass begins, and none when it is half done: somebody else wrote a file."""
    write_spacenet(tmp_path / "data", "SN2", num_chips=4, side_px=128, label_kinds=())

    def take_the_rest(done: int, total: int) -> None:
        if done == total // 2 + 1:
            fill(small_disk / "other")

    with pytest.raises(OutputError, match=r"^The disk is full at .*out\.safetensors\. Free some space"):
        pack(tmp_path / "data", small_disk / "out.safetensors", res_m=0.3, progress=take_the_rest)
    assert [path.name for path in small_disk.iterdir()] == ["other"]


# The command


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["data", "prepare", "spacenet", *map(str, words)])


def test_the_command_packs_and_names_the_report(tmp_path: Path) -> None:
    images = write_spacenet(tmp_path / "data", "SN2", num_chips=3)
    write_spacenet(tmp_path / "data", "SN2", aoi="AOI_3_Paris", num_chips=1)
    write_spacenet(tmp_path / "data", "SN3", aoi="AOI_2_Vegas", num_chips=1)
    images[0].write_bytes(images[0].read_bytes()[:-3000])
    out = tmp_path / "a.safetensors"
    words = [tmp_path / "data", "--out", out, "--rounds", "SN2,SN3", "--aoi", "vegas", "--min-px", 16]
    result = run(*words, "--res", 0.4, "--val-fraction", 0, "--report", tmp_path / "told")
    assert result.exit_code == 0, result.output
    assert "3 train + 0 val chips of 3 band(s)" in result.stdout
    assert result.stdout.endswith(f"report: {tmp_path / 'told'}\n")
    assert result.stderr.startswith("1 left out.")
    assert read_card(out).resolution_m == 0.4


def test_the_command_says_what_there_is(tmp_path: Path) -> None:
    write_spacenet(tmp_path / "data", "SN2")
    result = run(tmp_path / "data", "--out", tmp_path / "a.safetensors", "--aoi", "Atlantis")
    assert result.exit_code == 1
    assert "AOI_2_Vegas" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# Real imagery


def test_the_spacenet_fixtures_pack(tmp_path: Path) -> None:
    """The chips of Rio and Paris are 200 m wide; pixels of Paris are oblong, 0.2 x 0.3 m."""
    if not REAL.exists():
        pytest.skip("the real imagery is not beside the repository")
    shutil.unpack_archive(REAL, tmp_path / "data")
    card = pack(tmp_path / "data" / "original", tmp_path / "out.safetensors", rounds=["SN1", "SN2"])
    assert len(card.chips) == 12
    assert {chip.crs for chip in card.chips} == {"EPSG:32723", "EPSG:32631", "EPSG:32651"}
    (paris,) = [chip for chip in card.chips if "Paris" in chip.name]
    _, rows, cols = paris.shape
    assert (rows * 0.5, cols * 0.5) == pytest.approx((195 + 2, 128 + 4), abs=3)  # a degree turned, both sides grow
