"""The network against plain formulas, and weight files that must be refused."""

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from tilegen.errors import MetricError
from tilegen.metrics.features import (
    FeatureExtractor,
    SqueezeNetFeatures,
    as_rgb,
    oriented,
    symmetric_features,
)
from tilegen.squeezenet import Fire, squeezenet


def images(num: int, edge: int = 48, bands: int = 3) -> torch.Tensor:
    values = np.random.default_rng(num).integers(0, 256, (num, bands, edge, edge))
    return torch.from_numpy(values.astype(np.uint8))


def test_a_fire_module_is_its_plain_formula() -> None:
    """Each pixel by hand: squeeze, then the 3x3 neighbourhood with zeros around it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fire, x = Fire(5, 3, 4).double(), torch.randn(5, 6, 7, dtype=torch.float64)
    squeezed = torch.einsum("oi,iyx->oyx", fire.squeeze.weight[:, :, 0, 0], x) + fire.squeeze.bias[:, None, None]
    squeezed = squeezed.clamp(min=0)
    narrow = torch.einsum("oi,iyx->oyx", fire.expand1x1.weight[:, :, 0, 0], squeezed)
    padded = torch.zeros(3, 8, 9, dtype=torch.float64)
    padded[:, 1:-1, 1:-1] = squeezed
    wide = sum(
        torch.einsum("oi,iyx->oyx", fire.expand3x3.weight[:, :, dy, dx], padded[:, dy : dy + 6, dx : dx + 7])
        for dy in range(3)
        for dx in range(3)
    )
    plain = torch.cat([narrow + fire.expand1x1.bias[:, None, None], wide + fire.expand3x3.bias[:, None, None]])
    torch.testing.assert_close(fire(x[None])[0], plain.clamp(min=0))


@pytest.mark.parametrize(("edge", "last"), [(224, 13), (227, 13), (96, 5), (64, 3)])
def test_pools_round_up_as_in_the_paper(edge: int, last: int) -> None:
    """Table 1 of the paper: 13 x 13 after fire9. Pools that round down leave 12 of 224 pixels."""
    assert squeezenet()(torch.zeros(1, 3, edge, edge)).shape == (1, 512, last, last)


def test_features_are_the_mean_of_fire9_of_the_resized_image_in_units_of_25(weight_file: Path) -> None:
    extractor = SqueezeNetFeatures.open(weight_file, input_px=64)
    network = squeezenet()
    weights = {name[9:]: torch.from_numpy(array).float() for name, array in np.load(weight_file).items()}
    network.load_state_dict(weights)
    seen = images(20)
    pixels = F.interpolate(seen.float() / 255, size=(64, 64), mode="bilinear", antialias=True, align_corners=False)
    with torch.no_grad():
        plain = network(pixels).mean(dim=(2, 3)) / 25
    torch.testing.assert_close(extractor(seen), plain, rtol=1e-4, atol=1e-6)
    assert isinstance(extractor, FeatureExtractor)
    assert "64 px" in extractor.name


def test_both_kinds_of_file_give_the_same_features_and_their_own_digest(
    tmp_path: Path, weight_file: Path, random_weights: dict[str, np.ndarray]
) -> None:
    other = tmp_path / "squeezenet.safetensors"
    save_file(random_weights, other)
    extractors = [SqueezeNetFeatures.open(path, input_px=64) for path in (weight_file, other)]
    torch.testing.assert_close(extractors[0](images(3)), extractors[1](images(3)), rtol=0, atol=0)
    assert [e.digest for e in extractors] == [hashlib.sha256(p.read_bytes()).hexdigest() for p in (weight_file, other)]


def test_batches_side_by_side_give_the_same_bits_in_the_same_order(weight_file: Path) -> None:
    seen = images(40)
    one, three = (SqueezeNetFeatures.open(weight_file, num_threads=num)(seen) for num in (1, 3))
    torch.testing.assert_close(one, three, rtol=0, atol=0)


def test_turning_image_and_orientation_back_gives_the_same_features(weight_file: Path) -> None:
    extractor, seen = SqueezeNetFeatures.open(weight_file, input_px=48), images(4)
    features = symmetric_features(extractor, seen)
    assert features.shape[0] == len({tuple(f.flatten().tolist()) for f in features}) == 8
    for element in range(8):
        alone = symmetric_features(extractor, oriented(seen, element), dihedral=False)[0]
        torch.testing.assert_close(features[element], alone)


def test_red_green_and_blue_are_found_by_name() -> None:
    seen = images(2, bands=4)
    assert as_rgb(seen, ("Blue", "Green", "Red", "NIR")).equal(seen[:, [2, 1, 0]])
    assert as_rgb(seen, ("a", "b", "c", "d")).equal(seen[:, :3])
    assert as_rgb(seen[:, :2], ("a", "b")).equal(seen[:, [0, 0, 0]])


def refusal(path: Path) -> str:
    with pytest.raises(MetricError) as error:
        SqueezeNetFeatures.open(path)
    return str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "There is no weight file" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(
    tmp_path: Path, random_weights: dict[str, np.ndarray], suffix: str, kept: float
) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **random_weights)
    else:
        save_file(random_weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert "no whole" in refusal(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_another_file_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_text("no weights in here, but many words" * 9)
    assert "no whole" in refusal(tmp_path / f"a{suffix}")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "no whole" in refusal(tmp_path)


def test_objects_in_the_file_are_not_brought_to_life(tmp_path: Path, random_weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **random_weights | {"features.0.bias": np.array([print], dtype=object)})
    assert "no whole" in refusal(path)


@pytest.mark.parametrize("name", ["features.0.weight", "features.12.expand3x3.bias"])
def test_weights_of_another_network_are_refused(
    tmp_path: Path, random_weights: dict[str, np.ndarray], name: str
) -> None:
    path, others = tmp_path / "a.npz", dict(random_weights)
    del others[name]
    np.savez(path, **others)
    assert name in refusal(path)
    np.savez(path, **random_weights | {name: random_weights[name][1:]})
    assert name in refusal(path)
    np.savez(path, **random_weights | {name: random_weights[name].astype(np.int8)})
    assert name in refusal(path)
    np.savez(path, **random_weights | {name: np.full_like(random_weights[name], np.nan)})
    assert "not finite" in refusal(path)


def test_a_file_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, bomb=np.zeros(80 << 20, np.uint8))
    assert "too large" in refusal(path)


@pytest.mark.parametrize(
    "header",
    ["{'descr':'<f4','fortran_order':False,'shape':(10**30,)}", f"{{'shape':({10**30},)}}", "(" * 9000]
    + [f"{{'descr':'<f4','fortran_order':False,'shape':({claim},)}}" for claim in (-1, 10**12, 10**30)],
)
def test_headers_of_arrays_that_claim_anything_are_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    assert "no whole" in refusal(path)


@pytest.mark.parametrize(("place", "value"), [(6, 1), (8, 99)], ids=["encrypted", "unknown compression"])
def test_archives_that_cannot_be_unpacked_are_refused(tmp_path: Path, place: int, value: int) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(3))
    content = bytearray(path.read_bytes())
    content[place] = content[content.find(b"PK\x01\x02") + 2 + place] = value
    path.write_bytes(content)
    assert "no whole" in refusal(path)


def test_a_compressed_file_that_was_altered_is_refused(tmp_path: Path, random_weights: dict[str, np.ndarray]) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **random_weights)
    content = bytearray(path.read_bytes())
    content[5000:5040] = bytes(range(215, 255))
    path.write_bytes(content)
    assert "no whole" in refusal(path)


def test_a_checkpoint_of_torch_is_refused(tmp_path: Path) -> None:
    """What torchvision distributes: a ZIP archive too, but of pickles."""
    torch.save({"features.0.weight": torch.zeros(96, 3, 7, 7)}, tmp_path / "squeezenet1_0.pth")
    assert "features.0.weight" in refusal(tmp_path / "squeezenet1_0.pth")


def test_numbers_that_numpy_does_not_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        save_torch_file({"features.0.weight": torch.zeros(96, 3, 7, 7).to(dtype)}, path)
        assert "no whole" in refusal(path)


def test_weights_that_overflow_give_no_features(tmp_path: Path, random_weights: dict[str, np.ndarray]) -> None:
    path, name = tmp_path / "a.npz", "features.3.squeeze.weight"
    np.savez(path, **random_weights | {name: np.full(random_weights[name].shape, 1e37, np.float32)})
    extractor = SqueezeNetFeatures.open(path)
    with pytest.raises(MetricError, match="not finite"):
        extractor(images(2))


def test_an_input_size_that_the_network_cannot_halve_is_refused(weight_file: Path) -> None:
    with pytest.raises(MetricError, match="32 to 1024"):
        SqueezeNetFeatures.open(weight_file, input_px=16)
