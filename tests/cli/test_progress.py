"""Progress of a run: nothing for what is quick, rate and time to go for the rest, a bar on a terminal."""

import os
import re
import subprocess
import sys

import pytest

from tilegen.cli.progress import Pace, RunProgress
from tilegen.tiling.schedule import Progress

PACE = Pace(total_px=9_000_000)


@pytest.mark.parametrize(
    ("done", "resumed", "seconds", "quiet", "said"),
    [
        (9, 0, 100.0, False, "9/9 shards  100%  0.09 Mpx/s\n"),
        (9, 6, 100.0, False, "9/9 shards  100%  0.03 Mpx/s\n"),
        (9, 0, 1.0, False, ""),
        (3, 0, 1.0, False, ""),
        (9, 0, 100.0, True, ""),
    ],
)
def test_the_last_line_comes_if_it_took_long(capsys, done, resumed, seconds, quiet, said):
    """The rate is that of the pixels of this run, not of those it found."""
    with RunProgress(PACE, quiet=quiet) as line:
        line(Progress(done=done, total=9, resumed=resumed, seconds=seconds))
    assert capsys.readouterr().err == said


def test_lines_on_the_way_say_how_long_it_will_take(capsys):
    with RunProgress(PACE, quiet=False) as line:
        line.note("Dashboard: somewhere")
        for done, seconds in ((1, 1.0), (2, 3000.0), (3, 3014.0), (4, 3016.0)):
            line(Progress(done=done, total=9, resumed=0, seconds=seconds))
    said = capsys.readouterr().err.splitlines()
    assert [words.split()[0] for words in said] == ["Dashboard:", "2/9", "4/9"]
    assert said[1] == "2/9 shards   22%  0.00 Mpx/s, 2 h 55 min to go"


def test_a_run_that_resumes_knows_its_rate_at_once_and_then_learns_its_own():
    """Before it had 0.1 Mpx/s; now it has ten times as many workers."""
    pace = Pace(total_px=1_000_000_000, earlier_px_s=1e5, earlier_s=7200.0)

    def after(shards: int, seconds: float) -> Progress:
        return Progress(done=200 + shards, total=1000, resumed=200, seconds=seconds)

    assert pace.rate_px_s(after(0, 0.0)) == pytest.approx(1e5)
    assert pace.left_s(after(0, 0.0)) == pytest.approx(800e6 / 1e5)
    assert pace.rate_px_s(after(60, 60.0)) == pytest.approx((1e5 + 1e6) / 2)
    assert pace.rate_px_s(after(600, 600.0)) == pytest.approx(1e6, rel=0.1)
    fresh = Pace(total_px=1_000_000_000)
    assert fresh.left_s(after(0, 0.0)) == float("inf")
    assert fresh.left_s(after(1, 2.0)) == pytest.approx(799 * 2.0)


ON_A_TERMINAL = """
from tilegen.cli.progress import Pace, RunProgress
from tilegen.tiling.schedule import Progress

with RunProgress(Pace(total_px=9_000_000), quiet=False) as line:
    line(Progress(done=2, total=9, resumed=0, seconds=30.0))
    line.note("Versions differ")
    line(Progress(done=9, total=9, resumed=0, seconds=90.0))
"""


def test_on_a_terminal_there_is_a_bar_which_goes_at_the_end():
    """A terminal of the operating system, as wide as they come."""
    ours, theirs = os.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([sys.executable, "-c", ON_A_TERMINAL], stderr=theirs, env=settings, check=True)
    os.close(theirs)
    with open(ours, "rb", closefd=True) as terminal:
        seen = b""
        try:
            while some := terminal.raw.read(4096):
                seen += some
        except OSError:  # how Linux says that nobody holds the other end
            pass
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert re.search(r"2/9 shards .*22% 0\.07 Mpx/s 2 min to go", plain)
    kept = [line.rpartition("\r")[2] for line in plain.replace("\r\n", "\n").splitlines()]
    assert "Versions differ" in kept
    assert "9/9 shards  100%  0.10 Mpx/s" in kept
