"""Train the bundled default model from the SpaceNet Vegas chips.

    python pipelines/train_default.py --chips AOI_2_Vegas --out runs/default

Two CPU cores, about 25 s per thousand crops when they are idle. Result: docs/models.md. The chips (26 for training,
2 for validation, 512 px, 0.76 m) are 8-bit RGB versions of SpaceNet 3 images, CC BY-SA 4.0.

Gamma 0.2 wins the first steps but soon leaves the discriminator too flat (logits within 0.05), so a tenth of it takes
over after 28.8 thousand crops; the rule is to divide gamma by ten when |logits| < 0.15 and R1 < 0.03.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from tilegen.training.loop import Schedule, continue_run, load_config
from tilegen.training.prepare import prepare_dataset
from tilegen.training.run import configured, run_training

FIRST_KIMG = 28.752
ALL_KIMG = 200.0


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

    first, second = out / "gamma-0.2", out / "gamma-0.02"
    config = configured(data, preset="mini", crop_px=64, num_processes=processes)
    run_training(config, data, first, Schedule(kimg=FIRST_KIMG))
    continue_run(first, second, r1_gamma=0.02)
    run_training(load_config(second), data, second, Schedule(kimg=ALL_KIMG))
    shutil.copy(second / "model.safetensors", out / "default.safetensors")


if __name__ == "__main__":
    main()
