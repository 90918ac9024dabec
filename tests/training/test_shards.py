"""Shards of a run come back as they were, whatever the sizes; a set that is not whole is refused in a sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tilegen.errors import OutputError, TrainingError
from tilegen.model.config import preset_discriminator
from tilegen.model.discriminator import Discriminator
from tilegen.model.generator import Generator
from tilegen.testing.checkpoints import NANO, random_generator
from tilegen.training.shards import load_shards, save_shards

METADATA = {"num_images": 48, "history": [{"lr": 0.1, "name": "é"}]}


def network(*shapes: tuple[int, ...], seed: int = 0) -> nn.Module:
    """A module that holds random tensors of these shapes."""
    made, random = nn.Module(), torch.Generator().manual_seed(seed)
    for index, shape in enumerate(shapes):
        made.register_buffer(f"t{index}", torch.randn(shape, generator=random))
    return made


def save_networks(folder: Path, *, size: int = 900, seed: int = 0) -> list[Path]:
    parts = {name: network((size,), seed=seed) for name in ("generator", "discriminator", "average")}
    return save_shards(folder, **parts, metadata=METADATA | {"seed": seed}, max_bytes=4096)


def digests(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """A set of four."""
    return save_networks(tmp_path)


shapes = st.lists(st.lists(st.integers(0, 40), max_size=3).map(tuple), max_size=4)


@given(parts=st.tuples(shapes, shapes, shapes), num_shards=st.integers(1, 8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_networks_come_back(tmp_path: Path, parts: tuple[list[tuple[int, ...]], ...], num_shards: int) -> None:
    """G and D bit by bit, the average to float16; no shard is larger than asked, and there are eight at most."""
    shutil.rmtree(tmp_path)
    names = ("generator", "discriminator", "average")
    networks = {name: network(*shapes, seed=i) for i, (name, shapes) in enumerate(zip(names, parts, strict=True))}
    total_bytes = 4 * sum(t.numel() for made in networks.values() for t in made.buffers()) + 4096  # and headers
    max_bytes = 1024 + -(-total_bytes // num_shards)
    paths = save_shards(tmp_path, **networks, metadata=METADATA, max_bytes=max_bytes)
    assert sorted(tmp_path.iterdir()) == paths
    assert len(paths) <= num_shards
    assert max(path.stat().st_size for path in paths) <= max_bytes
    metadata, states = load_shards(tmp_path)
    assert metadata == METADATA
    expected = {name: made.state_dict() for name, made in networks.items()}
    expected["average"] = {name: tensor.half().float() for name, tensor in expected["average"].items()}
    assert states.keys() == expected.keys()
    for name, tensors in expected.items():
        assert_equal(states[name], tensors)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        name: (t.dtype, t.shape) for name, t in expected.items()
    }
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []


def test_the_networks_of_a_run_go_on_from_shards(tmp_path: Path) -> None:
    generator, average = random_generator(seed=1), random_generator(seed=2)
    discriminator = Discriminator(preset_discriminator(NANO, 32))
    paths = save_shards(
        tmp_path,
        generator=generator,
        discriminator=discriminator,
        average=average,
        metadata=METADATA,
        max_bytes=200_000,
    )
    assert len(paths) > 1
    _, states = load_shards(tmp_path)
    for name, original, made in (
        ("generator", generator, Generator(NANO)),
        ("discriminator", discriminator, Discriminator(discriminator.config)),
    ):
        made.load_state_dict(states[name])
        assert_equal(made.state_dict(), original.state_dict())
    for name, tensor in average.state_dict().items():
        torch.testing.assert_close(states["average"][name], tensor, rtol=1e-3, atol=1e-7)


def test_a_new_set_replaces_the_old_one_however_many_files_it_had(tmp_path: Path) -> None:
    for size, seed in ((100, 1), (900, 2), (300, 3)):
        paths = save_networks(tmp_path, size=size, seed=seed)
        assert sorted(tmp_path.iterdir()) == paths
        assert load_shards(tmp_path)[0]["seed"] == seed


def test_a_missing_shard_is_named(shards: list[Path]) -> None:
    for path in shards:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(TrainingError, match=rf"^\S*{path.name} is missing\. Copy all 4 shards .*\.$"):
            load_shards(path.parent)
        path.write_bytes(content)
    assert load_shards(shards[0].parent)[0]["num_images"] == 48


def test_shards_of_two_runs_are_not_mixed(shards: list[Path], tmp_path: Path) -> None:
    """Same names, same sizes, other weights."""
    others = save_networks(tmp_path / "other", seed=1)
    for path, other in zip(shards, others, strict=True):
        content = path.read_bytes()
        path.write_bytes(other.read_bytes())
        with pytest.raises(TrainingError, match=r"is of another set than .*Keep the shards of one set only\.$"):
            load_shards(tmp_path)
        path.write_bytes(content)


def test_a_shard_under_the_name_of_another_is_refused(shards: list[Path], tmp_path: Path) -> None:
    first, second = digests(shards[:2])
    shards[0].write_bytes(second)
    shards[1].write_bytes(first)
    with pytest.raises(TrainingError, match="is of another set"):
        load_shards(tmp_path)


def test_sets_of_two_sizes_in_one_folder_are_refused(shards: list[Path], tmp_path: Path) -> None:
    """As after a kill between the last new shard and the removal of the old ones."""
    for path in save_networks(tmp_path / "other", size=300):
        shutil.copy(path, tmp_path)
    with pytest.raises(TrainingError, match="is of another set"):
        load_shards(tmp_path)


@given(number=st.integers(0, 3), kept=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_shard_is_refused(shards: list[Path], number: int, kept: float) -> None:
    path, content = shards[number], shards[number].read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(TrainingError, match=rf"{path.name} is not a whole shard .*Copy it again\.$"):
        load_shards(path.parent)
    path.write_bytes(content)


def test_an_altered_byte_is_refused(shards: list[Path]) -> None:
    content = bytearray(shards[2].read_bytes())
    content[-1] ^= 1
    shards[2].write_bytes(content)
    with pytest.raises(TrainingError, match=r"are damaged \(their digest differs\)\. Copy them again\.$"):
        load_shards(shards[2].parent)


LABEL = '{"digest": "0", "index": %s, "count": %s}'


@pytest.mark.parametrize(
    "label",
    [None, "", "{", "[]", "[" * 100_000, LABEL % (0, 10**9), LABEL % (4, 4), LABEL % (0, 1.5), LABEL % (0, "[]")],
)
def test_a_file_of_another_program_is_refused(tmp_path: Path, label: str | None) -> None:
    metadata = None if label is None else {"tilegen_shard": label}
    save_file({"bytes": torch.zeros(3, dtype=torch.uint8)}, tmp_path / "shard-00001-of-00001.safetensors", metadata)
    with pytest.raises(TrainingError, match="is not a whole shard of a tilegen run"):
        load_shards(tmp_path)


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TrainingError, match="holds no shards of a run"):
            load_shards(folder)


def test_more_than_eight_shards_are_refused_before_any_is_written(shards: list[Path], tmp_path: Path) -> None:
    before = digests(shards)
    with pytest.raises(TrainingError, match=r"take 13 shards of at most 4096 bytes, but a set has at most 8\. Train "):
        save_networks(tmp_path, size=3900)
    assert sorted(tmp_path.iterdir()) == shards
    assert digests(shards) == before


@pytest.mark.parametrize(("part", "value"), [("generator", float("nan")), ("average", 1e5)])
def test_weights_that_cannot_be_kept_never_replace_good_ones(
    shards: list[Path], tmp_path: Path, part: str, value: float
) -> None:
    """Not finite at all, or too large for float16."""
    parts = {name: network((3,)) for name in ("generator", "discriminator", "average")}
    parts[part].t0[1] = value
    before = digests(shards)
    with pytest.raises(TrainingError, match=rf"^{part}\.t0 is not finite or does not fit torch\.float\d\d\. Lower"):
        save_shards(tmp_path, **parts, metadata=METADATA)
    assert digests(shards) == before


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("48k")


def test_a_disk_that_fills_up_keeps_the_earlier_set(small_disk: Path) -> None:
    """Room for eight shards and four: small ones, which a file object keeps in its buffer for as long as it can."""
    assert len(save_networks(small_disk, size=2300, seed=1)) == 8
    with pytest.raises(OutputError, match=r"^The disk is full at .*run the same command again\.$"):
        save_networks(small_disk, size=2350, seed=2)
    metadata, states = load_shards(small_disk)
    assert metadata["seed"] == 1
    assert torch.equal(states["generator"]["t0"], network((2300,), seed=1).t0)
    assert all(path.suffix == ".safetensors" for path in small_disk.iterdir())
