"""Evaluation: every judge on one generator, beside what each says of photographs alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from tilegen.errors import MetricError
from tilegen.geometry.window import Window
from tilegen.metrics.colour import ColourControl, Paint, colour_control, group_share, mean_colours
from tilegen.metrics.distances import KernelDistance, frechet_distance, kernel_distance
from tilegen.metrics.features import FeatureExtractor, as_rgb, oriented, symmetric_features
from tilegen.metrics.interval import Interval
from tilegen.metrics.lattice import Spread, lattice_spreads
from tilegen.metrics.memorisation import Memorisation, Neighbours, memorisation, nearest_training
from tilegen.metrics.texture import TextureDifference, texture_difference

COMPARISONS = {
    "fake-val": ("fake", "val"),
    "train-val": ("train", "val"),
    "fake-train": ("fake", "train"),
    "train-train": ("train again", "train"),
}
"""What is compared with what. The second and the fourth are photographs alone: the floors of the first and third."""

_FAR_PX = 1 << 24
"""Windows begin within this distance of the origin."""

_WORLDS_PER_WINDOW = 16
"""Fakes that are painted at once."""

_WINDOW_CELLS = 17
"""Edge of a window that is folded."""

_CHIPS, _CROPS_PER_CHIP = 24, 16
"""Photographs whose colours are compared."""

_NUM_PAIRS = 12
"""Rows of neighbours.png."""


@runtime_checkable
class Cut(Protocol):
    """Cuts random crops out of photographs; `per_chip` consecutive ones out of one chip."""

    def __call__(self, rng: np.random.Generator, *, batch: int, per_chip: int = 1) -> UInt8[Tensor, "batch _ _ _"]:
        """The crops."""
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How much is looked at.

    Args:
        num: crops of each kind: fakes, held-out photographs and two sets of training photographs.
        crop_px: edge of a crop, pixels.
        cell_px: edge of a cell of the generator, pixels.
        band_names: of all images.
        seed: of every choice: worlds, windows, crops and subsets.
        num_lattice_windows: windows that are folded.
        num_colour_worlds: worlds whose colours are compared, in four regions with four windows each.

    Raises:
        MetricError: too few images or too small ones.
    """

    num: int = 2000
    crop_px: int = 64
    cell_px: int
    band_names: tuple[str, ...]
    seed: int = 0
    num_lattice_windows: int = 80
    num_colour_worlds: int = 24

    def __post_init__(self) -> None:
        if self.num < 16 or self.crop_px < 16:
            raise MetricError(f"Give at least 16 crops of at least 16 px, not {self.num} of {self.crop_px} px.")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the judges say; the keys of `kid`, `frechet` and `texture` are those of `COMPARISONS`.

    Args:
        chip_colour: share of the variance of the mean colour of photographs that lies between chips.
    """

    kid: dict[str, KernelDistance]
    frechet: dict[str, float]
    lattice: dict[str, Spread]
    colour: ColourControl
    chip_colour: Interval
    memorisation: Memorisation
    texture: dict[str, TextureDifference]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores, and the images to look at beside them, RGB.

    Args:
        crops: by kind: "fake", "val", "train", "train again".
        fake_pairs: the fakes nearest to training crops, and those training crops, turned alike.
        val_pairs: the same of held-out photographs.
    """

    scores: Scores
    crops: dict[str, UInt8[Tensor, "num 3 edge edge"]]
    fake_pairs: tuple[UInt8[Tensor, "pairs 3 edge edge"], UInt8[Tensor, "pairs 3 edge edge"]]
    val_pairs: tuple[UInt8[Tensor, "pairs 3 edge edge"], UInt8[Tensor, "pairs 3 edge edge"]]


def evaluate(
    paint: Paint,
    train: Cut,
    val: Cut,
    extractor: FeatureExtractor,
    config: EvaluationConfig,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Evaluation:
    """Judge the generator behind `paint` against photographs.

    Args:
        paint: windows of worlds, as users get them.
        train: crops of the photographs that it was trained on.
        val: crops of held-out photographs.
        extractor: what compares images.
        config: how much is looked at.
        progress: called with the name of a stage and the share of all stages that is done, 0..1.

    Raises:
        MetricError: a judge cannot work with these images.
    """
    rng = np.random.default_rng(config.seed)
    progress("painting", 0.0)
    raw = {"fake": painted_crops(paint, rng, num=config.num, crop_px=config.crop_px)}
    cuts = {"val": val, "train": train, "train again": train}
    raw |= {name: cut(rng, batch=config.num) for name, cut in cuts.items()}
    progress("folding windows", 0.1)
    lattice = _lattice(paint, config, rng)
    progress("comparing worlds", 0.2)
    colour = colour_control(paint, *_colour_design(config, rng), seed=config.seed)
    chips = mean_colours(train(rng, batch=_CHIPS * _CROPS_PER_CHIP, per_chip=_CROPS_PER_CHIP))
    crops, features = {name: as_rgb(images, config.band_names) for name, images in raw.items()}, {}
    for index, (name, images) in enumerate(crops.items()):
        progress(f"looking at {name}", 0.25 + 0.15 * index)
        features[name] = symmetric_features(extractor, images)
    progress("measuring distances", 0.85)
    neighbours = {name: nearest_training(features[name][0], features["train"]) for name in ("fake", "val")}
    kid, frechet = _distances(features, config.seed)
    scores = Scores(
        kid=kid,
        frechet=frechet,
        lattice=lattice,
        colour=colour,
        chip_colour=group_share(chips.reshape(_CHIPS, _CROPS_PER_CHIP, -1), seed=config.seed),
        memorisation=memorisation(neighbours["fake"], neighbours["val"]),
        texture={name: texture_difference(raw[real], raw[some]) for name, (some, real) in COMPARISONS.items()},
    )
    pairs = {name: _closest_pairs(crops[name], crops["train"], found) for name, found in neighbours.items()}
    progress("done", 1.0)
    return Evaluation(scores=scores, crops=crops, fake_pairs=pairs["fake"], val_pairs=pairs["val"])


def _distances(
    features: dict[str, Float32[Tensor, "symmetries num features"]], seed: int
) -> tuple[dict[str, KernelDistance], dict[str, float]]:
    """KID and Fréchet distance of every comparison."""
    sides = {name: (features[real], features[some]) for name, (some, real) in COMPARISONS.items()}
    kid = {name: kernel_distance(*pair, seed=seed) for name, pair in sides.items()}
    return kid, {name: frechet_distance(*pair) for name, pair in sides.items()}


def painted_crops(
    paint: Paint, rng: np.random.Generator, *, num: int, crop_px: int
) -> UInt8[Tensor, "num bands edge edge"]:
    """Crops at random places of random worlds; 16 worlds share a window."""
    batches = []
    for start in range(0, num, _WORLDS_PER_WINDOW):
        seeds = _seeds(rng, min(_WORLDS_PER_WINDOW, num - start))
        row0, col0 = _origin(rng)
        batches.append(paint(seeds, Window.from_size(crop_px, crop_px, row0=row0, col0=col0)))
    return torch.cat(batches)


def _lattice(paint: Paint, config: EvaluationConfig, rng: np.random.Generator) -> dict[str, Spread]:
    """One world per window: every window has a phase of its own."""
    edge = _WINDOW_CELLS * config.cell_px
    origins = np.array([_origin(rng) for _ in range(config.num_lattice_windows)])
    windows = [Window.from_size(edge, edge, row0=int(row0), col0=int(col0)) for row0, col0 in origins]
    images = torch.cat([paint(_seeds(rng, 1), window) for window in windows])
    return lattice_spreads(as_rgb(images, config.band_names), origins, cell_px=config.cell_px)


def _colour_design(
    config: EvaluationConfig, rng: np.random.Generator
) -> tuple[tuple[int, ...], tuple[tuple[Window, ...], ...]]:
    """Worlds, and four far regions of 2 x 2 windows, eight cells from edge to edge: in one region, not in one place."""
    step_px, edge = 8 * config.cell_px + config.crop_px, config.crop_px
    corners = [_origin(rng) for _ in range(4)]
    regions = tuple(
        tuple(
            Window.from_size(edge, edge, row0=row0 + down * step_px, col0=col0 + right * step_px)
            for down in (0, 1)
            for right in (0, 1)
        )
        for row0, col0 in corners
    )
    return _seeds(rng, config.num_colour_worlds), regions


def _closest_pairs(
    images: UInt8[Tensor, "n 3 edge edge"], training: UInt8[Tensor, "m 3 edge edge"], found: Neighbours
) -> tuple[UInt8[Tensor, "pairs 3 edge edge"], UInt8[Tensor, "pairs 3 edge edge"]]:
    order = found.closest(_NUM_PAIRS)
    turned = [oriented(training[found.nearest[i]][None], int(found.orientation[i])) for i in order]
    return images[order], torch.cat(turned)


def _seeds(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    return tuple(int(seed) for seed in rng.integers(1 << 63, size=count))


def _origin(rng: np.random.Generator) -> tuple[int, int]:
    row0, col0 = rng.integers(-_FAR_PX, _FAR_PX, size=2)
    return int(row0), int(col0)
