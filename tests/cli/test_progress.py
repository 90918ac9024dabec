"""The line of progress: nothing for what is quick, rate and time to go for the rest."""

import pytest

from tilegen.cli.progress import ProgressLine
from tilegen.tiling.schedule import Progress


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
    ProgressLine(9_000_000, quiet=quiet)(Progress(done=done, total=9, resumed=resumed, seconds=seconds))
    assert capsys.readouterr().err == said


def test_lines_on_the_way_say_how_long_it_will_take(capsys):
    line = ProgressLine(9_000_000, quiet=False)
    for done, seconds in ((1, 1.0), (2, 3000.0), (3, 3014.0), (4, 3016.0)):
        line(Progress(done=done, total=9, resumed=0, seconds=seconds))
    said = capsys.readouterr().err.splitlines()
    assert [words.split()[0] for words in said] == ["2/9", "4/9"]
    assert said[0] == "2/9 shards   22%  0.00 Mpx/s, 2 h 55 min to go"
