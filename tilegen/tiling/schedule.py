"""A run: what is not there yet is handed to the workers of a cluster, then the product is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from distributed import Client
from distributed.client import ClosedClientError

from tilegen.errors import ScheduleError, TilegenError
from tilegen.tiling.cluster import in_one_line
from tilegen.tiling.flight import DEFAULT_PATIENCE, Flight, Patience
from tilegen.tiling.render import RendererSource
from tilegen.tiling.sinks.claims import one_run
from tilegen.tiling.sinks.protocol import Sink
from tilegen.tiling.task import ShardReport


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Args:
        done: shards that are done, those found at the start included.
        total: shards in all.
        resumed: shards found done at the start.
        seconds: since the start.
        retries: how often a shard was begun again so far, whoever was to blame.
        latest: the shard that this report is about.
    """

    done: int
    total: int
    resumed: int
    seconds: float
    retries: int = 0
    latest: ShardReport | None = None


def run_shards(
    connection: AbstractContextManager[Client],
    source: RendererSource,
    sink: Sink,
    *,
    overwrite: bool = False,
    patience: Patience = DEFAULT_PATIENCE,
    report: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Write every shard of the sink's product that is not there yet, then finish the product.

    Args:
        connection: the cluster, entered once the sink has agreed to begin.
        source: opened once by each worker.
        patience: how long to wait for a shard, and for workers.
        report: called after each shard.

    Raises:
        OutputError: the sink refuses or cannot write.
        ScheduleError: the cluster cannot be reached or is lost, or a shard failed for good.
    """
    with one_run():
        _run(connection, source, sink, overwrite=overwrite, patience=patience, report=report)


def _run(
    connection: AbstractContextManager[Client],
    source: RendererSource,
    sink: Sink,
    *,
    overwrite: bool,
    patience: Patience,
    report: Callable[[Progress], None],
) -> None:
    """What `run_shards` does, and nobody else at the same time to the same product."""
    finished = sink.begin(overwrite=overwrite)
    total, started = sink.product.num_shards, time.monotonic()
    if len(finished) < total:
        with connection as client:
            missing = (shard for shard in sink.product.each_shard() if shard not in finished)
            flight = Flight(client, source, sink, missing, patience)
            for done, latest in enumerate(_reports(flight), start=len(finished) + 1):
                progress = Progress(
                    done=done,
                    total=total,
                    resumed=len(finished),
                    seconds=time.monotonic() - started,
                    retries=flight.retries,
                    latest=latest,
                )
                report(progress)
    sink.finish()


def _reports(flight: Flight) -> Iterator[ShardReport]:
    """The flight's own.

    Raises:
        ScheduleError: the connection breaks while something is asked or told.
    """
    try:
        yield from flight.reports()
    except TilegenError:
        raise
    except (OSError, ClosedClientError) as error:
        raise ScheduleError(
            f"The connection to the Dask scheduler is lost ({in_one_line(error)}). What is finished is kept: "
            "run the same command again to resume."
        ) from None
