"""Crops of a packed dataset: valid, uniform, repeatable; and files that are not what they say."""

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import save_file

from tilegen.data.card import LABEL_KINDS
from tilegen.data.chips import Chip
from tilegen.data.dataset import PackedDataset, transformed
from tilegen.data.packing import Facts, pack
from tilegen.data.positions import allowed_corners, crop_positions
from tilegen.data.prepare import prepare_dataset
from tilegen.data.scan import Candidate, scan_group
from tilegen.errors import DataError, InputError
from tilegen.testing.chips import textured_pixels, write_image

REAL = Path(__file__).parents[3] / "shared" / "data"


def address_chip(rows: int, cols: int, number: int) -> np.ndarray:
    """Bands spell chip, row and column of each pixel: a crop shows where it is from."""
    row, col = np.mgrid[1 : rows + 1, 1 : cols + 1]
    return np.stack([np.full_like(row, number), row, col]).astype(np.uint8)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Three chips of different sizes that spell their addresses; the second has no-data below and right."""
    hole = np.ones((50, 60), bool)
    hole[40:, 20:] = False
    write_image(tmp_path / "aoi" / "1.tif", address_chip(40, 30, 1))
    write_image(tmp_path / "aoi" / "2.tif", address_chip(50, 60, 2), mask=hole)
    write_image(tmp_path / "aoi" / "3.tif", address_chip(20, 80, 3))
    prepare_dataset([tmp_path / "aoi"], tmp_path / "packed.safetensors", min_px=1, val_fraction=0.0)
    return tmp_path / "packed.safetensors"


# Positions


@given(
    valid=arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    crop_px=st.integers(1, 10),
)
def test_allowed_corners_are_those_of_brute_force(valid: np.ndarray, crop_px: int) -> None:
    rows, cols = valid.shape
    expected = np.array(
        [
            [valid[row : row + crop_px, col : col + crop_px].all() for col in range(max(cols - crop_px + 1, 0))]
            for row in range(max(rows - crop_px + 1, 0))
        ],
        dtype=bool,
    ).reshape(max(rows - crop_px + 1, 0), max(cols - crop_px + 1, 0))
    np.testing.assert_array_equal(allowed_corners(valid, crop_px), expected)


masks = st.lists(
    st.tuples(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=7)), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(chips=masks, crop_px=st.integers(1, 5))
def test_every_allowed_position_has_one_number(chips: list[tuple[np.ndarray, bool]], crop_px: int) -> None:
    """Chips with and without a mask; the numbers list them row by row, without a gap or a double."""
    valid = [mask if masked else None for mask, masked in chips]
    positions = crop_positions([mask.shape for mask, _ in chips], valid, crop_px)
    expected = [
        (index, int(row), int(col))
        for index, (mask, masked) in enumerate(chips)
        for row, col in np.argwhere(allowed_corners(mask if masked else np.ones_like(mask), crop_px))
    ]
    assert [positions.locate(number) for number in range(positions.total)] == expected


# Crops


def test_chips_count_by_their_positions_and_symmetries_are_alike(packed: Path) -> None:
    dataset = PackedDataset.open(packed)
    # 16-px crops in 40 x 30, 50 x 60 and 20 x 80; those from row 25 and column 5 on meet the hole of the second.
    numbers = np.array([25 * 15, 35 * 45 - 10 * 40, 5 * 65])
    assert dataset.num_positions(16) == numbers.sum()
    crops = dataset.crops(np.random.default_rng(0), crop_px=16, batch=8000, dihedral=True).int()
    chips = np.bincount(crops[:, 0, 0, 0], minlength=4)[1:]
    np.testing.assert_allclose(chips / 8000, numbers / numbers.sum(), atol=0.02)
    # How the row and column addresses change downwards and to the right tells the symmetry.
    steps = torch.stack([crops[:, 1:, 1, 0] - crops[:, 1:, 0, 0], crops[:, 1:, 0, 1] - crops[:, 1:, 0, 0]], dim=1)
    _, counts = np.unique(steps.reshape(-1, 4).numpy(), axis=0, return_counts=True)
    assert len(counts) == 8
    np.testing.assert_allclose(counts / 8000, 1 / 8, atol=0.02)


def test_a_crop_is_a_window_of_a_chip_and_never_holds_nodata(packed: Path) -> None:
    """No-data is stored as zero and addresses begin with one, so that one zero would show."""
    crops = PackedDataset.open(packed).crops(np.random.default_rng(1), crop_px=16, batch=2000)
    assert crops.dtype == torch.uint8
    assert crops.min() > 0
    assert (crops[:, 0] == crops[:, 0, :1, :1]).all()
    assert (crops[:, 1].int().diff(dim=1) == 1).all()
    assert (crops[:, 2].int().diff(dim=2) == 1).all()


def test_the_whole_range_of_positions_is_drawn(packed: Path) -> None:
    crops = PackedDataset.open(packed).crops(np.random.default_rng(2), crop_px=16, batch=20000)
    seen = {tuple(corner) for corner in crops[:, :, 0, 0].tolist()}
    assert len(seen) == PackedDataset.open(packed).num_positions(16)


def test_crops_of_a_group_come_from_one_chip_turned_one_way(packed: Path) -> None:
    """Band 0 is the chip's number; turned, bands 1 and 2 grow or fall with rows and columns as the symmetry says."""
    dataset = PackedDataset.open(packed)
    crops = dataset.crops(np.random.default_rng(3), crop_px=4, batch=240, per_chip=4, dihedral=True)
    groups = crops.unflatten(0, (60, 4)).int()
    chips = groups[:, :, 0].flatten(1)
    assert bool((chips == chips[:, :1]).all())
    assert chips.unique().tolist() == [1, 2, 3]
    slopes = torch.stack(
        [groups[..., 1:, 0, -1] - groups[..., 1:, 0, 0], groups[..., 1:, -1, 0] - groups[..., 1:, 0, 0]]
    )
    assert bool((slopes == slopes[:, :, :1]).all())
    assert len({tuple(group[:, 0].flatten().tolist()) for group in slopes.movedim(1, 0)}) == 8
    with pytest.raises(InputError, match="batch of 6 crops cannot be made of 4 from each chip"):
        dataset.crops(np.random.default_rng(3), crop_px=4, batch=6, per_chip=4)


def test_the_same_state_gives_the_same_crops(packed: Path) -> None:
    rng = np.random.default_rng(3)
    dataset = PackedDataset.open(packed)
    dataset.crops(rng, crop_px=8, batch=5, dihedral=True)
    state = rng.bit_generator.state
    first = dataset.crops(rng, crop_px=8, batch=5, dihedral=True)
    resumed = np.random.default_rng()
    resumed.bit_generator.state = state
    again = PackedDataset.open(packed)
    again.num_positions(16)  # another history of crop sizes
    assert torch.equal(again.crops(resumed, crop_px=8, batch=5, dihedral=True), first)
    assert resumed.bit_generator.state == rng.bit_generator.state


def test_the_symmetries_are_the_dihedral_group() -> None:
    square = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3)
    group = [transformed(square, element) for element in range(8)]
    images = {tuple(image.flatten().tolist()) for image in group}
    assert len(images) == 8
    assert {tuple(transformed(image, e).flatten().tolist()) for image in group for e in range(8)} == images


def test_changing_a_crop_leaves_the_dataset_alone(packed: Path) -> None:
    dataset = PackedDataset.open(packed)
    before = [chip.pixels.clone() for chip in dataset.chips]
    dataset.crops(np.random.default_rng(0), crop_px=16, batch=4).zero_()
    assert all(torch.equal(chip.pixels, pixels) for chip, pixels in zip(dataset.chips, before, strict=True))


def test_splits_are_kept_apart(tmp_path: Path) -> None:
    for number in range(1, 11):
        write_image(tmp_path / "aoi" / f"{number}.tif", address_chip(20, 20, number))
    path = tmp_path / "packed.safetensors"
    prepare_dataset([tmp_path / "aoi"], path, min_px=1, val_fraction=0.2)
    for split, expected in (("train", set(range(1, 9))), ("val", {9, 10})):
        dataset = PackedDataset.open(path, split)
        crops = dataset.crops(np.random.default_rng(0), crop_px=8, batch=200)
        assert set(crops[:, 0, 0, 0].tolist()) == expected
        assert dataset.num_chips == len(expected)
        assert (dataset.num_bands, dataset.split) == (3, split)


def test_a_crop_larger_than_all_chips_is_refused(packed: Path) -> None:
    with pytest.raises(DataError, match="valid square of 51 x 51 pixels; the largest chip is 50 x 60"):
        PackedDataset.open(packed).crops(np.random.default_rng(0), crop_px=51, batch=1)


def test_a_crop_that_fits_only_over_nodata_is_refused(packed: Path) -> None:
    with pytest.raises(DataError, match="valid square of 45 x 45"):
        PackedDataset.open(packed).num_positions(45)


@pytest.mark.parametrize(("crop_px", "batch"), [(0, 1), (-3, 1), (8, 0)])
def test_empty_crops_and_batches_are_refused(packed: Path, crop_px: int, batch: int) -> None:
    with pytest.raises(InputError):
        PackedDataset.open(packed).crops(np.random.default_rng(0), crop_px=crop_px, batch=batch)


def test_an_unknown_or_empty_split_is_refused(packed: Path) -> None:
    with pytest.raises(InputError, match="test"):
        PackedDataset.open(packed, "test")
    with pytest.raises(DataError, match="no chip in the split 'val'"):
        PackedDataset.open(packed, "val")


# Hostile files


def header_and_rest(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(path: Path, header: dict | bytes, rest: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + rest)


def refused(path: Path) -> None:
    with pytest.raises(DataError, match=r"^packed\.safetensors: "):
        PackedDataset.open(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "packed.safetensors")


def test_a_truncated_file_is_refused(packed: Path) -> None:
    whole = packed.read_bytes()
    for kept in [0, 1, 7, 8, 9, 100, *(len(whole) * part // 20 for part in range(20)), len(whole) - 1]:
        packed.write_bytes(whole[:kept])
        refused(packed)
    packed.write_bytes(whole + b"\0")
    refused(packed)


def test_a_header_that_claims_to_be_huge_is_refused_without_taking_memory(packed: Path) -> None:
    rest = packed.read_bytes()[8:]
    for length in (1 << 63, (1 << 64) - 1, 1 << 40, len(rest) + 1, 0, 1):
        packed.write_bytes(length.to_bytes(8, "little") + rest)
        refused(packed)


def test_a_pickle_is_refused(packed: Path) -> None:
    packed.write_bytes(pickle.dumps({"chip/00000": [1, 2, 3]}) * 100)
    refused(packed)


def test_foreign_safetensors_are_refused(packed: Path) -> None:
    save_file({"weight": torch.zeros(3, 4)}, packed)
    refused(packed)
    save_file({"chip/00000": torch.zeros(3, 4, 4, dtype=torch.uint8)}, packed, metadata={"format": "pt"})
    refused(packed)


def edit_header(change: Callable[[dict], None]) -> Callable[[dict], None]:
    return change


def edit_card(change: Callable[[dict], None]) -> Callable[[dict], None]:
    def edited(header: dict) -> None:
        card = json.loads(header["__metadata__"]["tilegen_dataset"])
        change(card)
        header["__metadata__"]["tilegen_dataset"] = json.dumps(card)

    return edited


def stretch_of_bands(number: int) -> dict:
    return {"group": "aoi", "percent": [2, 98], "low": [0] * number, "high": [1] * number}


HOSTILE = {
    "another dtype": edit_header(lambda h: h["chip/00000"].update(dtype="F32")),
    "another shape": edit_header(lambda h: h["chip/00000"].update(shape=[3, 30, 40])),
    "a negative shape": edit_header(lambda h: h["chip/00000"].update(shape=[3, -40, -30])),
    "overlapping tensors": edit_header(lambda h: h["chip/00001"].update(data_offsets=h["chip/00000"]["data_offsets"])),
    "a tensor too many": edit_header(lambda h: h.update(extra={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})),
    "a chip missing": edit_header(lambda h: h.pop("chip/00002")),
    "a mask missing": edit_header(lambda h: h.pop("valid/00001")),
    "metadata that is a list": edit_header(lambda h: h.update(__metadata__=["tilegen_dataset"])),
    "a card that is a number": edit_header(lambda h: h["__metadata__"].update(tilegen_dataset=1)),
    "a card that is no JSON": edit_header(lambda h: h["__metadata__"].update(tilegen_dataset="{")),
    "a card that is a list": edit_header(lambda h: h["__metadata__"].update(tilegen_dataset="[]")),
    "a card that is nested deeply": edit_header(lambda h: h["__metadata__"].update(tilegen_dataset="[" * 100_000)),
    "another version": edit_card(lambda c: c.update(format_version=99)),
    "an unknown field": edit_card(lambda c: c.update(surprise=1)),
    "a missing field": edit_card(lambda c: c.pop("digest")),
    "no chips": edit_card(lambda c: c.update(chips=[])),
    "bands that are a text": edit_card(lambda c: c.update(band_names="rgb")),
    "bands that are numbers": edit_card(lambda c: c.update(band_names=[1, 2, 3])),
    "other bands": edit_card(lambda c: c.update(band_names=["red"])),
    "a side that is true": edit_card(lambda c: c["chips"][0].update(shape=[3, True, 40])),
    "an unknown label": edit_card(lambda c: c["chips"][0].update(labels=["trees"])),
    "labels that are missing": edit_card(lambda c: c["chips"][0].update(labels=["buildings"])),
    "a transform of five": edit_card(lambda c: c["chips"][0].update(transform=[1.0] * 5)),
    "a transform beyond floats": edit_card(lambda c: c["chips"][0].update(transform=[10**400] * 6)),
    "a stretch of two bands": edit_card(lambda c: c.update(stretches=[stretch_of_bands(2)])),
    "a stretch that falls": edit_card(lambda c: c.update(stretches=[stretch_of_bands(3) | {"low": [9, 9, 9]}])),
    "a card of version 1 that is none": edit_card(lambda c: c.update(format_version=1)),
    "an endless size": edit_card(lambda c: c["chips"][0].update(shape=[3, 10**18, 10**18])),
    "a shape of two": edit_card(lambda c: c["chips"][0].update(shape=[3, 40])),
    "an unknown split": edit_card(lambda c: c["chips"][0].update(split="test")),
    "an unknown field of a chip": edit_card(lambda c: c["chips"][0].update(path="/etc/passwd")),
    "a chip that is a number": edit_card(lambda c: c["chips"].append(7)),
    "NaN": edit_card(lambda c: c.update(resolution_m=float("nan"))),
    "a resolution beyond floats": edit_card(lambda c: c.update(resolution_m=10**400)),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_header_is_refused(packed: Path, fault: str) -> None:
    header, rest = header_and_rest(packed)
    HOSTILE[fault](header)
    write(packed, header, rest)
    refused(packed)


@pytest.mark.parametrize(
    "header",
    [b"[" * 200_000, b"\xff" * 100, b"[]", b"null", b'{"a":' + b"9" * 10_000 + b"}"],
    ids=["nested deeply", "no text", "a list", "null", "an endless number"],
)
def test_a_header_that_is_no_header_is_refused(packed: Path, header: bytes) -> None:
    write(packed, header, header_and_rest(packed)[1])
    refused(packed)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_damaged_header_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    path = folder / "packed.safetensors"
    if not (folder / "good.safetensors").exists():
        write_image(folder / "1.tif", address_chip(20, 20, 1))
        prepare_dataset([folder / "1.tif"], folder / "good.safetensors", min_px=1)
    content = bytearray((folder / "good.safetensors").read_bytes())
    length = int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(seed)
    for place in rng.integers(8 + length, size=2):
        content[place] = rng.integers(256)
    path.write_bytes(content)
    with suppress(DataError):
        assert PackedDataset.open(path).crops(np.random.default_rng(0), crop_px=20, batch=1).shape == (1, 3, 20, 20)


def test_reading_needs_no_gis_package() -> None:
    code = (
        "import sys\n"
        "for name in ('rasterio', 'dask', 'xarray', 'scipy'): sys.modules[name] = None\n"
        "import tilegen.data.dataset"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# Bands, labels and older files


def labelled_file(path: Path) -> None:
    """Chip 0: labels are bands 1 and 2 halved; chip 1: buildings only, roads unknown; chip 2: no labels."""
    candidates = []
    for number, kinds in enumerate([("buildings", "roads"), ("buildings",), ()]):
        pixels = address_chip(40, 30, number + 1)
        labels = (pixels[1:] // 2) * np.array([kind in kinds for kind in LABEL_KINDS], np.uint8)[:, None, None]
        chip = Chip(name=str(number), pixels=pixels, valid=np.ones((40, 30), bool), crs=None, transform=None)
        candidates.append(
            Candidate(
                name=str(number),
                group="aoi",
                read=lambda chip=chip: chip,
                labelled=kinds,
                labels=lambda chip, labels=labels, kinds=kinds: labels if kinds else None,
            )
        )
    group = scan_group(candidates, (2.0, 98.0), True, lambda: None)
    facts = Facts(band_names=("chip", "row", "col"), licence=None, attribution=None, resolution_m=None)
    pack(path, [group], ["train"] * 3, facts, tick=lambda: None)


def test_labels_are_cut_and_turned_as_the_pixels(tmp_path: Path) -> None:
    labelled_file(tmp_path / "packed.safetensors")
    dataset = PackedDataset.open(tmp_path / "packed.safetensors")
    assert dataset.band_names == ("chip", "row", "col")
    crops, labels = dataset.labelled_crops(np.random.default_rng(0), crop_px=8, batch=200, dihedral=True)
    assert crops[:, 0].unique().tolist() == [1]
    assert torch.equal(crops[:, 1:] // 2, labels)
    crops, labels = dataset.labelled_crops(np.random.default_rng(0), kinds=("buildings",), crop_px=8, batch=200)
    assert crops[:, 0].unique().tolist() == [1, 2]
    assert torch.equal(crops[:, 1:2] // 2, labels)


def test_labels_that_nobody_drew_are_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has labels of buildings and roads"):
        PackedDataset.open(packed).labelled_crops(np.random.default_rng(0), crop_px=8, batch=1)
    labelled_file(tmp_path / "labelled.safetensors")
    dataset = PackedDataset.open(tmp_path / "labelled.safetensors")
    for kinds in ((), ("trees",)):
        with pytest.raises(InputError, match="buildings, roads"):
            dataset.labelled_crops(np.random.default_rng(0), kinds=kinds, crop_px=8, batch=1)
    with pytest.raises(DataError, match="valid square of 31 x 31"):
        dataset.labelled_crops(np.random.default_rng(0), crop_px=31, batch=1)


def as_version_1(card: dict) -> None:
    """What the card of the same file was before it knew bands, labels and transforms."""
    names = card.pop("band_names")
    card |= {"format_version": 1, "num_bands": len(names)}
    for chip in card["chips"]:
        for key in ("labels", "group", "collect", "transform"):
            del chip[key]
        chip["res"] = [0.5, 0.5]
    for stretch in card["stretches"]:
        stretch["folder"] = stretch.pop("group")


def test_a_file_of_version_1_is_read(tmp_path: Path) -> None:
    write_image(tmp_path / "aoi" / "1.tif", textured_pixels(40, 30, high=900, dtype="uint16"))
    path = tmp_path / "packed.safetensors"
    now = prepare_dataset([tmp_path / "aoi"], path, min_px=1, val_fraction=0.0).card
    pixels = PackedDataset.open(path).chips[0].pixels.clone()
    header, rest = header_and_rest(path)
    edit_card(as_version_1)(header)
    write(path, header, rest)
    assert PackedDataset.open(path).card == now
    assert torch.equal(PackedDataset.open(path).chips[0].pixels, pixels)


# Real imagery


def test_crops_of_shanghai_never_hold_its_wedges(tmp_path: Path) -> None:
    """Black in all bands does occur in imagery, but not for a straight run of 16 pixels of a crop's side."""
    source = REAL / "spacenet8_shanghai_fixture.zip"
    if not source.exists():
        pytest.skip("the real imagery is not beside the repository")
    path = tmp_path / "shanghai.safetensors"
    prepare_dataset([source], path, val_fraction=0.0)
    crops = PackedDataset.open(path).crops(np.random.default_rng(0), crop_px=64, batch=3000)
    black = (crops == 0).all(dim=1)
    for side in (black[:, 0], black[:, -1], black[:, :, 0], black[:, :, -1]):
        assert not side.unfold(1, 16, 1).all(dim=2).any()
    assert black.float().mean() < 1e-4


def test_crops_of_rio_never_hold_its_wedges(tmp_path: Path) -> None:
    """These chips are black in all bands in their wedges only, so that one black pixel would show."""
    source = REAL / "spacenet_shared_fixtures.zip"
    if not source.exists():
        pytest.skip("the real imagery is not beside the repository")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(tmp_path / "rio.zip", "w") as rio:
        for name in archive.namelist():
            if "SN1_AOI_1_Rio" in name and name.endswith(".tif"):
                rio.writestr(name, archive.read(name))
    card = prepare_dataset([tmp_path / "rio.zip"], tmp_path / "rio.safetensors", val_fraction=0.0).card
    assert sum(chip.masked for chip in card.chips) == 3
    dataset = PackedDataset.open(tmp_path / "rio.safetensors")
    assert dataset.num_positions(32) < sum((rows - 31) * (cols - 31) for _, rows, cols in (c.shape for c in card.chips))
    crops = dataset.crops(np.random.default_rng(0), crop_px=32, batch=6000)
    assert crops.amax(dim=1).min() > 0


def test_texture_comes_back_from_a_batch(tmp_path: Path) -> None:
    pixels = textured_pixels(64, 64)
    write_image(tmp_path / "a.png", pixels)
    prepare_dataset([tmp_path / "a.png"], tmp_path / "packed.safetensors")
    crop = PackedDataset.open(tmp_path / "packed.safetensors").crops(np.random.default_rng(0), crop_px=64, batch=1)
    np.testing.assert_array_equal(crop[0].numpy(), pixels)
