"""`tilegen train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilegen.cli.options import ScaleSigma, once_each
from tilegen.training.config import DIHEDRAL, LOSSES, SamplingConfig, TrainConfig

if TYPE_CHECKING:
    from tilegen.training.snapshot import Score

_SCORED_CROPS = 500
"""Of each kind, at each snapshot: about ten seconds of a CPU."""

_POSITIVE = click.FloatRange(0, min_open=True)


def _setting(name: str, field: str, type_: Any, help_: str = "") -> Callable[[Any], Any]:
    """An option for a field of the run's config, which also knows its default; None when it is not given."""
    default = getattr(TrainConfig, field, getattr(SamplingConfig, field, None))
    return click.option(name, field, type=type_, default=None, help=f"{help_}  [default: {default}]".strip())


@click.group()
def train() -> None:
    """Learn a generator from real imagery."""


@train.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="From `tilegen data prepare`.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@click.option("--preset", help="nano, mini, tiny, S or paper.  [default: mini]")
@click.option("--crop-px", type=int, help="Edge of a training crop.  [default: 64]")
@click.option(
    "--sigma-cells", type=ScaleSigma(), multiple=True, help="Correlation of a scale of the latent, such as region=24."
)
@click.option("--kimg", type=_POSITIVE, default=200.0, show_default=True, help="Thousand images in all.")
@click.option("--minutes", type=_POSITIVE, help="Stop after this time, less that of a snapshot.")
@_setting("--batch", "batch", click.IntRange(1, 4096))
@_setting("--lr", "lr", float)
@_setting("--loss", "loss", click.Choice(LOSSES))
@_setting("--r1-gamma", "r1_gamma", float, "Weight of R1 (and R2).")
@_setting("--path-length-weight", "path_length_weight", float, "2 in StyleGAN2; 0 for none.")
@_setting("--lattice-weight", "lattice_weight", float, "Against a print of the cells; 0 for none.")
@_setting("--critic-weight", "critic_weight", float, "Of a critic that sees through --features; 0 for none.")
@_setting("--layer-mixing", "layer_mixing", float, "Share of images with mixed layers.")
@_setting("--area-mixing", "area_mixing", float, "Share of images with mixed areas.")
@_setting("--constant-share", "constant_share", float, "Share of images with one latent.")
@_setting("--width-octaves", "width_octaves", float, "Spread of the kernel widths.")
@_setting("--dihedral", "dihedral", click.Choice(DIHEDRAL), "Where crops are turned and mirrored.")
@_setting("--ada-target", "ada_target", float, "Adaptive augmentation; 0 for none.")
@_setting("--ada-kimg", "ada_kimg", float)
@_setting("--ema-halflife-kimg", "ema_halflife_kimg", _POSITIVE)
@_setting("--bfloat16/--float32", "bfloat16", bool, "Of the convolutions.")
@_setting("--seed", "seed", click.IntRange(0, 2**63 - 1))
@click.option("--processes", "num_processes", type=click.IntRange(1, 64), help="[default: one per GPU, or two cores]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--continue-from", type=click.Path(path_type=Path), help="A run, its shards or a checkpoint.")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Weights of SqueezeNet 1.0: score each snapshot, and what a critic sees through.",
)
@click.option("--snapshot-minutes", type=_POSITIVE, default=5.0, show_default=True)
@click.option("--render-px", type=int, default=2048, show_default=True, help="Large render per snapshot; 0: none.")
@click.option("--tensorboard/--no-tensorboard", default=True, show_default=True, help="Event files too.")
@click.option("--shards", is_flag=True, help="End with small files, to continue on another machine.")
def spacenet(
    data: Path, out: Path, *, device: str, continue_from: Path | None, features: Path | None, **options: Any
) -> None:
    """Train on a packed dataset until --kimg or --minutes, with a snapshot, pictures and scores now and then.

    The same command resumes a run that was stopped, and ends as if it had never been. With --continue-from RUN, what is
    not given stays as it was in RUN.

    Example:  tilegen train spacenet --data vegas.safetensors --out runs/vegas
    """
    from tilegen.model.arithmetic import chosen_device
    from tilegen.squeezenet import read_squeezenet
    from tilegen.training.loop import Schedule
    from tilegen.training.run import configured, continued, run_training

    schedule = Schedule(
        snapshot_s=60 * options.pop("snapshot_minutes"),
        **{name: options.pop(name) for name in ("kimg", "minutes", "render_px", "tensorboard", "shards")},
    )
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "sigma_cells" in given:
        given["sigma_cells"] = once_each("--sigma-cells", given["sigma_cells"])
    if given.get("critic_weight") and features is not None:
        given["critic_digest"] = read_squeezenet(features)[0]
    device = chosen_device(device)
    if continue_from is None or continue_from.is_file():
        preset, crop_px = given.pop("preset", "mini"), given.pop("crop_px", 64)
        config = configured(data, preset=preset, crop_px=crop_px, device=device, **given)
    else:
        config = continued(continue_from, data, **given)
    score = None if features is None else _score(features, data, config.discriminator.crop_px, device)
    run_training(
        config, data, out, schedule, start=continue_from, device=device, critic=features, score=score, report=click.echo
    )
    click.echo(f"Checkpoint: {out / 'model.safetensors'}. Look at it: {out / 'sheets'}.")


def _score(features: Path, data: Path, crop_px: int, device: str) -> Score:
    """KID against crops of the chips that are kept for validation."""
    import numpy as np

    from tilegen.data.dataset import PackedDataset
    from tilegen.metrics.features import MIN_INPUT_PX, SqueezeNetFeatures
    from tilegen.metrics.monitor import KidMonitor

    held_out = PackedDataset.open(data, split="val")
    crops = held_out.crops(np.random.default_rng(0), crop_px=crop_px, batch=_SCORED_CROPS)
    extractor = SqueezeNetFeatures.open(features, input_px=max(MIN_INPUT_PX, crop_px), device=device)
    return KidMonitor(extractor, crops, band_names=held_out.band_names)
