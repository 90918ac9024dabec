"""`python -m tilegen.testing.client OUT CONTROLS`: writes a product of addresses, in a process that may be killed."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from distributed import Client

from tilegen.testing.faults import ControlledSource, Controls
from tilegen.testing.sinks import address_product
from tilegen.tiling.cluster import cluster
from tilegen.tiling.product import Product
from tilegen.tiling.render import RendererSource
from tilegen.tiling.schedule import run_shards
from tilegen.tiling.sinks import open_sink
from tilegen.tiling.sinks.protocol import Sink


def client_product() -> Product:
    """What is written: 70 shards, each of them one tile of 64 pixels or a part of it."""
    return address_product(640, 400, row0=-128, col0=320)


def run_on(client: Client, source: RendererSource, sink: Sink, **options: Any) -> None:
    """`run_shards` on a cluster that is there already, and stays."""
    run_shards(nullcontext(client), source, sink, **options)


def main() -> None:
    """Write the product, or go on with it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("controls")
    parser.add_argument("--scheduler")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    sink = open_sink(given.out, client_product())
    source = ControlledSource(controls=Controls(folder=given.controls), tile_px=64)
    run_shards(cluster(given.scheduler, given.workers), source, sink)


if __name__ == "__main__":
    main()
