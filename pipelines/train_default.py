"""Train the bundled default model from the SpaceNet Vegas chips.

    python pipelines/train_default.py --chips AOI_2_Vegas --out runs/default

Two CPU cores, about 25 s per thousand crops when they are idle. Result: docs/models.md. The chips (26 for training,
2 for validation, 512 px, 0.76 m) are 8-bit RGB versions of SpaceNet 3 images, CC BY-SA 4.0.

R1's gamma followed the rule of thumb "divide by ten while |logits| < 0.15 and R1 < 0.03, raise it when the sign of
D(real) passes 0.6": the changes are in GAMMAS, and in the card of the checkpoint. The recipe is that of the bundled
weights, without what came later; but crops come in groups of one chip by now, so a new run gives a model like it and
not the same bits.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from tilegen.data.prepare import prepare_dataset
from tilegen.training.loop import Schedule
from tilegen.training.run import configured, continued, run_training

GAMMAS = ((0.2, 28.752), (0.02, 86.832), (0.1, 114.384), (0.3, 137.504))
"""Weight of the penalty, and the thousand crops until which it holds."""

RECIPE = {
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
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--processes", type=int, default=2, show_default=True)
def main(chips: Path, out: Path, processes: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data = out / "vegas.safetensors"
    if not data.exists():
        attribution = "SpaceNet Partners; imagery (c) Maxar/DigitalGlobe"
        prepare_dataset([chips], data, resolution_m=0.76, licence="CC BY-SA 4.0", attribution=attribution)

    previous = None
    for gamma, kimg in GAMMAS:
        folder = out / f"gamma-{gamma}"
        if previous is None:
            config = configured(data, preset="mini", crop_px=64, num_processes=processes, r1_gamma=gamma, **RECIPE)
        else:
            config = continued(previous, data, r1_gamma=gamma)
        run_training(config, data, folder, Schedule(kimg=kimg), start=previous)
        previous = folder
    shutil.copy(folder / "model.safetensors", out / "default.safetensors")


if __name__ == "__main__":
    main()
