"""The paper's experiment: does a spatially correlated latent paint better imagery than a vector, or a white one?

    python pipelines/paper_spacenet.py --data spacenet.safetensors --features squeezenet.npz --out runs/paper

Arms with equal data, networks, discriminator, batch, budget and seed; only the latent differs:

- `vector`: one z per image, and the same input for every image, at the same place: StyleGAN2 on crops of one size.
- `white`: every scale as short as the grid of sites resolves (sigma half a cell).
- `correlated`: the prior of the preset.
- `correlated-lattice`: the same with the lattice penalty, which has no meaning for a fixed input.

Result: docs/experiments.md. Resumes what lies in --out. Two CPU cores: about 30 s per thousand images and arm.
"""

from __future__ import annotations

import dataclasses
import json
from itertools import combinations
from pathlib import Path

import click
import numpy as np
import torch

from tilegen.data.dataset import PackedDataset
from tilegen.fields.prior import Prior
from tilegen.metrics.distances import frechet_distance, halves, kernel_distance, kernel_distance_difference
from tilegen.metrics.features import SqueezeNetFeatures, as_rgb, symmetric_features
from tilegen.metrics.monitor import KidMonitor
from tilegen.model.checkpoint import load_generator
from tilegen.model.generator import Generator
from tilegen.training.config import TrainConfig
from tilegen.training.loop import Schedule
from tilegen.training.planes import constant
from tilegen.training.run import configured, run_training
from tilegen.training.snapshot import paint

SHORTEST_CELLS = 0.5


def with_prior(config: TrainConfig, prior: Prior, **changes: object) -> TrainConfig:
    return dataclasses.replace(config, generator=dataclasses.replace(config.generator, prior=prior), **changes)


def arms(base: TrainConfig) -> dict[str, TrainConfig]:
    """`base` is the correlated arm; areas are mixed in the spatial arms only, as a vector has none."""
    prior = base.generator.prior
    white = prior.with_sigmas(dict.fromkeys((scale.name for scale in prior.scales), SHORTEST_CELLS))
    vector = dataclasses.replace(base.sampling, fixed_input=True, area_mixing=0.0, constant_share=0.0)
    return {
        "correlated": base,
        "vector": with_prior(base, constant(prior), sampling=vector),
        "white": with_prior(base, white, sampling=dataclasses.replace(base.sampling, constant_share=0.0)),
        "correlated-lattice": dataclasses.replace(base, lattice_weight=TrainConfig.lattice_weight),
    }


def report(trained: dict[str, tuple[TrainConfig, Generator]], data: Path, extractor: SqueezeNetFeatures, num: int):
    """KID and Fréchet distance of each arm to held-out crops, beside those of training crops, and every difference."""
    rng = np.random.default_rng(0)
    splits = {split: PackedDataset.open(data, split=split) for split in ("train", "val")}
    crop_px = next(iter(trained.values()))[0].discriminator.crop_px
    names = splits["val"].band_names

    def features(crops):
        return symmetric_features(extractor, as_rgb(crops, names))

    real = features(splits["val"].crops(rng, crop_px=crop_px, batch=num))
    sets = {"training photographs": features(splits["train"].crops(rng, crop_px=crop_px, batch=num))}
    sets |= {name: features(paint(generator, config, num)) for name, (config, generator) in trained.items()}
    rows = {}
    for name, some in sets.items():
        distance = kernel_distance(real, some, seed=0)
        rows[name] = {"kid": distance.mean, "kid_std": distance.std, "frechet": frechet_distance(real, some)}
    floor = halves(real, seed=0)
    rows["held-out halves"] = {"kid": kernel_distance(*floor, seed=0).mean, "frechet": frechet_distance(*floor)}
    differences = {
        f"{one} - {other}": dataclasses.asdict(kernel_distance_difference(real, sets[one], sets[other], seed=0))
        for one, other in combinations(trained, 2)
    }
    return {"num_crops": num, "extractor": extractor.digest, "distances": rows, "kid_differences": differences}


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="A packed dataset.")
@click.option("--features", type=click.Path(exists=True, path_type=Path), required=True, help="SqueezeNet 1.0 weights.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--preset", default="mini", show_default=True)
@click.option("--crop-px", default=64, show_default=True)
@click.option("--kimg", type=float, default=16.0, show_default=True, help="Of each arm.")
@click.option("--r1-gamma", type=float, default=0.02, show_default=True)
@click.option("--num", default=2000, show_default=True, help="Crops of each kind in the final table.")
@click.option("--arm", "chosen", multiple=True, help="Only these; all by default.")
@click.option("--device", default="cpu", show_default=True)
def main(  # noqa: PLR0913  one argument per option
    data: Path,
    features: Path,
    out: Path,
    *,
    preset: str,
    crop_px: int,
    kimg: float,
    r1_gamma: float,
    num: int,
    chosen: tuple[str, ...],
    device: str,
) -> None:
    # Few chips: turned copies are worth more than one direction of the sun (docs/adr/0008).
    options = {"r1_gamma": r1_gamma, "lattice_weight": 0.0, "dihedral": "data"}
    base = configured(data, preset=preset, crop_px=crop_px, device=device, **options)
    extractor = SqueezeNetFeatures.open(features, input_px=max(64, crop_px), device=device)
    held_out = PackedDataset.open(data, split="val")
    crops = held_out.crops(np.random.default_rng(1), crop_px=crop_px, batch=500)
    score = KidMonitor(extractor, crops, band_names=held_out.band_names)
    trained = {}
    for name, config in arms(base).items():
        if chosen and name not in chosen:
            continue
        click.echo(name)
        schedule = Schedule(kimg=kimg, snapshot_s=180.0, render_px=0)
        run_training(config, data, out / name, schedule, device=device, score=score, report=click.echo)
        trained[name] = config, load_generator(out / name / "model.safetensors")[0]
    torch.set_num_threads(2)
    table = report(trained, data, extractor, num) | {"kimg": kimg, "data": base.dataset_digest, "seed": base.seed}
    (out / "report.json").write_text(json.dumps(table, indent=1))
    click.echo(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
