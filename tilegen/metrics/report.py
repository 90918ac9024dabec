"""Report: the scores of an evaluation as a page for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilegen.atomic import explained, write_atomically
from tilegen.config import to_dict
from tilegen.errors import OutputError
from tilegen.metrics.evaluation import Evaluation, Scores
from tilegen.metrics.memorisation import QUANTILES
from tilegen.metrics.sheets import save_pairs, save_sides

FILES = ("crops.png", "neighbours.png", "report.md", "report.json")
"""What an evaluation consists of; the last is written last."""

_SHEET_CROPS, _SHEET_COLS = 64, 8


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Make `folder` for a report, or see that there is none in it yet. Call it before the work begins.

    Raises:
        OutputError: it holds a report, or cannot be made.
    """
    if not overwrite and any((folder / name).exists() for name in FILES):
        raise OutputError(f"{folder} holds an evaluation already. Give another --out, or --overwrite.")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)


def save_report(folder: Path, evaluation: Evaluation, origin: dict[str, Any]) -> None:
    """Write `FILES`; `origin` says what was judged by what: plain JSON values.

    Raises:
        OutputError: a file cannot be written.
    """
    (folder / FILES[-1]).unlink(missing_ok=True)  # an old report is none beside new sheets
    sides = evaluation.crops["val"][:_SHEET_CROPS], evaluation.crops["fake"][:_SHEET_CROPS]
    save_sides(folder / "crops.png", *sides, num_cols=_SHEET_COLS)
    save_pairs(folder / "neighbours.png", evaluation.fake_pairs, evaluation.val_pairs)
    write_atomically(folder / "report.md", report_page(evaluation.scores, origin).encode())
    record = {"origin": origin, "scores": to_dict(evaluation.scores)}
    write_atomically(folder / "report.json", json.dumps(record, indent=1).encode())


def report_page(scores: Scores, origin: dict[str, Any]) -> str:
    """The scores as Markdown."""
    lines = [
        "# Evaluation",
        "",
        *_table(("origin", "value"), [(name, str(value)) for name, value in origin.items()]),
        "## Distances between crops",
        "",
        "val are held-out photographs; train and train again are two draws from the training photographs. The floor of",
        "fake-val is train-val, that of fake-train is train-train: photographs alone.",
        "",
        *_table(
            ("", "KID", "± over subsets", "Fréchet", "spectrum dB", "fine dB", "semivariogram", "histograms"),
            [_distance_row(name, scores) for name in scores.kid],
        ),
        "## Lattice of the cells",
        "",
        "1 is none; above 3 it shows.",
        "",
        *_table(
            ("fold", "period px", "spread", "null", "ratio"),
            [
                (name, str(fold.period_px), f"{fold.spread:.2%}", f"{fold.null:.2%}", f"{fold.ratio:.1f}")
                for name, fold in scores.lattice.items()
            ],
        ),
        *_colour_section(scores),
        *_memorisation_section(scores),
    ]
    return "\n".join(lines)


def _distance_row(name: str, scores: Scores) -> tuple[str, ...]:
    kid, texture = scores.kid[name], scores.texture[name]
    histograms = " ".join(f"{distance:.1f}" for distance in texture.histograms)
    return (
        name,
        f"{kid.mean:.4f}",
        f"{kid.std:.4f}",
        f"{scores.frechet[name]:.2f}",
        f"{texture.spectrum_db:.2f}",
        f"{texture.fine_db:+.2f}",
        f"{texture.semivariogram:.1%}",
        histograms,
    )


def _colour_section(scores: Scores) -> list[str]:
    shares = {
        "world (season, light, land)": scores.colour.world,
        "region of a world": scores.colour.region,
        "chip, photographs": scores.chip_colour,
    }
    rows = [(name, f"{s.estimate:.1%}", f"{s.low:.1%} to {s.high:.1%}") for name, s in shares.items()]
    return [
        "## Share of the variance of mean colour",
        "",
        *_table(("decided by", "share", "95 % interval"), rows),
    ]


def _memorisation_section(scores: Scores) -> list[str]:
    found = scores.memorisation
    quantiles = zip(QUANTILES, found.fake_quantiles, found.held_out_quantiles, strict=True)
    return [
        "## Distance to the nearest training crop",
        "",
        f"A random fake is nearer than a random held-out crop with probability {found.nearer:.3f} (0.5: nothing is",
        f"memorised, 1: everything; p = {found.p_value:.1g}, too small where crops share a chip).",
        "",
        *_table(
            ("quantile", "fake", "held out"),
            [(f"{quantile:.0%}", f"{fake:.2f}", f"{held_out:.2f}") for quantile, fake, held_out in quantiles],
        ),
        "crops.png: held-out photographs on the left, fakes on the right, both as drawn. neighbours.png: the fakes "
        "nearest to",
        "training crops on the left, held-out photographs on the right, each beside its nearest training crop.",
        "",
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [*("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)), ""]
