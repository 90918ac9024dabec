"""The whole evaluation of a painter whose faults are known, and its report."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tilegen.errors import MetricError, OutputError
from tilegen.geometry.window import Window
from tilegen.metrics.evaluation import COMPARISONS, Evaluation, EvaluationConfig, evaluate
from tilegen.metrics.features import FeatureExtractor, SqueezeNetFeatures
from tilegen.metrics.report import FILES, check_folder, save_report

CONFIG = EvaluationConfig(
    num=24, crop_px=32, cell_px=8, band_names=("red", "green", "blue"), num_lattice_windows=16, num_colour_worlds=16
)
NUM_FEATURES = 32


class FirstFeatures:
    """The first few of another extractor's features: Fréchet distances of 512 take the most time here."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        self.name, self.digest = extractor.name, extractor.digest

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self._extractor(images)[:, :NUM_FEATURES]


BASE = np.random.default_rng(0).integers(60, 190, (3, 96, 96)).astype(np.uint8)


def cut(rng: np.random.Generator, *, batch: int, per_chip: int = 1) -> torch.Tensor:
    """Photographs: crops of one base image, in a shade of its own for each chip."""
    shades = rng.integers(-40, 41, batch // per_chip).repeat(per_chip)
    corners = rng.integers(0, 64, (batch, 2))
    crops = [BASE[:, r : r + 32, c : c + 32].astype(int) + s for (r, c), s in zip(corners, shades, strict=True)]
    return torch.from_numpy(np.stack(crops).clip(1, 255).astype(np.uint8))


def paint(seeds: tuple[int, ...], window: Window) -> torch.Tensor:
    """Worlds of noise in a shade of their own, with a line at every cell; those of even seeds copy photographs."""
    images = []
    for seed in seeds:
        rng = np.random.default_rng((seed, window.row0 % 2**32, window.col0 % 2**32))
        shade = np.random.default_rng(seed).integers(-40, 41)
        image = rng.integers(60, 190, (3, *window.shape)) + shade
        if seed % 2 == 0 and window.shape == (32, 32):
            image = BASE[:, 5:37, 9:41] + shade
        image[:, (np.arange(window.row0, window.row1) % 8) == 0] += 30
        images.append(image.clip(1, 255))
    return torch.from_numpy(np.stack(images).astype(np.uint8))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, random_weights: dict[str, np.ndarray]) -> Evaluation:
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    np.savez(path, **random_weights)
    return evaluate(paint, cut, cut, FirstFeatures(SqueezeNetFeatures.open(path, input_px=32)), CONFIG)


def test_the_grid_lines_are_seen(evaluation: Evaluation) -> None:
    assert evaluation.scores.lattice["mean"].ratio > 3
    assert evaluation.scores.lattice["mean"].period_px == CONFIG.cell_px


def test_the_shade_of_a_world_and_of_a_chip_decides_its_colour(evaluation: Evaluation) -> None:
    """And the region decides nothing."""
    scores = evaluation.scores
    assert scores.colour.world.estimate > 0.9
    assert abs(scores.colour.region.estimate) < 0.05
    assert scores.chip_colour.estimate > 0.9


def test_photographs_are_nearer_to_photographs_than_fakes_are(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    assert scores.kid.keys() == scores.frechet.keys() == scores.texture.keys() == COMPARISONS.keys()
    for fakes, photographs in (("fake-val", "train-val"), ("fake-train", "train-train")):
        assert scores.kid[fakes].mean > scores.kid[photographs].mean
        assert scores.texture[fakes].spectrum_db > scores.texture[photographs].spectrum_db


def test_pairs_hold_fakes_and_turned_training_crops(evaluation: Evaluation) -> None:
    fakes, neighbours = evaluation.fake_pairs
    painted = {crop.numpy().tobytes() for crop in evaluation.crops["fake"]}
    assert all(fake.numpy().tobytes() in painted for fake in fakes)
    known = {
        crop.numpy().tobytes()
        for t in evaluation.crops["train"]
        for f in (t, t.flip(2))
        for k in range(4)
        for crop in [torch.rot90(f, k, (1, 2)).contiguous()]
    }
    assert all(neighbour.contiguous().numpy().tobytes() in known for neighbour in neighbours)


def test_the_same_seed_paints_and_cuts_the_same_crops(evaluation: Evaluation, weight_file: Path) -> None:
    again = evaluate(paint, cut, cut, FirstFeatures(SqueezeNetFeatures.open(weight_file, input_px=32)), CONFIG)
    assert all(again.crops[name].equal(crops) for name, crops in evaluation.crops.items())
    assert again.scores.lattice == evaluation.scores.lattice
    assert again.scores.kid["fake-val"].mean == pytest.approx(evaluation.scores.kid["fake-val"].mean, rel=1e-3)


def test_a_report_holds_the_scores_their_origin_and_the_sheets(tmp_path: Path, evaluation: Evaluation) -> None:
    check_folder(tmp_path / "a" / "b", overwrite=False)
    save_report(tmp_path / "a" / "b", evaluation, {"model digest": "1234", "seed": 0})
    folder = tmp_path / "a" / "b"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    record = json.loads((folder / "report.json").read_text())
    assert record["origin"] == {"model digest": "1234", "seed": 0}
    assert record["scores"]["kid"]["fake-val"]["mean"] == evaluation.scores.kid["fake-val"].mean
    assert record["scores"]["lattice"]["mean"]["ratio"] == evaluation.scores.lattice["mean"].ratio
    page = (folder / "report.md").read_text()
    assert f"| fake-val | {evaluation.scores.kid['fake-val'].mean:.4f} |" in page
    with Image.open(folder / "crops.png") as sheet:
        pixels = np.asarray(sheet)
    left, right = evaluation.crops["val"][8], evaluation.crops["fake"][1]  # second row, and second of the first row
    np.testing.assert_array_equal(pixels[32:64, :32], left.permute(1, 2, 0))
    np.testing.assert_array_equal(pixels[:32, 8 * 32 + 8 + 32 : 8 * 32 + 8 + 64], right.permute(1, 2, 0))
    with Image.open(folder / "neighbours.png") as sheet:
        pixels = np.asarray(sheet)
    np.testing.assert_array_equal(pixels[64:96, 32:64], evaluation.fake_pairs[1][2].permute(1, 2, 0))


def test_a_report_is_not_replaced_unasked(tmp_path: Path, evaluation: Evaluation) -> None:
    save_report(tmp_path, evaluation, {"seed": 0})
    with pytest.raises(OutputError, match="--overwrite"):
        check_folder(tmp_path, overwrite=False)
    check_folder(tmp_path, overwrite=True)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        check_folder(tmp_path / "file" / "folder", overwrite=False)


def test_too_few_crops_are_refused() -> None:
    with pytest.raises(MetricError, match="at least 16 crops"):
        EvaluationConfig(num=15, cell_px=8, band_names=("red",))
