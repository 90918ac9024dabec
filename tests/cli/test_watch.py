"""What is seen of a run: events for machines, a report over all attempts; and options that do not go together."""

import json
from datetime import datetime

import pytest


@pytest.fixture
def words(model):
    return ["--size", "200x150", "--model", model, "--chunk", 32, "--shard", 64, "--device", "cpu"]


@pytest.mark.cluster
def test_events_and_a_report_tell_of_the_same_run(run, words, scheduler, folder):
    result = run("generate", "a.tif", *words, "--scheduler", scheduler, "--log-json", "--report", "r.html")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events] == ["begin", *["shard"] * 12, "end"]
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times)
    assert (events[0]["product"], events[0]["size_px"], events[-1]["status"]) == ("a.tif", [150, 200], "finished")
    shards = [event for event in events if event["event"] == "shard"]
    assert sorted(event["shard"] for event in shards) == [[row, col] for row in range(3) for col in range(4)]
    assert [event["done"] for event in shards] == list(range(1, 13))
    report = json.loads((folder / "r.json").read_text())
    assert report["fingerprint"] == events[0]["fingerprint"]
    (attempt,) = report["attempts"]
    (worker, share), *others = attempt["workers"].items()
    assert {event["worker"] for event in shards} == {worker}
    assert (others, share["shards"], share["pixels"]) == ([], 12, 200 * 150)
    assert sorted(path.name for path in folder.iterdir()) == ["a.tif", "r.html", "r.json"]


@pytest.mark.cluster
def test_a_run_that_is_refused_tells_so_and_leaves_no_report(run, words, scheduler, folder):
    (folder / "a.tif").write_text("my thesis")
    result = run("generate", "a.tif", *words, "--scheduler", scheduler, "--log-json", "--report", "r.html")
    assert result.exit_code == 1
    begin, end, sentence = result.stderr.splitlines()
    assert json.loads(begin)["event"] == "begin"
    assert json.loads(end)["status"] == "failed"
    assert sentence == f"Error: {json.loads(end)['error']}"
    assert [path.name for path in folder.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--report", "r.txt"], "--report r.txt: give the name of a .html file in a folder that exists."),
        (["--report", "missing/r.html"], "--report missing/r.html: give the name of a .html file"),
        (["--performance-report", "p"], "--performance-report p: give the name of a .html file"),
        (
            ["--workers", "1", "--scheduler", "tcp://127.0.0.1:9"],
            "--workers are processes of this machine, --scheduler",
        ),
        (["--scheduler", "nowhere"], "No Dask scheduler answers at 'nowhere' ("),
        (["--scheduler", "tcp://127.0.0.1:port"], "No Dask scheduler answers at 'tcp://127.0.0.1:port' ("),
        (["--scheduler", "tls://127.0.0.1:9"], "No Dask scheduler answers at 'tls://127.0.0.1:9' ("),
        (["--scheduler", ""], "No Dask scheduler answers at '' ("),
        (["--scheduler", "nowhere", "--device", "cuda:1"], "--device cuda:1 does not go with --scheduler. Choose"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_cannot_be_are_refused(refused, words, options, said):
    assert refused("generate", "a.tif", *words, *options).startswith(said)


@pytest.mark.cluster
@pytest.mark.parametrize("option", ["--report", "--performance-report"])
def test_a_page_that_exists_is_kept(refused, words, folder, option):
    (folder / "p.html").write_text("my thesis")
    said = refused("generate", "a.tif", *words, option, "p.html")
    assert said == "p.html exists. Give another name or --overwrite."
    assert (folder / "p.html").read_text() == "my thesis"


@pytest.mark.cluster
def test_a_world_on_cuda_needs_no_gpu_where_the_command_is_given(refused, words, scheduler):
    """But the cluster needs one."""
    words = [word for word in words if word not in {"--device", "cpu"}]
    said = refused("generate", "a.tif", *words, "--scheduler", scheduler, "--device", "cuda")
    assert said.startswith("No worker of the cluster has the resource GPU.")
