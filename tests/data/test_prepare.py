"""Packing: what is found, how it is stretched and split, and that bad input leaves nothing behind."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tilegen.cli.data import data
from tilegen.data.packed import read_card
from tilegen.data.prepare import prepare_dataset
from tilegen.data.sources import find_chips
from tilegen.data.splits import split_chips
from tilegen.errors import DataError, InputError, OutputError
from tilegen.testing.chips import textured_pixels, write_image

REAL = Path(__file__).parents[3] / "shared" / "data"


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"the real imagery {name} is not beside the repository")
    return REAL / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve chips of 8 bits in one folder, with files around that are no chips."""
    for index in range(12):
        write_image(tmp_path / "vegas" / f"img{index}.tif", textured_pixels(64, 80, seed=index))
    for name in ("README.md", "labels.geojson", "splits.json", "table.csv", ".hidden.tif", ".cache/img.tif"):
        path = tmp_path / "vegas" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("no image")
    return tmp_path / "vegas"


# What is found


def names(*sources: Path) -> list[str]:
    with find_chips(sources) as found:
        return [chip.name for chip in found]


def test_only_visible_images_are_found_in_natural_order(folder: Path) -> None:
    assert names(folder) == [f"vegas/img{index}.tif" for index in range(12)]


def test_a_file_is_named_after_its_folder(folder: Path) -> None:
    assert names(folder / "img3.tif") == ["vegas/img3.tif"]


def test_two_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for root in ("a", "b"):
        write_image(tmp_path / root / "images" / "1.png", textured_pixels(64, 64))
    assert names(tmp_path / "a" / "images", tmp_path / "b" / "images") == ["images/1.png", "images-2/1.png"]


def test_an_image_given_twice_is_refused(folder: Path) -> None:
    """Or one copy could be trained on and the other validate."""
    with pytest.raises(InputError, match="given twice"):
        names(folder, folder / "img3.tif")


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        names(tmp_path / "nowhere")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(DataError, match="No image was found"):
        names(tmp_path)


def test_numbers_of_any_length_are_sorted(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("9" * 5000, "10", "9", "09"):
            file.writestr(f"{name}.png", b"")
    assert names(archive) == [f"a/{name}.png" for name in ("09", "9", "10", "9" * 5000)]


# Archives

ODD_NAMES = [
    "ü ñ/日本.png",
    "a\\b.png",
    "{x}.png",
    "we#ird?q=1.png",
    "c:d.png",
    "./dot.png",
    "x//y.png",
    " space .png",
    "a.zip/inner!.PNG",
    "%20.png",
]


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_members_with_odd_names_are_read_and_nothing_is_extracted(tmp_path: Path) -> None:
    png = write_image(tmp_path / "chip.png", textured_pixels(64, 64)).read_bytes()
    (tmp_path / "chip.png").unlink()
    junk = {"README.md": b"x", "__MACOSX/._a.png": b"junk", "sub/": b""}
    archive = archive_of(tmp_path / "ar{c}h ive.zip", dict.fromkeys(ODD_NAMES, png) | junk)
    report = prepare_dataset([archive], tmp_path / "out.safetensors")
    assert len(report.card.chips) == len(ODD_NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ar{c}h ive.zip", "out.safetensors"]


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png"])
def test_a_member_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "a.zip", {name: b""})
    with pytest.raises(DataError, match="points outside"):
        prepare_dataset([archive], tmp_path / "out.safetensors")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.zip", {"a.png": b"1" * 1000})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a\.zip: is truncated"):
        names(path)


def test_a_damaged_member_is_a_bad_chip(tmp_path: Path) -> None:
    """The checksum of the archive is looked at, for uncompressed pixels have none of their own."""
    tif = write_image(tmp_path / "chip.tif", textured_pixels(64, 64)).read_bytes()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.tif", tif)
        file.writestr("b.tif", tif)
    damaged = bytearray(path.read_bytes())
    damaged[5000] ^= 1
    path.write_bytes(damaged)
    report = prepare_dataset([path], tmp_path / "out.safetensors")
    assert [chip.name for chip in report.card.chips] == ["a/b.tif"]
    assert "cannot be taken out of a.zip" in report.card.rejects[0].reason


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"\x1b[31m.png": b"no image"})
    with pytest.raises(DataError, match=r"a/\?\[31m\.png"):
        prepare_dataset([archive], tmp_path / "out.safetensors")


# Radiometry


def test_eight_bits_are_kept(folder: Path, tmp_path: Path) -> None:
    report = prepare_dataset([folder], tmp_path / "out.safetensors")
    tensors = load_file(tmp_path / "out.safetensors")
    assert report.card.stretches == ()
    for index in range(12):
        np.testing.assert_array_equal(tensors[f"chip/{index:05d}"], textured_pixels(64, 80, seed=index))


def test_one_stretch_for_a_folder_so_that_a_dark_chip_stays_dark(tmp_path: Path) -> None:
    for index, high in enumerate([500, 1000, 2000]):
        pixels = textured_pixels(64, 80, seed=index, high=high, dtype="uint16")
        write_image(tmp_path / "aoi" / f"{index}.tif", pixels)
    report = prepare_dataset([tmp_path / "aoi"], tmp_path / "out.safetensors")
    (stretch,) = report.card.stretches
    every = np.concatenate(
        [textured_pixels(64, 80, seed=i, high=h, dtype="uint16") for i, h in enumerate([500, 1000, 2000])], axis=1
    )
    np.testing.assert_allclose(stretch.low, np.percentile(every, 2, axis=(1, 2)))
    np.testing.assert_allclose(stretch.high, np.percentile(every, 98, axis=(1, 2)))
    means = [chip.mean() for _, chip in sorted(load_file(tmp_path / "out.safetensors").items())]
    assert means == sorted(means)
    assert means[0] < 0.6 * means[2]


def test_a_stretch_can_be_undone(tmp_path: Path) -> None:
    pixels = textured_pixels(64, 80, high=2000, dtype="uint16")
    write_image(tmp_path / "aoi" / "a.tif", pixels)
    report = prepare_dataset([tmp_path / "aoi"], tmp_path / "out.safetensors", stretch_percent=(0.0, 100.0))
    (stretch,) = report.card.stretches
    counts = stretch.undo(load_file(tmp_path / "out.safetensors")["chip/00000"])
    half_a_step = (np.array(stretch.high) - stretch.low) / 255 / 2 + 1e-9
    assert (np.abs(counts - pixels) <= half_a_step[:, None, None]).all()


def test_nodata_does_not_decide_the_stretch(tmp_path: Path) -> None:
    pixels = textured_pixels(64, 80, low=300, high=900, dtype="uint16")
    pixels[:, :, 60:] = 65535
    write_image(tmp_path / "aoi" / "a.tif", pixels, nodata=65535)
    report = prepare_dataset([tmp_path / "aoi"], tmp_path / "out.safetensors")
    assert max(report.card.stretches[0].high) <= 900
    tensors = load_file(tmp_path / "out.safetensors")
    assert not tensors["chip/00000"][:, :, 60:].any()
    np.testing.assert_array_equal(tensors["valid/00000"][0], [1] * 60 + [0] * 20)


def test_a_constant_band_does_not_divide_by_zero(tmp_path: Path) -> None:
    pixels = textured_pixels(64, 80, high=900, dtype="uint16")
    pixels[1] = 77
    write_image(tmp_path / "aoi" / "a.tif", pixels)
    prepare_dataset([tmp_path / "aoi"], tmp_path / "out.safetensors")
    assert not load_file(tmp_path / "out.safetensors")["chip/00000"][1].any()


# Splits


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=5), fraction=st.floats(0, 0.9))
def test_every_folder_gives_its_share_in_runs(counts: list[int], fraction: float) -> None:
    folders = [str(index) for index, count in enumerate(counts) for _ in range(count)]
    splits = split_chips(folders, fraction)
    assert len(splits) == len(folders)
    val = [
        sum(split == "val" for split, name in zip(splits, folders, strict=True) if name == str(i))
        for i in range(len(counts))
    ]
    if fraction == 0:
        assert sum(val) == 0
    elif len(folders) > 1:
        assert sum(val) >= 1
        assert all(abs(part - count * fraction) <= 1 for part, count in zip(val, counts, strict=True))


def test_the_end_of_a_short_folder_validates() -> None:
    assert split_chips(["vegas"] * 28, 0.07) == ["train"] * 26 + ["val"] * 2


def test_long_folders_are_validated_in_several_places() -> None:
    splits = split_chips(["a"] * 200, 0.1)
    runs = "".join(split[0] for split in splits).split("t")
    assert [len(run) for run in runs if run] == [6, 7, 7]


# The file


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        prepare_dataset([folder], tmp_path / f"{name}.safetensors", licence="CC0")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_the_card_tells_everything_but_paths(folder: Path, tmp_path: Path) -> None:
    (folder / "img5.tif").write_bytes(b"bad")
    report = prepare_dataset(
        [folder], tmp_path / "out.safetensors",
        licence="CC BY-SA 4.0", attribution="SpaceNet", resolution_m=0.3,
    )  # fmt: skip
    card = read_card(tmp_path / "out.safetensors")
    assert card == report.card
    assert (card.licence, card.attribution, card.resolution_m) == ("CC BY-SA 4.0", "SpaceNet", 0.3)
    assert card.sources == ("vegas",)
    assert [reject.name for reject in card.rejects] == ["vegas/img5.tif"]
    assert [chip.shape for chip in card.chips] == [(3, 64, 80)] * 11
    assert str(tmp_path).encode() not in (tmp_path / "out.safetensors").read_bytes()


def test_other_pixels_or_another_split_give_another_digest(folder: Path, tmp_path: Path) -> None:
    digests = set()
    for fraction in (0.0, 0.1, 0.5):
        digests.add(prepare_dataset([folder], tmp_path / f"{fraction}.safetensors", val_fraction=fraction).card.digest)
    write_image(folder / "img3.tif", textured_pixels(64, 80, seed=99))
    digests.add(prepare_dataset([folder], tmp_path / "other.safetensors").card.digest)
    assert len(digests) == 4


# What is refused


def bad_bands(path: Path) -> None:
    write_image(path, textured_pixels(64, 80, bands=1))


def bad_black(path: Path) -> None:
    write_image(path, np.zeros((3, 64, 80), np.uint8))


def bad_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def bad_small(path: Path) -> None:
    write_image(path, textured_pixels(64, 40))


@pytest.mark.parametrize("spoil", [bad_bands, bad_black, bad_truncated, bad_small])
def test_a_bad_chip_stops_the_packing_and_leaves_nothing(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder / "img7.tif")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"^vegas/img7\.tif: "):
        prepare_dataset([folder], tmp_path / "out.safetensors", strict=True)
    assert sorted(tmp_path.rglob("*")) == before
    report = prepare_dataset([folder], tmp_path / "out.safetensors")
    assert (len(report.card.chips), len(report.card.rejects)) == (11, 1)


def test_only_bad_chips_are_an_error_even_when_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"bad")
    with pytest.raises(DataError, match="None of the 1 images"):
        prepare_dataset([tmp_path / "a.tif"], tmp_path / "out.safetensors")


def test_a_failure_in_the_second_pass_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def spoil_late(done: int, _total: int) -> None:
        if done == 12:
            bad_black(folder / "img7.tif")

    with pytest.raises(DataError, match="img7"):
        prepare_dataset([folder], tmp_path / "out.safetensors", progress=spoil_late)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vegas"]


def test_an_existing_file_is_kept_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("precious")
    with pytest.raises(OutputError, match="exists"):
        prepare_dataset([folder], out)
    with pytest.raises(OutputError, match="is not a packed dataset"):
        prepare_dataset([folder], out, overwrite=True)
    assert out.read_text() == "precious"
    out.unlink()
    prepare_dataset([folder], out)
    prepare_dataset([folder], out, overwrite=True)
    assert len(read_card(out).chips) == 12


@pytest.mark.parametrize(
    "options",
    [
        {"num_bands": 0},
        {"min_px": 0},
        {"stretch_percent": (98.0, 2.0)},
        {"val_fraction": 1.0},
        {"resolution_m": 0.0},
        {"resolution_m": float("nan")},
    ],
)
def test_options_without_sense_are_refused(folder: Path, tmp_path: Path, options: dict) -> None:
    with pytest.raises(InputError):
        prepare_dataset([folder], tmp_path / "out.safetensors", **options)


def test_progress_reaches_the_end(folder: Path, tmp_path: Path) -> None:
    (folder / "img5.tif").write_bytes(b"bad")
    steps: list[tuple[int, int]] = []
    prepare_dataset([folder], tmp_path / "out.safetensors", progress=lambda *step: steps.append(step))
    assert steps == [(done, 24) for done in range(1, 25)]


# The command


def test_the_command_packs_and_reports(folder: Path, tmp_path: Path) -> None:
    (folder / "img5.tif").write_bytes(b"bad")
    out = str(tmp_path / "out.safetensors")
    words = ["prepare", "images", str(folder), "--out", out, "--licence", "CC0", "--stretch", "1", "99"]
    result = CliRunner().invoke(data, words)
    assert result.exit_code == 0, result.output
    assert "10 train + 1 val chips of 3 band(s), 0 with no-data, 1 left out" in result.stdout
    assert "left out vegas/img5.tif: cannot be read" in result.stdout
    assert result.stderr == "1 left out. With --strict, a bad chip stops the packing.\n"


def test_the_command_writes_a_report_where_it_is_told(folder: Path, tmp_path: Path) -> None:
    words = ["prepare", "images", str(folder), "--out", str(tmp_path / "out.safetensors")]
    refused = CliRunner().invoke(data, [*words, "--report", str(folder)])
    assert isinstance(refused.exception, OutputError)
    assert not (tmp_path / "out.safetensors").exists()
    result = CliRunner().invoke(data, [*words, "--report", str(tmp_path / "told")])
    assert result.exit_code == 0, result.output
    assert f"report: {tmp_path / 'told'}" in result.stdout
    names = {path.name for path in (tmp_path / "told").iterdir()}
    assert names == {"train.png", "val.png", "histograms.png", "report.md", "report.json"}  # no map: no georeference


def test_the_command_fails_on_a_bad_chip_if_strict(folder: Path, tmp_path: Path) -> None:
    (folder / "img5.tif").write_bytes(b"bad")
    words = ["prepare", "images", str(folder), "--strict", "--out", str(tmp_path / "out.safetensors")]
    result = CliRunner().invoke(data, words)
    assert isinstance(result.exception, DataError)
    assert result.exit_code != 0


# Real imagery


def test_the_spacenet_fixtures_pack(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(DataError, match=r"MS16_1\.tif: has 4 bands"):
        prepare_dataset([real("spacenet_shared_fixtures.zip")], out, strict=True)
    card = prepare_dataset([real("spacenet_shared_fixtures.zip")], out).card
    assert len(card.chips) == 16
    assert len(card.rejects) == 7  # those of 1 and 4 bands
    masked = {chip.name.rpartition("/")[2] for chip in card.chips if chip.masked}
    rio = {f"3band_013022223130_Public_img{number}.tif" for number in (57, 59, 61)}
    assert masked == rio | {"SN6exp_Rotterdam_PS-RGB16_2.tif"}
    assert {chip.crs for chip in card.chips} == {"EPSG:4326", "EPSG:32631"}
    assert [stretch.group.rpartition("/")[2] for stretch in card.stretches] == [
        "PS-RGB-uint16",
        *["RGB-PanSharpen"] * 2,
    ]


@pytest.mark.parametrize(("bands", "chips"), [(1, 3), (4, 4)])
def test_the_spacenet_fixtures_of_other_bands_pack(tmp_path: Path, bands: int, chips: int) -> None:
    source = real("spacenet_shared_fixtures.zip")
    card = prepare_dataset([source], tmp_path / "out.safetensors", num_bands=bands).card
    assert len(card.chips) == chips


def test_the_wedges_of_shanghai_are_found_and_no_others(tmp_path: Path) -> None:
    card = prepare_dataset([real("spacenet8_shanghai_fixture.zip")], tmp_path / "out.safetensors").card
    masked = [chip.name.rpartition("/")[2].removesuffix(".webp") for chip in card.chips if chip.masked]
    assert masked == ["10310", "10351", "10391", "10429", "10607", "10707", "10729"]


def test_black_shadows_of_paris_are_no_wedges(tmp_path: Path) -> None:
    card = prepare_dataset([real("spacenet8_vegas_paris_trainval.zip")], tmp_path / "out.safetensors").card
    assert not any(chip.masked for chip in card.chips)


def test_a_report_among_the_chips_is_refused(tmp_path: Path) -> None:
    """Its pictures would be packed as chips the next time."""
    write_image(tmp_path / "chips" / "a.png", textured_pixels(80, 90))
    with pytest.raises(InputError, match="among the chips"):
        prepare_dataset([tmp_path / "chips"], tmp_path / "a.safetensors", report_folder=tmp_path / "chips" / "report")
    assert not (tmp_path / "a.safetensors").exists()
