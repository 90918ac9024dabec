"""What is refused, each with one sentence in JSON; and what every answer tells a browser."""

import pytest

from tests.server.conftest import HALF
from tilegen.server.guard import HEADERS
from tilegen.testing.imagery import AddressImagery

TILE = f"/map/tiles/native/32/{HALF}/{HALF}"


@pytest.fixture
def imagery():
    imagery = AddressImagery()
    imagery.gate.set()
    return imagery


def sentence(answer, status):
    """The one sentence of a refusal."""
    assert answer.status_code == status, answer.text
    text = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert text.endswith(".")
    assert len(text) < 200
    return text


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2Fapp.py",
        "/page/%2e%2e/app.py",
        "/page/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/page//etc/passwd",
        "/page/%2Fetc%2Fpasswd",
        "/page/map.js%00",
        "/page/openlayers.LICENSE.txt",
        "/page/",
        "//etc/passwd",
        "/tiles/18/1/..%2F..%2Fapp.py",
        "/map/tiles/..%2F..",
        "/tileMatrixSets/%2e%2e",
        "/static",
        "/openapi.json",
        "/tiles/18/1/2.png/",
    ],
)
def test_no_path_leads_to_a_file_but_those_of_the_page(site, imagery, path):
    answer = site(imagery).ask(path)
    assert answer.status_code in {400, 404}
    sentence(answer, answer.status_code)


@pytest.mark.parametrize("text", ["-1", "1.5", "NaN", "1e3", "0x10", "٣", "+1", " 1", "9" * 21, "9" * 1500, "", "inf"])
@pytest.mark.parametrize("where", ["/tiles/{}/1/1.png", "/tiles/18/{}/1.png", "/tiles/18/1/{}.png", TILE + "?seed={}"])
def test_what_is_no_number_in_range_is_refused(site, imagery, where, text):
    answer = site(imagery).ask(where.format(text))
    said = sentence(answer, 404 if answer.status_code == 404 else 400)
    assert "whole number" in said or answer.status_code == 404
    assert not imagery.painted


@pytest.mark.parametrize("number", ["18446744073709551616", "99999999999999999999"])
def test_a_seed_beyond_64_bits_is_refused(site, imagery, number):
    sentence(site(imagery).ask(f"{TILE}?seed={number}"), 400)
    assert site(imagery).ask(f"{TILE}?seed=18446744073709551615").status_code == 200


def test_a_fixed_seed_is_the_only_one(site, imagery):
    fixed = site(imagery, seed=4, is_seed_fixed=True)
    assert fixed.ask(TILE + "?seed=4").status_code == fixed.ask(TILE).status_code == 200
    assert "seed 4 only" in sentence(fixed.ask(TILE + "?seed=5"), 400)
    assert {key[0] for key in imagery.painted} == {4}


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "[::2]", "localhost:x", "", "0"]
)
def test_a_name_that_is_not_this_servers_is_refused(site, imagery, host):
    """A page of another site cannot read the server through a name of its own that leads here."""
    said = sentence(site(imagery).ask("/info.json", headers={"Host": host}), 421)
    assert "--allow-host" in said


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LocalHost:1"])
def test_names_of_this_machine_are_answered(site, imagery, host):
    assert site(imagery).ask("/info.json", headers={"Host": host}).status_code == 200


def test_other_names_are_answered_where_they_are_allowed(site, imagery):
    assert site(imagery, hosts=("maps.example",)).ask("/", headers={"Host": "maps.example"}).status_code == 200
    assert site(imagery, hosts=None).ask("/", headers={"Host": "any.example"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "MADEUP"])
def test_other_methods_are_refused(site, imagery, method):
    [answer] = site(imagery).ask_all(["/info.json"], method=method)
    sentence(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_body_is_refused(site, imagery):
    sentence(site(imagery).ask("/info.json", content=b"x" * 10), 413)
    sentence(site(imagery).ask("/info.json", headers={"Transfer-Encoding": "chunked"}), 413)


def test_a_long_address_is_refused(site, imagery):
    sentence(site(imagery).ask("/info.json?x=" + 3000 * "y"), 414)


def test_a_format_or_a_grid_that_is_not_there_is_refused(site, imagery):
    found = site(imagery)
    assert "'gif'" in sentence(found.ask("/tiles/18/1/1.gif"), 400)
    assert "native and WebMercatorQuad" in sentence(found.ask("/map/tiles/World/1/1/1"), 404)


@pytest.mark.parametrize("path", ["/", "/info.json", "/nothing", TILE, "/tiles/x/1/1.png", "/page/map.js"])
def test_every_answer_forbids_what_the_page_does_not_need(site, imagery, path):
    headers = site(imagery).ask(path).headers
    assert HEADERS.items() <= {name.title(): value for name, value in headers.items()}.items()
    assert "access-control-allow-origin" not in headers


def test_other_sites_may_read_tiles_only_where_they_are_allowed(site, imagery):
    found = site(imagery, origins=("https://maps.example",))
    allowed = found.ask(TILE, headers={"Origin": "https://maps.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://maps.example"
    assert "access-control-allow-origin" not in found.ask(TILE, headers={"Origin": "https://evil.example"}).headers


def test_a_painter_that_fails_is_one_sentence_and_a_line_in_the_log(site):
    class Broken(AddressImagery):
        def block(self, seed, level, row, col):
            raise ZeroDivisionError("secret")

    answer = site(Broken()).ask(TILE, raises=False)
    assert "secret" not in sentence(answer, 500)


# Floods


def test_who_asks_for_too_much_at_once_gets_429_and_others_are_served(site):
    imagery = AddressImagery()
    found = site(imagery, most_per_client=5, most_waiting=100)
    paths = [f"/map/tiles/native/32/{HALF + 2 * number}/{HALF}" for number in range(12)]
    answers = found.ask_all(paths, gate=imagery.gate)
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(429)) == (5, 7)
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)
    assert [answer.status_code for answer in found.ask_all(paths[:5], client="10.0.0.2")] == [200] * 5


def test_more_than_can_wait_gets_503_and_what_waits_is_served(site):
    imagery = AddressImagery()
    found = site(imagery, num_threads=1, most_waiting=4)
    answers = found.ask_all([f"/map/tiles/native/32/{HALF + 2 * n}/{HALF}" for n in range(12)], gate=imagery.gate)
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(503)) == (4, 8)
    assert len(imagery.painted) == 4
    refusal = next(answer for answer in answers if answer.status_code == 503)
    assert refusal.headers["retry-after"]
    sentence(refusal, 503)


def test_requests_of_all_clients_together_are_bounded(site):
    imagery = AddressImagery()
    found = site(imagery, most_requests=3)
    answers = found.ask_all([f"/map/tiles/native/32/{HALF + 2 * n}/{HALF}" for n in range(5)], gate=imagery.gate)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]


def test_a_third_download_at_a_time_waits_for_the_others(site):
    """Each holds its whole area in memory, so their number is bounded for all clients together."""
    imagery = AddressImagery()
    found = site(imagery)
    paths = [f"/download.tif?row={600 * number}&col=600&rows=300&cols=300" for number in range(3)]
    answers = found.ask_all(paths, gate=imagery.gate)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    refusal = next(answer for answer in answers if answer.status_code == 503)
    assert "Other downloads" in sentence(refusal, 503)
    assert refusal.headers["retry-after"]
    assert found.ask(paths[2]).status_code == 200
