"""Train the bundled default model from the SpaceNet Vegas chips, in three parts.

    python pipelines/train_default.py --chips AOI_2_Vegas --features squeezenet.npz --out runs/default

First 137.5 thousand crops without a critic (about 25 s per thousand on two idle CPU cores), then 91.9 thousand with
one (43 s per thousand), then 41.7 thousand of 128 px (140 s per thousand): an hour, another one, and one and a half.
Result: docs/models.md. The chips (26 for training, 2 for validation, 512 px, 0.76 m) are 8-bit RGB versions of
SpaceNet 3 images, CC BY-SA 4.0. `--start CHECKPOINT` skips the first part: the bundled weights began with the
generator that was bundled before, whose digest is in their card.

In the first part, R1's gamma followed the rule of thumb "divide by ten while |logits| < 0.15 and R1 < 0.03, raise it
when the sign of D(real) passes 0.6". Its recipe is without what came later; but crops come in groups of one chip by
now, so a new run gives a model like it and not the same bits.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from tilegen.data.prepare import prepare_dataset
from tilegen.model.checkpoint import load_generator, save_generator
from tilegen.model.generator import Generator
from tilegen.squeezenet import read_squeezenet
from tilegen.training.loop import Schedule
from tilegen.training.run import configured, continued, run_training

GAMMAS = ((0.2, 28.752), (0.02, 86.832), (0.1, 114.384), (0.3, 137.504))
"""Weight of the penalty, and the thousand crops until which it holds, in the first part."""

CRITIC_KIMG = 91.936
"""Thousand crops of 64 px of the second part."""

LARGER = (
    ({"crop_px": 128, "batch": 8, "r1_gamma": 0.08}, 118.488),
    ({"lr": 0.0007, "r1_gamma": 0.4, "ada_kimg": 20.0}, 130.288),
    ({"lr": 0.0005, "lattice_weight": 150.0, "ema_halflife_kimg": 2.0}, 133.624),
)
"""Then crops of 128 px: what changes, and the thousand crops, those of 64 px included, until which it holds."""

WIDTHS_CELLS = {"region": 128.0, "district": 16.0}
"""Of the prior as it is shipped: districts and regions that a large world shows. Training had 16 and 4."""

PLAIN = {
    "dihedral": "data",
    "ada_target": 0.0,
    "lattice_weight": 0.0,
    "shared_scales": (),
    "constant_share": 0.0,
    "width_octaves": 0.0,
    "layer_mixing": 0.0,
    "area_mixing": 0.0,
}
"""What `tilegen train` does otherwise by now."""


@click.command()
@click.option("--chips", type=click.Path(exists=True, path_type=Path), required=True, help="Folder of the chips.")
@click.option("--features", type=click.Path(exists=True, path_type=Path), required=True, help="SqueezeNet 1.0.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--start", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Skip the first part.")
@click.option("--processes", type=int, default=2, show_default=True)
def main(chips: Path, features: Path, out: Path, start: Path | None, processes: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data = out / "vegas.safetensors"
    if not data.exists():
        attribution = "SpaceNet Partners; imagery (c) Maxar/DigitalGlobe"
        prepare_dataset(
            [chips], data, resolution_m=0.76, licence="CC BY-SA 4.0", attribution=attribution, val_fraction=2 / 28
        )
    start = start or first_part(data, out, processes)
    config = configured(
        data,
        preset="mini",
        crop_px=64,
        num_processes=processes,
        r1_gamma=0.02,
        critic_weight=1.0,
        critic_digest=read_squeezenet(features)[0],
    )
    folder = out / "critic"
    run_training(config, data, folder, Schedule(kimg=CRITIC_KIMG), start=start, critic=features)
    for number, (changed, kimg) in enumerate(LARGER):
        previous, folder = folder, out / f"larger-{number}"
        config = continued(previous, data, **changed)
        run_training(config, data, folder, Schedule(kimg=kimg), start=previous, critic=features)
    save_widened(folder / "model.safetensors", out / "default.safetensors")


def first_part(data: Path, out: Path, processes: int) -> Path:
    """The checkpoint of a run without a critic."""
    previous = None
    for gamma, kimg in GAMMAS:
        folder = out / f"gamma-{gamma}"
        if previous is None:
            config = configured(data, preset="mini", crop_px=64, num_processes=processes, r1_gamma=gamma, **PLAIN)
        else:
            config = continued(previous, data, r1_gamma=gamma)
        run_training(config, data, folder, Schedule(kimg=kimg), start=previous)
        previous = folder
    assert previous is not None
    return previous / "model.safetensors"


def save_widened(model: Path, out: Path) -> None:
    """The same weights with the kernel widths of the shipped prior."""
    trained, card = load_generator(model)
    prior = trained.config.prior.with_sigmas(WIDTHS_CELLS)
    generator = Generator(dataclasses.replace(trained.config, prior=prior))
    generator.load_state_dict(trained.state_dict())
    save_generator(out, generator, num_images=card.num_images, resolution_m=card.resolution_m, about=card.about)


if __name__ == "__main__":
    main()
