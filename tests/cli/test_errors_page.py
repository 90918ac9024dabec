"""docs/errors.md is what the command line says: every row of it is run, and its sentence compared."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from tilegen.cli.main import main
from tilegen.testing.sinks import address_product, write_product
from tilegen.tiling.sinks import open_sink

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROWS = re.findall(r"^\| `(tilegen [^`]+)` \| (\d+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
TRIANGLE = {"type": "Polygon", "coordinates": [[[10, 50], [10.001, 50], [10.001, 50.001], [10, 50]]]}


def write_geojson(path, *geometries):
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.fixture
def files(folder):
    """What the page says there is."""
    (folder / "words.tif").write_text("my thesis")
    write_product(open_sink(folder / "done.tif", address_product(100, 100)))
    write_geojson(folder / "points.geojson", {"type": "Point", "coordinates": [0, 0]})
    write_geojson(folder / "area.geojson", TRIANGLE)
    write_geojson(folder / "empty.geojson")


def is_known(words):
    """Whether this version has the command and its options, all of which other rows misspell on purpose."""
    command = main.get_command(click.Context(main), words[0])
    if command is None:
        return words[0] == "generrate"
    options = {option for parameter in command.params for option in parameter.opts}
    return {word for word in words if word.startswith("--")} <= options


def test_the_page_has_twenty_ways_and_no_row_is_left_out():
    assert len(ROWS) == PAGE.read_text(encoding="utf-8").count("| `tilegen ") >= 20


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("command", "exit_code", "sentence"), ROWS, ids=[row[0] for row in ROWS])
def test_wrong_input_is_answered_as_the_page_says(run, folder, command, exit_code, sentence):
    words = shlex.split(command)[1:]
    if not is_known(words):
        pytest.skip("this version has no such command or option")
    before = sorted(folder.rglob("*"))
    result = run(*words)
    assert (result.exit_code, result.stdout) == (int(exit_code), "")
    *usage, said = result.stderr.strip().splitlines()
    assert not usage or usage[0].startswith("Usage: tilegen ")
    assert re.fullmatch(".*".join(map(re.escape, sentence.split("…"))), said.removeprefix("Error: "))
    assert sorted(folder.rglob("*")) == before
    assert (folder / "words.tif").read_text() == "my thesis"
