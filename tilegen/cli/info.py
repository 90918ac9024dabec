"""`tilegen info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tilegen.cli.options import ProductPath

_WIDEST = 500
"""Characters of a line; what is longer, such as the polygon of an AOI, is for machines."""


@click.command()
@click.argument("path", type=ProductPath(exists=True, path_type=Path), default=None, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and every chip of a dataset.")
def info(path: Path | str | None, as_json: bool) -> None:
    """Describe PATH: a product (.tif, .zarr, also at s3://…), a world, a checkpoint, a training run or a dataset.

    Without PATH: the default model.

    Example:  tilegen info world.tif
    """
    described = _describe(path, in_full=as_json)
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        click.echo("\n".join(_lines(described)))


def _describe(path: Path | str | None, *, in_full: bool) -> dict[str, Any]:
    from tilegen.config import to_dict
    from tilegen.data.packed import is_packed
    from tilegen.errors import InputError
    from tilegen.model.checkpoint import RUN_CHECKPOINT, read_card, resolve_checkpoint
    from tilegen.world_file import is_world_file_name, read_world_file

    if path is None:
        return to_dict(read_card(resolve_checkpoint("default")))
    if isinstance(path, str):
        return _described_product(path)
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is neither a file nor a folder.")
    if path.is_dir() and (path / RUN_CHECKPOINT).is_file():
        path = path / RUN_CHECKPOINT
    if is_world_file_name(path.name):
        return to_dict(read_world_file(path))
    if path.suffix.lower() != ".safetensors":
        return _described_product(path)
    return _described_dataset(path, in_full=in_full) if is_packed(path) else to_dict(read_card(path))


def _described_product(path: Path | str) -> dict[str, Any]:
    """What it says, and who can open it."""
    from tilegen.catalog.openers import openers_of_store, openers_of_tiff
    from tilegen.tiling.preview import describe_product

    described = describe_product(path)
    last = "attributes" if "levels" in described else "provenance"  # long, so it comes last
    told = described.pop(last)
    if "levels" in described:
        described["opens_in"] = openers_of_store(
            zarr_format=int(described["format"].removeprefix("Zarr v")),
            sharded=described["shards"] is not None,
            flat=described["levels"][0] == "image",
        )
    else:
        described["opens_in"] = openers_of_tiff(described["compression"])
    return {**described, last: told}


def _described_dataset(path: Path, *, in_full: bool) -> dict[str, Any]:
    """The card; chips and what was left out are counted unless asked for `in_full`."""
    from tilegen.config import to_dict
    from tilegen.data.packed import read_card

    described = to_dict(card := read_card(path))
    if not in_full:
        splits = [chip.split for chip in card.chips]
        described["chips"] = {split: splits.count(split) for split in sorted(set(splits))}
        described["rejects"] = len(card.rejects)
    return described


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            line = f"{indent}{key}: {value if isinstance(value, str) else json.dumps(value)}"
            lines.append(line if len(line) <= _WIDEST else f"{line[:_WIDEST]}... (all of it with --json)")
    return lines
