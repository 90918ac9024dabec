"""`tilegen bench` prints one row per engine and dtype, with rates that belong together."""

import re

from click.testing import CliRunner

from tilegen.cli.main import main
from tilegen.model.engine import chosen_engine
from tilegen.testing.checkpoints import NANO, save_random_checkpoint


def test_every_engine_is_measured_in_both_dtypes(tmp_path) -> None:
    path = tmp_path / "nano.safetensors"
    save_random_checkpoint(path)
    result = CliRunner().invoke(main, ["bench", "--model", str(path), "--device", "cpu", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    rows = re.findall(r"^(compiled|eager) +(float32|bfloat16) +([\d.]+) +(\d+) +(\d+) +(\d+) s$", result.output, re.M)
    expected = [(engine, dtype) for engine in ("compiled", "eager") for dtype in ("float32", "bfloat16")]
    if chosen_engine("auto", "cpu", NANO) == "eager":  # installed without a compiler
        expected = expected[2:]
    assert [row[:2] for row in rows] == expected
    for *_, rate, tile_ms, _, seconds in rows:
        assert abs(float(rate) * float(tile_ms) / 262.144 - 1) < 0.1
        assert abs(float(rate) * float(seconds) / 200 - 1) < 0.1


def test_an_unknown_model_is_one_sentence() -> None:
    result = CliRunner().invoke(main, ["bench", "--model", "nothing"])
    assert result.exit_code == 1
    assert "No model 'nothing'" in result.output
