"""`tilegen info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=None, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(path: Path | None, as_json: bool) -> None:
    """Describe PATH: a product (.tif, .zarr), a checkpoint or a packed dataset. Without PATH: the default model.

    Example:  tilegen info world.tif
    """
    described = _describe(path)
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        click.echo("\n".join(_lines(described)))


def _describe(path: Path | None) -> dict[str, Any]:
    from tilegen.config import to_dict

    if path is None or path.suffix == ".safetensors":
        from tilegen.model.checkpoint import read_card, read_header, resolve_checkpoint
        from tilegen.training.packed import CARD_KEY
        from tilegen.training.packed import read_card as read_dataset_card

        path = path or resolve_checkpoint("default")
        if CARD_KEY in read_header(path).get("__metadata__", {}):
            return to_dict(read_dataset_card(path))
        return to_dict(read_card(path))
    from tilegen.tiling.preview import describe_product

    return describe_product(path)


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return lines
