"""`tilegen data fetch spacenet`: what it prints, writes and refuses."""

import io
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tilegen.cli.main import main
from tilegen.data.spacenet.bucket import BUCKET
from tilegen.testing.object_store import ObjectStore, StoredObject, serving

PREFIX = "spacenet/SN2_buildings/tarballs"
FETCH = ("data", "fetch", "spacenet")


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        info = tarfile.TarInfo("AOI_3_Paris_Train/a.txt")
        info.size = 5
        file.addfile(info, io.BytesIO(b"paris"))
    return buffer.getvalue()


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    objects = {
        f"{PREFIX}/SN2_buildings_train_AOI_2_Vegas.tar.gz": StoredObject(content=bytes(3 << 20)),
        f"{PREFIX}/SN2_buildings_train_AOI_3_Paris.tar.gz": StoredObject(content=archive(), part_bytes=100),
    }
    with serving(ObjectStore(bucket=BUCKET, objects=objects)) as running:
        yield running


def test_list_prints_archives_sizes_and_their_sum_and_writes_nothing(run, store, folder):
    result = run(*FETCH, "--list", "--endpoint", store.url)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["3.0", "MiB", f"{PREFIX}/SN2_buildings_train_AOI_2_Vegas.tar.gz"]
    assert lines[2].split() == ["3.0", "MiB", "in", "2", "archives"]
    assert list(folder.iterdir()) == store.downloads == []


def test_archives_are_fetched_and_unpacked_and_the_second_run_has_nothing_to_do(run, store, folder):
    words = (*FETCH, "here", "--rounds", "SN2", "--aoi", "paris", "--extract", "--endpoint", store.url)
    path = Path("here/SN2_buildings/SN2_buildings_train_AOI_3_Paris.tar.gz")
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{path}  fetched, checked by MD5 of 2 parts\n"
    assert (folder / str(path).removesuffix(".tar.gz") / "AOI_3_Paris_Train/a.txt").read_bytes() == b"paris"
    assert run(*words).stdout == f"{path}  was there, checked by MD5 of 2 parts\n"
    assert len(store.downloads) == 1


def test_too_much_is_refused(store, refused):
    said = refused(*FETCH, "here", "--max-gib", "0.001", "--endpoint", store.url)
    assert said.startswith("3.0 MiB are missing, and --max-gib allows 1.0 MiB.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "SN9"], "There is no round 'SN9'."),
        (["--rounds", "SN3"], "The bucket holds no archive of SN3."),
        (["--aoi", "Oslo"], "There is no archive of AOI 'Oslo'"),
    ],
)
def test_what_is_not_there_is_refused(store, refused, words, said):
    assert refused(*FETCH, "here", "--endpoint", store.url, *words).startswith(said)


@pytest.mark.parametrize("status", [301, 307, 403, 404])
def test_a_server_that_refuses_is_one_sentence(store, refused, status):
    store.failures = [status]
    assert f"(HTTP {status})" in refused(*FETCH, "here", "--endpoint", store.url)


@pytest.mark.parametrize(
    "endpoint", ["localhost", "ftp://localhost", "http://", "http://[::1", "file:///etc", "http://a/?b=c", "http://u@a"]
)
def test_an_endpoint_that_is_no_server_is_refused(refused, endpoint):
    assert refused(*FETCH, "here", "--endpoint", endpoint).startswith(f"--endpoint '{endpoint}' is no server.")


def test_a_server_that_is_not_there_is_one_sentence(refused):
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        said = refused(*FETCH, "here", "--endpoint", f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert "does not answer (NewConnectionError)" in said


def answer(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(answer("hello"), id="text"),
        pytest.param(answer("<a/>"), id="other XML"),
        pytest.param(answer("<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult/>"), id="entities"),
        pytest.param(answer("<ListBucketResult><Contents/></ListBucketResult>"), id="a file without a name"),
        pytest.param(b"no HTTP", id="no HTTP"),
    ],
)
def test_a_server_of_something_else_is_one_sentence(refused, sent):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        said = refused(*FETCH, "here", "--endpoint", f"http://127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert re.search(r"is no S3 server|no listing|without name|does not answer", said)


def test_a_folder_or_list_must_be_asked_for(refused):
    assert refused(*FETCH, exit_code=2) == "Give OUT, the folder to download to, or --list."


@pytest.mark.parametrize("limit", ["nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(refused, limit):
    assert "not a finite number" in refused(*FETCH, "out", "--max-gib", limit, exit_code=2)


@pytest.mark.parametrize("proxy", ["ftp://proxy:1", "proxy"])
def test_a_proxy_that_is_none_is_refused(folder, proxy):
    environment = {"http_proxy": proxy, "no_proxy": "", "NO_PROXY": ""}
    result = CliRunner().invoke(main, [*FETCH, "out", "--endpoint", "http://localhost:1"], env=environment)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "http_proxy in the environment is no HTTP proxy" in result.stderr
