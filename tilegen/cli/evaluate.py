"""`tilegen evaluate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tilegen.cli.options import default_workers
from tilegen.cli.progress import terminal_bar

if TYPE_CHECKING:
    from tilegen.data.dataset import PackedDataset
    from tilegen.metrics.colour import Paint
    from tilegen.metrics.evaluation import Evaluation, EvaluationConfig
    from tilegen.metrics.features import FeatureExtractor
    from tilegen.world import World


@click.command()
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="From `tilegen data prepare`.")
@click.option("--features", type=click.Path(path_type=Path), required=True, help="Weights of SqueezeNet 1.0.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the report.")
@click.option("--num", type=click.IntRange(16, 50_000), default=2000, show_default=True, help="Crops of each kind.")
@click.option("--crop-px", type=click.IntRange(16, 1024), default=64, show_default=True, help="Edge of a crop.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of every choice.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--overwrite", is_flag=True, help="Replace an older report.")
def evaluate(model: str, data: Path, features: Path, out: Path, *, device: str, overwrite: bool, **sizes: int) -> None:
    """Judge MODEL ('default', a checkpoint, or a training run) against photographs.

    Distances, print of the lattice, control of colour, memorisation and texture, each beside its floor.

    Example:  tilegen evaluate default --data vegas.safetensors --features squeezenet.npz --out report
    """
    from tilegen.data.dataset import PackedDataset
    from tilegen.metrics.evaluation import EvaluationConfig
    from tilegen.metrics.features import MIN_INPUT_PX, SqueezeNetFeatures
    from tilegen.metrics.report import check_folder, save_report
    from tilegen.world import open_world

    world = open_world(model, device=device)
    splits = {name: PackedDataset.open(data, split=name) for name in ("train", "val")}
    _check_alike(world, splits["train"])
    architecture = world.card.architecture
    config = EvaluationConfig(cell_px=architecture.cell_px, band_names=architecture.band_names, **sizes)
    for split in splits.values():
        split.num_positions(config.crop_px)  # refuses a crop that no chip holds
    extractor = SqueezeNetFeatures.open(
        features,
        input_px=max(MIN_INPUT_PX, config.crop_px),
        device=world.config.device,
        num_threads=default_workers(),
    )
    check_folder(out, overwrite=overwrite)
    evaluation = _judged(world, splits, extractor, config)
    origin = _origin(world, splits, {"extractor": extractor.name, "extractor digest": extractor.digest} | sizes)
    save_report(out, evaluation, origin)
    click.echo((out / "report.md").read_text(encoding="utf-8"))


def _judged(
    world: World, splits: dict[str, PackedDataset], extractor: FeatureExtractor, config: EvaluationConfig
) -> Evaluation:
    """The evaluation, with a bar on a terminal. One thread for each sum: reports then agree to the last digits."""
    import torch

    from tilegen.metrics.evaluation import evaluate as judge
    from tilegen.model.arithmetic import fixed_arithmetic

    train, val = (partial(split.crops, crop_px=config.crop_px) for split in splits.values())
    with fixed_arithmetic(torch.device(world.config.device)), terminal_bar() as bar:
        task = bar.add_task("loading", total=1.0)

        def progress(stage: str, share: float) -> None:
            bar.update(task, description=stage, completed=share)

        return judge(_painter(world), train, val, extractor, config, progress)


def _painter(world: World) -> Paint:
    """Windows of many worlds at once, with the arithmetic and the rounding of a product."""
    import torch

    from tilegen.model.arithmetic import fixed_arithmetic
    from tilegen.model.checkpoint import load_generator
    from tilegen.model.pixels import as_uint8

    device = torch.device(world.config.device)
    generator = load_generator(Path(world.config.model))[0].to(device)

    def paint(seeds: tuple[int, ...], window: Any) -> Any:
        with fixed_arithmetic(device):
            return as_uint8(generator(seeds, window)).cpu()

    return paint


def _check_alike(world: World, dataset: PackedDataset) -> None:
    """Judging makes sense between images of the same bands and ground size."""
    from tilegen.errors import InputError

    bands, ground_m = world.card.architecture.band_names, dataset.card.resolution_m
    if len(bands) != dataset.num_bands:
        raise InputError(f"The model paints {len(bands)} bands and the data have {dataset.num_bands}. Give other data.")
    if ground_m is not None and abs(ground_m / world.card.resolution_m - 1) > 0.05:
        raise InputError(
            f"A pixel of the model covers {world.card.resolution_m:g} m, one of the data {ground_m:g} m. "
            "Give data of the same ground size."
        )


def _origin(world: World, splits: dict[str, PackedDataset], more: dict[str, Any]) -> dict[str, Any]:
    """What was judged, and against what."""
    about = world.card.about.get("train")  # free JSON: a foreign checkpoint may say anything here
    trained_on = about.get("dataset_digest") if isinstance(about, dict) else None
    digest = splits["train"].digest
    return {
        "model": Path(world.config.model).name,
        "model digest": world.config.digest,
        "model kimg": world.card.num_images / 1000,
        "data digest": digest,
        "trained on these data": trained_on == digest,
        "chips": {name: split.num_chips for name, split in splits.items()},
        "device": world.config.device,
    } | more
