"""Downloading from a server that fails, lies and changes its mind."""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.data.spacenet.bucket import BUCKET, open_bucket
from tilegen.data.spacenet.catalogue import find_archives, folder_of, path_of
from tilegen.data.spacenet.checksum import strongest_checksum
from tilegen.data.spacenet.fetch import Fetch, Fetched
from tilegen.errors import BudgetError, DataError, InputError, OutputError
from tilegen.testing.object_store import ObjectStore, StoredObject, serving

VEGAS = "spacenet/SN2_buildings/tarballs/SN2_buildings_train_AOI_2_Vegas.tar.gz"
VEGAS_PATH = Path("SN2_buildings/SN2_buildings_train_AOI_2_Vegas.tar.gz")


def tar(members: dict[str, bytes], *odd: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


CHIPS = {"AOI_2_Vegas_Train/RGB-PanSharpen/img1.tif": os.urandom(3000), "AOI_2_Vegas_Train/geojson/a.geojson": b"{}"}
CONTENT = tar(CHIPS)
OTHER = os.urandom(4000)


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with serving(ObjectStore(bucket=BUCKET, objects={VEGAS: StoredObject(content=CONTENT)})) as running:
        yield running


Runs = Callable[..., tuple[list[Fetched], list[str]]]


@pytest.fixture
def fetch(store: ObjectStore, tmp_path: Path) -> Runs:
    """One run of everything that the server has; the results, and what a person was told."""

    def run(
        out: Path = tmp_path, *, progress: Callable[[str, int, int], None] = lambda *_: None, **options: bool
    ) -> tuple[list[Fetched], list[str]]:
        said: list[str] = []
        choices = {"unpack": False, "overwrite": False} | options
        with open_bucket(store.url) as bucket:
            job = Fetch(bucket=bucket, out=out, progress=progress, say=said.append, pause_s=0.001, **choices)
            files = find_archives(bucket, rounds=None, aois=None)
            job.check_space(files, 1 << 30)
            return [job.archive(file) for file in files], said

    return run


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


WHOLE = {VEGAS_PATH.as_posix(), f"{VEGAS_PATH}.source.json"}
BEGUN = {f"{VEGAS_PATH}.partial", f"{VEGAS_PATH}.source.json"}


# What there is


LISTED = (
    "SN2_buildings/tarballs/AOI_2_Vegas_Test_public.tar.gz",
    "SN2_buildings/tarballs/SN2_buildings_train_AOI_2_Vegas.tar.gz",
    "SN2_buildings/tarballs/SN2_buildings_train_AOI_3_Paris.tar.gz",
    "SN3_roads/tarballs/SN3_roads_train_AOI_2_Vegas_geojson_roads_speed.tar.gz",
    "SN4_buildings/tarballs/train/Atlanta_nadir7_catid_1030010003D22F00.tar.gz",
    "SN4_buildings/tarballs/train/geojson.tar.gz",
    "SN5_roads/tarballs/SN5_roads_train_AOI_9_San_Juan.tar.gz",
    "SN8_floods/tarballs/Germany_Training_Public.tar.gz",
)
PASSED_OVER = ("SN2_buildings/tarballs/", "SN2_buildings/tarballs/README.md", "SN2_buildings/train/img1.tif")


@pytest.mark.parametrize(
    ("rounds", "aois", "found"),
    [
        (None, None, LISTED),
        (["SN2"], None, LISTED[:3]),
        (["2", "sn3 "], ["vegas"], [LISTED[0], LISTED[1], LISTED[3]]),
        (None, ["AOI_3_Paris", "germany"], [LISTED[2], LISTED[7]]),
        (None, ["2"], [LISTED[0], LISTED[1], LISTED[3]]),
        (None, ["San Juan"], [LISTED[6]]),
        (["SN4"], ["6"], LISTED[4:6]),
    ],
)
def test_archives_are_found_by_round_and_aoi(store, rounds, aois, found):
    store.objects = {f"spacenet/{key}": StoredObject(content=b"x") for key in LISTED + PASSED_OVER}
    with open_bucket(store.url) as bucket:
        files = find_archives(bucket, rounds=rounds, aois=aois)
    assert [file.key.removeprefix("spacenet/") for file in files] == list(found)


@pytest.mark.parametrize(
    ("rounds", "aois", "said"),
    [
        (["SN9"], None, "There is no round 'SN9'"),
        (None, ["Oslo"], "There is no archive of AOI 'Oslo'"),
        (["SN3"], None, "no archive of SN3"),
    ],
)
def test_what_is_not_there_is_said(store, rounds, aois, said):
    with open_bucket(store.url) as bucket, pytest.raises(InputError, match=said):
        find_archives(bucket, rounds=rounds, aois=aois)


@pytest.mark.parametrize(
    "name",
    ["../x.tar.gz", "a/../../x.tar.gz", "/etc/x.tar.gz", "a//x.tar.gz", "a\\x.zip", "-x.zip", "a\nb.zip", ".ssh/x.zip",
     "é.zip", f"{'x' * 250}.zip"],
)  # fmt: skip
def test_a_name_that_is_not_safe_is_refused_and_nothing_is_written(store, fetch, tmp_path, name):
    store.objects[f"spacenet/SN2_buildings/tarballs/{name}"] = StoredObject(content=b"x")
    with pytest.raises(DataError, match="no safe name of a file"):
        fetch(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@given(key=st.text(alphabet="a./\\\0 ~", max_size=12) | st.text(max_size=12))
def test_no_key_leads_out_of_the_folder(key):
    try:
        path = Path("/out") / path_of(f"spacenet/{key}")
    except DataError:
        return
    assert Path(os.path.normpath(path)).is_relative_to("/out")
    assert path != Path("/out")


# Downloads


@pytest.mark.parametrize(
    ("stored", "checked"),
    [
        (StoredObject(content=OTHER), "MD5"),
        (StoredObject(content=OTHER, part_bytes=1500), "MD5 of 3 parts"),
        (StoredObject(content=OTHER, part_bytes=2000), "MD5 of 2 parts"),
        (StoredObject(content=OTHER, part_bytes=1500, sha256=True), "SHA-256"),
        (StoredObject(content=OTHER, etag="v2"), "size alone"),
        (StoredObject(content=b""), "MD5"),
    ],
)
def test_an_archive_arrives_as_it_is_and_says_how_that_was_checked(store, fetch, tmp_path, stored, checked):
    store.objects[VEGAS] = stored
    (fetched,), said = fetch()
    assert fetched.path == tmp_path / VEGAS_PATH
    assert fetched.path.read_bytes() == stored.content
    assert (fetched.checked, fetched.was_there, said) == (checked, False, [])
    assert names(tmp_path) == WHOLE
    source = json.loads((tmp_path / f"{VEGAS_PATH}.source.json").read_text())
    assert (source["key"], source["checked"], source["licence"]) == (VEGAS, checked, "CC BY-SA 4.0")


def test_what_is_there_is_not_fetched_again(store, fetch):
    fetch()
    store.downloads.clear()
    (fetched,), _ = fetch()
    assert fetched.was_there
    assert store.downloads == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(store, fetch, status):
    store.failures = [status]
    (fetched,), _ = fetch()
    assert fetched.path.read_bytes() == CONTENT


def test_a_lost_connection_goes_on_where_it_was_lost(store, fetch):
    store.cuts = [700, 500]
    (fetched,), said = fetch()
    assert fetched.path.read_bytes() == CONTENT
    assert [span for _, span in store.downloads] == ["", "bytes=700-", "bytes=1200-"]
    assert said == []


def test_a_server_without_ranges_is_read_from_the_start_again(store, fetch):
    store.cuts, store.has_ranges = [700], False
    (fetched,), _ = fetch()
    assert fetched.path.read_bytes() == CONTENT


def test_after_many_losses_the_next_run_goes_on(store, fetch, tmp_path):
    store.cuts = [300] * 5
    with pytest.raises(DataError, match=r"lost 5 times.*run the same command again"):
        fetch()
    assert names(tmp_path) == BEGUN
    assert (tmp_path / f"{VEGAS_PATH}.partial").read_bytes() == CONTENT[:1500]
    store.downloads.clear()
    (fetched,), said = fetch()
    assert fetched.path.read_bytes() == CONTENT
    assert store.downloads == [(VEGAS, "bytes=1500-")]
    assert (names(tmp_path), said) == (WHOLE, [])


def test_an_interruption_keeps_what_is_there(store, fetch, tmp_path):
    def interrupt(what: str, done: int, total: int) -> None:
        if done >= 1 << 20:
            raise KeyboardInterrupt

    store.objects[VEGAS] = StoredObject(content=bytes(3 << 20))
    with pytest.raises(KeyboardInterrupt):
        fetch(progress=interrupt)
    begun = (tmp_path / f"{VEGAS_PATH}.partial").stat().st_size
    assert begun >= 1 << 20
    fetch()
    assert store.downloads[-1] == (VEGAS, f"bytes={begun}-")
    assert names(tmp_path) == WHOLE


def test_an_object_replaced_between_runs_is_begun_anew(store, fetch):
    store.cuts = [300] * 5
    with pytest.raises(DataError):
        fetch()
    store.objects[VEGAS] = StoredObject(content=OTHER)
    (fetched,), (said,) = fetch()
    assert fetched.path.read_bytes() == OTHER
    assert "another version than what was begun" in said


def test_an_object_replaced_while_it_is_read_is_begun_anew(store, fetch):
    store.cuts, store.replacements = [700], [StoredObject(content=OTHER)]
    (fetched,), (said,) = fetch()
    assert fetched.path.read_bytes() == OTHER
    assert "was replaced in the bucket" in said
    assert [span for _, span in store.downloads] == ["", "bytes=700-", ""]


def test_a_corrupt_partial_file_is_noticed_and_fetched_again(store, fetch, tmp_path):
    store.cuts = [300] * 5
    with pytest.raises(DataError):
        fetch()
    (tmp_path / f"{VEGAS_PATH}.partial").write_bytes(bytes(1500))
    (fetched,), (said,) = fetch()
    assert fetched.path.read_bytes() == CONTENT
    assert "does not have the MD5 of the server" in said


def test_bytes_that_never_match_leave_no_archive(store, fetch, tmp_path):
    store.objects[VEGAS] = StoredObject(content=CONTENT, etag="0" * 32)
    with pytest.raises(DataError, match="other bytes than the server's own checksum"):
        fetch()
    assert names(tmp_path) == BEGUN
    assert (tmp_path / f"{VEGAS_PATH}.partial").stat().st_size == 0


def test_a_server_that_sends_more_than_it_listed_is_stopped(store, fetch, tmp_path):
    store.objects[VEGAS] = StoredObject(content=OTHER, listed_bytes=1000)
    with pytest.raises(DataError, match="sends more of"):
        fetch()
    assert names(tmp_path) == BEGUN


def test_a_file_of_the_same_bytes_is_recognised(store, fetch, tmp_path):
    (tmp_path / VEGAS_PATH).parent.mkdir()
    (tmp_path / VEGAS_PATH).write_bytes(CONTENT)
    (fetched,), _ = fetch()
    assert (fetched.checked, fetched.was_there, store.downloads) == ("MD5", True, [])


@pytest.mark.parametrize("content", [b"precious", bytes(len(CONTENT))])
def test_a_file_of_other_bytes_is_kept_unless_told_otherwise(fetch, tmp_path, content):
    (tmp_path / VEGAS_PATH).parent.mkdir()
    (tmp_path / VEGAS_PATH).write_bytes(content)
    with pytest.raises(OutputError, match="--overwrite"):
        fetch()
    assert (tmp_path / VEGAS_PATH).read_bytes() == content
    (fetched,), _ = fetch(overwrite=True)
    assert fetched.path.read_bytes() == CONTENT


def test_two_runs_do_not_write_one_file(store, fetch, tmp_path):
    def run_again(what: str, done: int, total: int) -> None:
        with pytest.raises(OutputError, match="Another run is working on"):
            fetch()

    (fetched,), _ = fetch(progress=run_again)
    assert fetched.path.read_bytes() == CONTENT


# Checksums


@given(content=st.binary(max_size=300), part_bytes=st.none() | st.integers(1, 100), flip=st.integers(0, 299))
def test_an_etag_tells_every_flipped_bit(tmp_path_factory, content, part_bytes, flip):
    stored = StoredObject(content=content, part_bytes=part_bytes if content else None)
    checksum = strongest_checksum(stored.headers(), len(content), part_bytes)
    assert checksum is not None
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content)
    assert checksum.holds(path, lambda done: None)
    if content:
        flip %= len(content)
        path.write_bytes(content[:flip] + bytes([content[flip] ^ 1]) + content[flip + 1 :])
        assert not checksum.holds(path, lambda done: None)


@pytest.mark.parametrize(
    ("headers", "first_part_bytes"),
    [
        ({"ETag": '"v2"'}, None),
        ({"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"}, None),
        ({"ETag": f'"{"0" * 32}-3"'}, None),  # parts of unknown size
        ({"ETag": f'"{"0" * 32}-3"'}, 20),  # parts of several sizes
        ({"ETag": '"v2"', "x-amz-checksum-sha256": "AAAA-2"}, None),  # a checksum of checksums
    ],
)
def test_what_cannot_be_computed_is_no_checksum(headers, first_part_bytes):
    assert strongest_checksum(headers, 100, first_part_bytes) is None


def test_a_crc_is_better_than_nothing(tmp_path):
    """Of "123456789" it is cbf43926 (the check value of CRC-32/ISO-HDLC)."""
    (tmp_path / "x").write_bytes(b"123456789")
    checksum = strongest_checksum({"ETag": '"v2"', "X-Amz-Checksum-CRC32": "y/Q5Jg=="}, 9, None)
    assert checksum is not None
    assert checksum.holds(tmp_path / "x", lambda done: None)
    (tmp_path / "x").write_bytes(b"123456780")
    assert not checksum.holds(tmp_path / "x", lambda done: None)


# Disks


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("320k")


def test_what_the_disk_cannot_hold_is_not_begun(store, fetch, small_disk):
    store.objects[VEGAS] = StoredObject(content=bytes(400_000))
    with pytest.raises(BudgetError, match="are needed"):
        fetch(small_disk)
    store.objects[VEGAS] = StoredObject(content=bytes(200_000))
    with pytest.raises(BudgetError, match="are needed"):
        fetch(small_disk, unpack=True)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_is_one_sentence_and_the_next_run_goes_on(store, fetch, small_disk):
    """Somebody else takes the space once the download has begun."""

    def take(what: str, done: int, total: int) -> None:
        if not (small_disk / "other").exists():
            (small_disk / "other").write_bytes(bytes(40_000))

    store.objects[VEGAS] = StoredObject(content=os.urandom(300_000))
    with pytest.raises(OutputError, match=r"^The disk is full at .*run the same command again\.$"):
        fetch(small_disk, progress=take)
    begun = (small_disk / f"{VEGAS_PATH}.partial").stat().st_size
    assert begun > 200_000
    (small_disk / "other").unlink()
    fetch(small_disk)
    assert store.downloads[-1] == (VEGAS, f"bytes={begun}-")
    assert (small_disk / VEGAS_PATH).read_bytes() == store.objects[VEGAS].content


# Unpacking


FOLDER = folder_of(VEGAS_PATH)


def test_an_archive_is_unpacked_once_and_may_then_be_deleted(store, fetch, tmp_path):
    (fetched,), _ = fetch(unpack=True)
    unpacked = {f"{FOLDER}/{name}" for name in CHIPS}
    assert names(tmp_path) == WHOLE | unpacked | {f"{FOLDER}/.unpacked"}
    assert all((tmp_path / FOLDER / name).read_bytes() == content for name, content in CHIPS.items())
    fetched.path.unlink()
    store.downloads.clear()
    (fetched,), _ = fetch(unpack=True)
    assert (fetched.was_there, store.downloads) == (True, [])


def test_an_interrupted_unpacking_begins_anew(fetch, tmp_path):
    def interrupt(what: str, done: int, total: int) -> None:
        if what.startswith("Unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(unpack=True, progress=interrupt)
    assert names(tmp_path) == WHOLE
    (tmp_path / FOLDER.parent / f".{FOLDER.name}.tmp").mkdir()  # as a run that was killed leaves it
    (tmp_path / FOLDER.parent / f".{FOLDER.name}.tmp" / "old").touch()
    (fetched,), _ = fetch(unpack=True)
    assert fetched.was_there
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"AOI_2_Vegas_Train", ".unpacked"}


def test_a_folder_of_something_else_is_kept_unless_told_otherwise(fetch, tmp_path):
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "precious").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        fetch(unpack=True)
    assert (tmp_path / FOLDER / "precious").exists()
    fetch(unpack=True, overwrite=True)
    assert not (tmp_path / FOLDER / "precious").exists()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped_link() -> bytes:
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        pytest.param(".tar.gz", tar({"../out.txt": b"x"}), id="a name above"),
        pytest.param(".tar.gz", tar({"a/../../out.txt": b"x"}), id="a name above, later"),
        pytest.param(".tar.gz", tar({}, link("a", "/tmp")), id="a link"),
        pytest.param(".tar.gz", tar({"b": b"x"}, link("a", "b", tarfile.LNKTYPE)), id="a hard link"),
        pytest.param(".tar.gz", tar({}, link("a", "", tarfile.FIFOTYPE)), id="a pipe"),
        pytest.param(".zip", zipped({"../out.txt": b"x"}), id="a name above in a zip"),
        pytest.param(".zip", zipped({"/out.txt": b"x"}), id="an absolute name in a zip"),
        pytest.param(".zip", zipped_link(), id="a link in a zip"),
        pytest.param(".tar.gz", CONTENT[:-200], id="a truncated archive"),
        pytest.param(".tar.gz", b"no archive at all", id="no archive"),
        pytest.param(".tar.gz", CONTENT[:20] + bytes(40) + CONTENT[60:], id="a broken stream"),
        pytest.param(".zip", zipped({"a": b"x" * 99})[:-30], id="a truncated zip"),
        pytest.param(".zip", zipped({"a": b"x" * 99}).replace(b"x" * 99, b"y" * 99), id="a broken zip"),
    ],
)
def test_a_hostile_or_broken_archive_leaves_no_folder(store, fetch, tmp_path, suffix, content):
    store.objects = {f"spacenet/SN2_buildings/tarballs/a{suffix}": StoredObject(content=content)}
    with pytest.raises(DataError, match=r"^[^\n]*\.$"):
        fetch(tmp_path / "out", unpack=True)
    assert names(tmp_path) == {f"out/SN2_buildings/a{suffix}{end}" for end in ("", ".source.json")}
    assert {path.name for path in (tmp_path / "out" / "SN2_buildings").iterdir()} == {
        f"a{suffix}",
        f"a{suffix}.source.json",
    }


def test_an_absolute_name_in_a_tar_stays_below_the_folder(store, fetch, tmp_path):
    store.objects[VEGAS] = StoredObject(content=tar({f"{tmp_path}/out.txt": b"x"}))
    fetch(unpack=True)
    assert not (tmp_path / "out.txt").exists()
    assert len(list((tmp_path / FOLDER).rglob("out.txt"))) == 1


def test_a_zip_is_unpacked(store, fetch, tmp_path):
    store.objects = {"spacenet/SN8_floods/tarballs/Germany.zip": StoredObject(content=zipped(CHIPS))}
    fetch(unpack=True)
    root = tmp_path / "SN8_floods" / "Germany"
    assert {name: (root / name).read_bytes() for name in CHIPS} == CHIPS
