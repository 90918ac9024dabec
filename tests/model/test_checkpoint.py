"""Checkpoints: what is saved comes back, and no file, however made, does more than be refused in one sentence."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from tilegen.errors import CheckpointError, InputError
from tilegen.fields.counter import RNG_VERSION
from tilegen.geometry.window import Window
from tilegen.model.checkpoint import (
    load_generator,
    model_digest,
    read_card,
    read_header,
    resolve_checkpoint,
    save_generator,
)
from tilegen.model.config import GENERATOR_PRESETS
from tilegen.model.generator import Generator
from tilegen.testing.checkpoints import NANO, random_generator, save_random_checkpoint


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole checkpoint of random weights."""
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    save_random_checkpoint(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def refused(path: Path, match: str = ".") -> None:
    """One sentence that names the file (or two: what is wrong, and what to do)."""
    with pytest.raises(CheckpointError, match=match) as caught:
        load_generator(path)
    message = str(caught.value)
    assert path.name in message
    assert message.endswith(".")
    assert "\n" not in message


def taken_apart(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(header: dict | bytes, rest: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


# What is saved comes back


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_generator_comes_back(path: Path, dtype: torch.dtype) -> None:
    generator = random_generator(seed=4)
    about = {"licence": "CC-BY-SA-4.0", "data": ["Las Vegas, ünïcode"], "train": {"lr": 0.002}}
    card = save_generator(path, generator, num_images=12345, resolution_m=0.3, about=about, dtype=dtype)
    loaded, read = load_generator(path)
    assert read == card == read_card(path)
    assert (read.architecture, read.num_images, read.resolution_m, read.about) == (NANO, 12345, 0.3, about)
    assert (read.rng_version, len(read.digest)) == (RNG_VERSION, 64)
    assert not loaded.training
    for name, tensor in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(dtype).float()), name
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    window = Window.from_size(16, 16)
    if dtype == torch.float32:
        assert torch.equal(loaded((1,), window), generator((1,), window))


def test_half_precision_cannot_be_seen(path: Path) -> None:
    """Less than a code value; rounding of 11 bits."""
    generator, window = random_generator(), Window.from_size(48, 48)
    save_generator(path, generator, num_images=0, resolution_m=1.0, about={})
    difference = load_generator(path)[0]((3,), window) - generator((3,), window)
    assert difference.abs().max().item() * 127.5 < 2
    assert difference.square().mean().sqrt().item() * 127.5 < 0.3


def test_the_same_weights_make_the_same_file(path: Path, good: bytes) -> None:
    save_random_checkpoint(path)
    assert path.read_bytes() == good


def test_reading_the_card_reads_no_weights(path: Path, good: bytes) -> None:
    header, rest = taken_apart(good)
    path.write_bytes(put_together(header, rest[:10]))
    assert read_card(path).architecture == NANO
    refused(path, "damaged")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["synthesis.const", "mapping.w_avg", "synthesis.layers.3.noise_strength"])
def test_weights_that_are_not_finite_are_not_saved(path: Path, good: bytes, name: str, value: float) -> None:
    """And what was there stays."""
    path.write_bytes(good)
    generator = random_generator()
    generator.state_dict()[name][0] = value
    for dtype in (torch.float16, torch.float32):
        with pytest.raises(CheckpointError, match="not finite"):
            save_generator(path, generator, num_images=0, resolution_m=1.0, about={}, dtype=dtype)
    assert path.read_bytes() == good
    assert list(path.parent.iterdir()) == [path]


def test_weights_too_large_for_half_precision_are_not_saved_as_such(path: Path) -> None:
    generator = random_generator()
    generator.synthesis.const[0] = 1e5
    with pytest.raises(CheckpointError, match=r"do not fit torch\.float16"):
        save_generator(path, generator, num_images=0, resolution_m=1.0, about={})
    save_generator(path, generator, num_images=0, resolution_m=1.0, about={}, dtype=torch.float32)
    assert load_generator(path)[0].synthesis.const[0].item() == pytest.approx(1e5)


def test_the_digest_sees_architecture_names_shapes_dtypes_and_values() -> None:
    base = {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)}
    variants = [
        base,
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].view(3, 2), "b": base["b"]},
        {"a": base["a"].half(), "b": base["b"]},
        {"a": base["a"], "b": -base["b"]},
        {"a": base["a"]},
    ]
    nano, tiny = GENERATOR_PRESETS["nano"], GENERATOR_PRESETS["tiny"]
    digests = {model_digest(nano, tensors) for tensors in variants} | {model_digest(tiny, base)}
    assert len(digests) == len(variants) + 1
    assert model_digest(nano, dict(reversed(base.items()))) == model_digest(nano, base)
    transposed = {"a": base["a"].T.contiguous().T, "b": base["b"]}
    assert model_digest(nano, transposed) == model_digest(nano, base)


# Broken files


def test_a_missing_file_is_refused(path: Path) -> None:
    refused(path, "No such file")


def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    refused(path, "Cannot read")


@given(kept=st.floats(0, 1, exclude_max=True))
@example(kept=0.0)
@example(kept=1 - 1e-9)
@settings(max_examples=60)
def test_a_truncated_file_is_refused(good: bytes, tmp_path_factory: pytest.TempPathFactory, kept: float) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated.safetensors"
    path.write_bytes(good[: int(kept * len(good))])
    refused(path)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 10, 100, 1000])
def test_the_first_bytes_alone_are_refused(path: Path, good: bytes, kept: int) -> None:
    path.write_bytes(good[:kept])
    refused(path, "truncated")


def test_a_longer_file_is_refused(path: Path, good: bytes) -> None:
    path.write_bytes(good + b"\0")
    refused(path, "damaged")


@given(place=st.integers(0), mask=st.integers(1, 255))
@settings(max_examples=40)
def test_a_changed_weight_is_noticed(
    good: bytes, tmp_path_factory: pytest.TempPathFactory, place: int, mask: int
) -> None:
    rest = taken_apart(good)[1]
    changed = bytearray(rest)
    changed[place % len(rest)] ^= mask
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(good[: len(good) - len(rest)] + changed)
    refused(path, "digest differs")


@given(places=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=150)
def test_a_damaged_header_is_refused_or_harmless(
    good: bytes, tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    """Any bytes of the header: another error than ours would be a way in. The weights stay those of the digest."""
    length = len(good) - len(taken_apart(good)[1])
    changed = bytearray(good)
    for place, value in places:
        changed[place % length] = value
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    path.write_bytes(changed)
    with suppress(CheckpointError):
        generator, card = load_generator(path)
        tensors = {n: t.half() for n, t in generator.state_dict().items()}
        assert model_digest(card.architecture, tensors) == card.digest


# Hostile files


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 40, 1 << 32, 1 << 23, 0, 1])
def test_a_header_that_claims_to_be_huge_is_refused_unread(path: Path, good: bytes, length: int) -> None:
    path.write_bytes(length.to_bytes(8, "little") + good[8:])
    refused(path, "not a tilegen checkpoint")


def test_a_file_that_is_huge_is_refused_unread(path: Path, good: bytes) -> None:
    """Sparse: two gigabytes that take no place on the disk, and must take none in memory."""
    path.write_bytes(good)
    os.truncate(path, 2 << 30)
    refused(path, "not a tilegen checkpoint")


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize(
    "write",
    [lambda p, x: p.write_bytes(pickle.dumps(x)), lambda p, x: torch.save({"w": x}, p)],
    ids=["pickle", "torch"],
)
def test_a_pickle_is_refused_and_never_run(path: Path, write: Callable) -> None:
    marker = path.with_name("executed")
    write(path, Payload(marker))
    refused(path, "not a tilegen checkpoint")
    assert not marker.exists()


def test_a_file_of_torch_is_refused(path: Path) -> None:
    torch.save(random_generator().state_dict(), path)
    refused(path, "not a tilegen checkpoint")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"tilegen_train_state": "{}"}])
def test_safetensors_of_others_are_refused(path: Path, metadata: dict | None) -> None:
    path.write_bytes(save(random_generator().state_dict(), metadata=metadata))
    refused(path, "no card of a model")


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"\xff" * 100,
        b"[]",
        b"null",
        b"3",
        b'""',
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"__metadata__": []}',
        b'{"__metadata__": null}',
        b"{}",
    ],
    ids=[
        "nested lists",
        "nested objects",
        "no text",
        "list",
        "null",
        "number",
        "string",
        "endless number",
        "metadata list",
        "metadata null",
        "empty",
    ],
)
def test_a_header_that_is_no_header_is_refused(path: Path, good: bytes, header: bytes) -> None:
    path.write_bytes(put_together(header, taken_apart(good)[1]))
    refused(path)


Change = Callable[[dict], None]


def in_card(change: Change) -> Change:
    def changed(header: dict) -> None:
        card = json.loads(header["__metadata__"]["tilegen_checkpoint"])
        change(card)
        header["__metadata__"]["tilegen_checkpoint"] = json.dumps(card)

    return changed


def in_architecture(**values: object) -> Change:
    return in_card(lambda card: card["architecture"].update(values))


def in_prior(**values: object) -> Change:
    return in_card(lambda card: card["architecture"]["prior"].update(values))


def first_tensor(header: dict) -> dict:
    return header["synthesis.const"]


def swapped(header: dict, one: str, other: str) -> None:
    header[one], header[other] = header[other], header[one]


HUGE = {"channels": [4096] * 9, "w_dim": 4096, "mapping_layers": 256}

HOSTILE: dict[str, Change] = {
    "a card that is no JSON": lambda h: h["__metadata__"].update(tilegen_checkpoint="{"),
    "a card that is a number": lambda h: h["__metadata__"].update(tilegen_checkpoint=7),
    "a card that is a list": lambda h: h["__metadata__"].update(tilegen_checkpoint="[]"),
    "a card that is null": lambda h: h["__metadata__"].update(tilegen_checkpoint="null"),
    "a card nested deeply": lambda h: h["__metadata__"].update(tilegen_checkpoint="[" * 200_000),
    "a card of nested objects": lambda h: h["__metadata__"].update(tilegen_checkpoint='{"a":' * 200_000),
    "metadata that are numbers": lambda h: h["__metadata__"].update(other=7),
    "no architecture": in_card(lambda c: c.pop("architecture")),
    "an architecture that is text": in_card(lambda c: c.update(architecture="S")),
    "an unknown field": in_card(lambda c: c.update(surprise=1)),
    "an unknown field of the architecture": in_architecture(surprise=1),
    "another format": in_card(lambda c: c.update(format_version=2)),
    "a format that is text": in_card(lambda c: c.update(format_version="1")),
    "other randomness": in_card(lambda c: c.update(rng_version="philox4x32-10/normal16/2")),
    "another digest": in_card(lambda c: c.update(digest="0" * 64)),
    "a digest that is a number": in_card(lambda c: c.update(digest=0)),
    "a resolution that is text": in_card(lambda c: c.update(resolution_m="fine")),
    "a resolution that is not a number": in_card(lambda c: c.update(resolution_m=float("nan"))),
    "a resolution of nothing": in_card(lambda c: c.update(resolution_m=0.0)),
    "a resolution without end": in_card(lambda c: c.update(resolution_m=float("inf"))),
    "less than no images": in_card(lambda c: c.update(num_images=-1)),
    "more channels than memory": in_architecture(**HUGE),
    "endless channels": in_architecture(channels=[10**30, 10**30]),
    "negative channels": in_architecture(channels=[32, -32, 16, 16]),
    "channels that are true": in_architecture(channels=[True, 32, 16, 16]),
    "channels that are fractions": in_architecture(channels=[32.5, 32, 16, 16]),
    "channels that are text": in_architecture(channels="many"),
    "an endless mapping": in_architecture(mapping_layers=10**9),
    "a million levels": in_architecture(channels=[1] * 100_000),
    "endless content": in_prior(content_channels=10**30),
    "no content": in_prior(content_channels=0),
    "a scale without end": in_prior(scales=[{"name": "a", "channels": 64, "sigma_cells": 1e300}]),
    "a scale of no number": in_prior(scales=[{"name": "a", "channels": 64, "sigma_cells": float("nan")}]),
    "scales that are null": in_prior(scales=None),
    "bands that are numbers": in_architecture(band_names=[1, 2, 3]),
    "a shape of more": lambda h: first_tensor(h).update(shape=[33]),
    "a shape of none": lambda h: first_tensor(h).update(shape=[]),
    "a shape that is negative": lambda h: first_tensor(h).update(shape=[-32]),
    "a shape that is text": lambda h: first_tensor(h).update(shape="32"),
    "a shape of fractions": lambda h: first_tensor(h).update(shape=[32.0]),
    "no shape": lambda h: first_tensor(h).pop("shape"),
    "a dtype of integers": lambda h: first_tensor(h).update(dtype="I64"),
    "a dtype that is a list": lambda h: first_tensor(h).update(dtype=["F16"]),
    "a dtype of another size": lambda h: first_tensor(h).update(dtype="F32"),
    "a tensor that is a list": lambda h: h.update({"synthesis.const": [1, 2]}),
    "a tensor missing": lambda h: h.pop("synthesis.const"),
    "a tensor too many": lambda h: h.update(extra={"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}),
    "tensors in one place": lambda h: first_tensor(h).update(data_offsets=h["mapping.w_avg"]["data_offsets"]),
    "a tensor beyond the end": lambda h: first_tensor(h).update(data_offsets=[1 << 40, (1 << 40) + 64]),
    "a tensor backwards": lambda h: first_tensor(h).update(data_offsets=[64, 0]),
    "offsets that are text": lambda h: first_tensor(h).update(data_offsets="all"),
    "tensors exchanged": lambda h: swapped(h, "synthesis.layers.1.weight", "synthesis.layers.0.weight"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_header_is_refused(path: Path, good: bytes, fault: str) -> None:
    header, rest = taken_apart(good)
    HOSTILE[fault](header)
    path.write_bytes(put_together(header, rest))
    refused(path)


def test_a_network_is_compared_with_a_header_before_it_takes_memory() -> None:
    with torch.device("meta"):
        skeleton = Generator(NANO)
    assert all(tensor.is_meta for tensor in skeleton.state_dict().values())


def test_taking_apart_and_putting_together_changes_nothing(path: Path, good: bytes) -> None:
    """So that what is refused above is refused for its fault."""
    header, rest = taken_apart(good)
    in_card(copy.copy)(header)
    path.write_bytes(put_together(header, rest))
    assert load_generator(path)[1].architecture == NANO
    assert read_header(path) == header


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format_version": 2}, "format 2 .*this tilegen reads 1"),
        ({"rng_version": "threefry/1"}, "threefry/1.*philox4x32-10/normal16/1"),
    ],
)
def test_another_version_is_named(path: Path, good: bytes, change: dict, match: str) -> None:
    header, rest = taken_apart(good)
    in_card(lambda card: card.update(change))(header)
    path.write_bytes(put_together(header, rest))
    with pytest.raises(CheckpointError, match=match):
        read_card(path)


# Finding them


def test_the_default_model_is_in_the_package() -> None:
    path = resolve_checkpoint("default")
    assert path.is_file()
    generator, card = load_generator(path)
    assert card.num_images > 0
    assert card.about["licence"]
    assert all(parameter.isfinite().all() for parameter in generator.parameters())


def test_a_file_or_the_folder_of_a_run_is_found(path: Path) -> None:
    save_random_checkpoint(path)
    assert resolve_checkpoint(str(path)) == path
    assert resolve_checkpoint(str(path.parent)) == path


@pytest.mark.parametrize("model", ["nonesuch", "", "../weights/default", "default.safetensors", "/", "a\0b"])
def test_a_model_that_is_nowhere_is_refused(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"give 'default', a \.safetensors checkpoint, or the folder"):
        resolve_checkpoint(model)
