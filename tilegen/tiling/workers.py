"""What must be true of the workers of a cluster before the first task: their software, and GPUs for a world on CUDA."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from distributed import Client

from tilegen.errors import ScheduleError

GPU = "GPU"
"""The resource label of workers that have a GPU, as everybody who writes about Dask calls it."""

_DECISIVE = ("tilegen", "torch")
"""Packages of which another version may paint other pixels."""

_NOTABLE = ("numpy", "zarr", "imagecodecs", "dask", "distributed")
"""Packages of which another version is worth a word: it may compress or speak otherwise."""

Versions = Mapping[str, str | None]
"""Version of a package at each place, such as "the worker at tcp://..."; None where it is not installed."""


def gpu_workers(client: Client) -> list[str]:
    """Addresses of the workers that were started with the resource `GPU`."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sorted(address for address, worker in workers.items() if worker.get("resources", {}).get(GPU, 0) >= 1)


def check_workers(client: Client, *, device: str, tell: Callable[[str], None]) -> None:
    """Pass if the workers that a run would use have what it needs.

    Args:
        device: "cuda" for a run that goes to workers with GPUs alone; any worker may draw on a CPU.
        tell: is given a sentence on what differs without harm to a pixel.

    Raises:
        ScheduleError: no worker has a GPU, or one has no tilegen, or a version that may paint other pixels.
    """
    needs_gpu = device.startswith("cuda")
    workers = gpu_workers(client) if needs_gpu else sorted(client.nthreads())
    if not workers:
        raise ScheduleError(
            f"No worker of the cluster has the resource {GPU}. Start one with `dask worker --resources {GPU}=1`, or "
            "use --device cpu."
        )
    for package in _DECISIVE:
        # The scheduler unpacks what it is sent, so it needs the same packages, whatever their build.
        require_version(package, version(package), {"the scheduler": _scheduler_version(client, package)})
        require_version(package, version(package), _versions(client, package, workers), same_build=needs_gpu)
    found = {package: (version(package), _versions(client, package, workers)) for package in _NOTABLE}
    found["python"] = (platform.python_version(), client.run(platform.python_version, workers=workers))
    notes = [note for package, (ours, theirs) in found.items() if (note := _difference(package, ours, theirs))]
    if notes:
        tell(f"Versions differ between this machine and its workers: {'; '.join(notes)}.")


def require_version(package: str, ours: str, theirs: Versions, *, same_build: bool = False) -> None:
    """Pass if all places have the version of this machine.

    Builds of one version ("2.13.0+cpu", "2.13.0+cu126") may differ between this machine and the workers, as this
    machine paints nothing.

    Args:
        same_build: they must not differ between one worker and another.

    Raises:
        ScheduleError: they have not.
    """
    missing = [place for place, found in theirs.items() if found is None]
    if missing:
        raise ScheduleError(f"{_some(missing, theirs)} no {package}. Install {package} {_public(ours)} there.")
    others = [place for place, found in theirs.items() if _public(found or "") != _public(ours)]
    if others:
        raise ScheduleError(
            f"{_some(others, theirs)} {package} {theirs[others[0]]}, and this machine {ours}: pixels could differ. "
            "Install the same version everywhere."
        )
    builds = sorted({found for found in theirs.values() if found is not None})
    if same_build and len(builds) > 1:
        raise ScheduleError(
            f"The GPU workers have several builds of {package} ({', '.join(builds)}): pixels could differ. "
            "Install the same one everywhere."
        )


def _versions(client: Client, package: str, workers: Sequence[str]) -> Versions:
    """Asked with a function of the standard library, which a worker has even if it has nothing else of ours."""
    answers = client.run(version, package, workers=list(workers), on_error="return")
    return {
        f"the worker at {address}": None if isinstance(found, PackageNotFoundError) else str(found)
        for address, found in answers.items()
    }


def _scheduler_version(client: Client, package: str) -> str | None:
    try:
        return str(client.run_on_scheduler(version, package))
    except PackageNotFoundError:
        return None


def _difference(package: str, ours: str, theirs: Versions) -> str | None:
    others = sorted({str(found) for found in theirs.values()} - {ours})
    return f"{package} {ours} here, {', '.join(others)} there" if others else None


def _public(release: str) -> str:
    """A version without its build (PEP 440: the local version label)."""
    return release.partition("+")[0]


def _some(places: Sequence[str], everywhere: Versions) -> str:
    if len(everywhere) == 1:
        return f"{places[0][0].upper()}{places[0][1:]} has"
    return f"{len(places)} of {len(everywhere)} workers, such as {places[0]}, have"
