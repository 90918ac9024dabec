"""The report of a run: nothing is lost over attempts, nothing is said that should not be, and it needs nothing else."""

import dataclasses
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilegen.errors import InputError, OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.disks import fill
from tilegen.tiling.product import Product
from tilegen.tiling.report import Attempt, RunReport, WorkerShare
from tilegen.tiling.report_page import report_page
from tilegen.tiling.reporter import Reporter
from tilegen.tiling.schedule import Progress, ShardReport
from tilegen.tiling.sinks.encoding import DEFAULT_COG, DEFAULT_ZARR, CogEncoding, ZarrEncoding

PRODUCT = Product(
    extent=Window.from_size(100, 64, row0=-70, col0=300),  # 4 rows of 2 shards; the last row has 4 pixels
    georef=GeoReference(crs="EPSG:32633", res=0.5),
    band_names=("red",),
    provenance={"seed": 7, "attribution": "<img src='http://example.com/x.png'>"},
    chunk_px=16,
    shard_px=32,
)


def progress(number: int, seconds: float, *, worker: str = "tcp://a:1", retries: int = 0, resumed: int = 0) -> Progress:
    """After shard `number` of the product."""
    latest = ShardReport(shard=PRODUCT.shard_indices[number], worker=worker, work_s=2.0)
    return Progress(done=number + 1, total=8, resumed=resumed, seconds=seconds, retries=retries, latest=latest)


def opened(
    page: Path,
    *,
    name: str = "a.tif",
    product: Product = PRODUCT,
    encoding: CogEncoding | ZarrEncoding = DEFAULT_COG,
    overwrite: bool = False,
) -> Reporter:
    return Reporter.open(page, name, product, encoding.options, overwrite=overwrite)


def read(page: Path) -> dict:
    return json.loads(page.with_suffix(".json").read_text())


@given(
    times=st.lists(st.floats(0, 1e7), min_size=1, max_size=60).map(sorted),
    pixels=st.integers(0, 1 << 30),
    shards_per_bin=st.sampled_from([0.5, 4.0, 1e9]),
)
def test_a_rate_over_time_has_every_pixel_in_its_place(times, pixels, shards_per_bin):
    """The plain twin sorts the pixels of all shards into the bins of the result at once."""
    attempt = Attempt(began="now")
    for at_s in times:
        attempt = attempt.plus(progress(0, at_s), pixels)
    for rate in (attempt, attempt.smoothed(shards_per_bin)):
        plain = [sum(pixels for at_s in times if at_s // rate.bin_s == index) for index in range(len(rate.rate_px))]
        assert list(rate.rate_px) == plain
        assert sum(rate.rate_px) == rate.pixels == len(times) * pixels
    assert len(attempt.rate_px) <= 120
    assert attempt.shards == len(times)


def test_attempts_that_follow_each_other_become_one_report(tmp_path):
    """One that is interrupted, one that is killed, and one that finishes."""
    page = tmp_path / "r.html"
    first = opened(page)
    assert first.earlier.attempts == ()
    first.add(progress(0, 3.0))
    first.add(progress(1, 5.0, worker="tcp://b:2", retries=1))
    first.end("interrupted")
    killed = opened(page)
    assert (killed.earlier.pixels, killed.earlier.retries) == (2 * 32 * 32, 1)
    killed.add(progress(2, 20.0, resumed=2))  # late enough for the files to be renewed
    last = opened(page)
    for number in range(3, 8):
        last.add(progress(number, 1.0 + number, resumed=3))
    last.end("finished")
    report = read(page)
    assert [attempt["status"] for attempt in report["attempts"]] == ["interrupted", "running", "finished"]
    shares = [share for attempt in report["attempts"] for share in attempt["workers"].values()]
    assert sum(share["pixels"] for share in shares) == report["num_pixels"] == 6400
    assert sum(share["shards"] for share in shares) == report["num_shards"] == 8
    assert (report["fingerprint"], report["product"]) == (PRODUCT.fingerprint, "a.tif")
    with pytest.raises(OutputError, match=r"r\.html exists\. Give another name or --overwrite\.$"):
        opened(page)
    assert opened(page, overwrite=True).earlier.attempts == ()


@pytest.mark.parametrize(
    "other",
    [
        {"product": dataclasses.replace(PRODUCT, provenance={"seed": 8})},
        {"name": "b.tif"},
        {"encoding": CogEncoding(compression="zstd")},
        {"encoding": DEFAULT_ZARR},
    ],
    ids=["pixels", "name", "compression", "format"],
)
def test_a_report_of_another_product_is_not_gone_on_with(tmp_path, other):
    page = tmp_path / "r.html"
    reporter = opened(page)
    reporter.add(progress(0, 3.0))
    reporter.end("failed")
    before = page.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        opened(page, **other)
    assert page.read_bytes() == before
    assert opened(page, **other, overwrite=True).earlier.attempts == ()
    assert len(opened(page).earlier.attempts) == 1


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"product": 1}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["r.html", "r.json"])
def test_what_is_no_report_is_not_overwritten(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OutputError, match=rf"{name} exists\. Give another name or --overwrite\.$"):
        opened(tmp_path / "r.html")
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name", ["r.json", "r", "missing/r.html"])
def test_a_page_has_the_name_of_one(tmp_path, name):
    with pytest.raises(InputError, match=r"^--report .*: give the name of a \.html file in a folder that exists\.$"):
        opened(tmp_path / name)


def test_an_attempt_that_did_nothing_leaves_nothing(tmp_path):
    opened(tmp_path / "r.html").end("failed")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("1m")


def test_a_full_disk_stops_no_run_but_is_said_at_the_end(small_disk):
    reporter = opened(small_disk / "r.html")
    fill(small_disk / "filler")
    reporter.add(progress(0, 100.0))
    with pytest.raises(OutputError, match=r"^The disk is full at .*r\.json\. Free some space"):
        reporter.end("finished")
    assert [path.name for path in small_disk.iterdir() if path.is_file()] == ["filler"]


class Page(HTMLParser):
    """The words of a page, its tags, and whether each tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.tags, self.attributes, self.is_open = [], set(), {}, []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes.setdefault(tag, []).append(dict(attributes))
        if tag != "meta":
            self.is_open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes.setdefault(tag, []).append(dict(attributes))

    def handle_endtag(self, tag):
        assert self.is_open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page_of(report: RunReport) -> Page:
    parsed = Page()
    parsed.feed(report_page(report))
    assert parsed.is_open == []
    return parsed


def test_a_page_needs_nothing_else_and_says_nothing_of_the_machine(tmp_path):
    """What others wrote into names and provenance stays text; the folder is nobody's business."""
    reporter = opened(tmp_path / "r.html", name="<script>alert(1)</script>.tif")
    reporter.add(progress(0, 3.0))
    reporter.end("finished")
    parsed = Page()
    parsed.feed((tmp_path / "r.html").read_text())
    assert parsed.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "table", "tr", "th", "td",
                           "svg", "rect", "text"}  # fmt: skip
    assert "<script>alert(1)</script>.tif: run report" in parsed.words
    assert "<img src='http://example.com/x.png'>" in parsed.words
    for path in (tmp_path / "r.html", tmp_path / "r.json"):
        assert str(tmp_path) not in path.read_text()


def test_a_page_shows_rates_and_shares():
    """Two workers, one with three quarters of the pixels; 8 megapixels in the first half, 24 in the second."""
    attempt = Attempt(
        began="2026-01-02T03:04:05+00:00",
        status="finished",
        seconds=16.0,
        retries=5,
        workers={
            "tcp://a:1": WorkerShare(shards=2, pixels=8_000_000, work_s=16.0),
            "tcp://b:2": WorkerShare(shards=6, pixels=24_000_000, work_s=12.0),
        },
        bin_s=8.0,
        rate_px=(8_000_000, 24_000_000),
    )
    report = dataclasses.replace(RunReport.of("a.tif", PRODUCT, {}), num_pixels=32_000_000, attempts=(attempt,))
    parsed = page_of(report)
    left, right = parsed.attributes["rect"]
    assert float(right["height"]) == pytest.approx(3 * float(left["height"]), rel=1e-3)
    assert float(right["x"]) == pytest.approx(float(left["width"]), abs=0.1)
    words = " ".join(parsed.words)
    assert "tcp://b:2 6 75.0% 12 s 2.00 tcp://a:1 2 25.0% 16 s 0.50" in words
    assert "2026-01-02T03:04:05+00:00 finished 16 s 8 2.00 5" in words
    assert "up to 3.00 Mpx/s, over 16 s" in words


def test_many_workers_are_summed_up():
    workers = {f"tcp://a:{number}": WorkerShare(shards=1, pixels=1 + number, work_s=1.0) for number in range(1000)}
    attempt = Attempt(began="now", workers=workers, rate_px=(1,))
    parsed = page_of(dataclasses.replace(RunReport.of("a.tif", PRODUCT, {}), attempts=(attempt,)))
    assert "800 others" in parsed.words
    assert "tcp://a:999" in parsed.words
    assert "tcp://a:7" not in parsed.words


def test_a_run_that_found_everything_done_has_a_page_too():
    assert "No shard was finished." in page_of(RunReport.of("a.tif", PRODUCT, {})).words
