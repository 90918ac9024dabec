"""The folder of an unfinished product: `<name>.partial` beside the target, with a manifest that says whose it is."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilegen.atomic import TEMPORARY_SUFFIX, explained, sync_folder, write_atomically
from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.claims import LOCK_NAME, claim
from tilegen.tiling.sinks.manifest import MANIFEST_NAME, Manifest, parsed

_NOTHING_YET = re.compile(
    rf"{re.escape(LOCK_NAME)}|{re.escape(MANIFEST_NAME)}\.[0-9a-f]{{32}}{re.escape(TEMPORARY_SUFFIX)}"
)


@dataclass(frozen=True, kw_only=True)
class Partial:
    """Where a product grows until it is complete.

    Args:
        target: path of the finished product.
        manifest: of this run.
    """

    target: Path
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """The folder beside the target."""
        return partial_folder(self.target)

    def claim(self, *, overwrite: bool) -> None:
        """Create the folder, or take over that of an interrupted run of the same product. Sweeps leftovers.

        Raises:
            OutputError: the folder belongs to another run and `overwrite` is false, another run is at it right now, it
                is no tilegen folder at all, or it cannot be written.
        """
        if not self.target.parent.is_dir():
            raise OutputError(f"The folder {self.target.parent} does not exist. Create it, or give another path.")
        with explained(self.folder):
            self._is_foreign(overwrite=overwrite)
            self.folder.mkdir(exist_ok=True)
            claim(self.folder)
            # Asked again: another run may have begun, and died, before the folder was ours.
            if self._is_foreign(overwrite=overwrite):
                self._empty()
            write_atomically(self.folder / MANIFEST_NAME, self.manifest.content(overwrite=overwrite))
            sync_folder(self.folder)
            for leftover in list(self.folder.rglob(f"*{TEMPORARY_SUFFIX}")):
                _delete(leftover)

    def require(self) -> None:
        """Raises OutputError unless the folder is there and belongs to this product."""
        manifest = self._manifest_of_folder()
        if manifest is None or not self.manifest.is_of_same_run(manifest):
            raise OutputError(
                f"{self.folder} is not there, or belongs to another run. Begin the product first, on a disk that "
                "client and workers share."
            )

    def may_replace(self) -> bool:
        """Whether the run was begun with `overwrite`."""
        return bool((self._manifest_of_folder() or {}).get("overwrite"))

    def discard(self) -> None:
        """Delete the folder; the manifest goes late, so that an interrupted deletion is still recognised as ours."""
        self._empty()
        (self.folder / MANIFEST_NAME).unlink(missing_ok=True)
        (self.folder / LOCK_NAME).unlink(missing_ok=True)
        self.folder.rmdir()

    def _empty(self) -> None:
        """Delete all but the manifest and the lock."""
        for entry in self.folder.iterdir():
            if entry.name not in {MANIFEST_NAME, LOCK_NAME}:
                _delete(entry)

    def _is_foreign(self, *, overwrite: bool) -> bool:
        """Whether the folder holds another unfinished product, which may be thrown away.

        Raises:
            OutputError: it may not, or something else is in the way.
        """
        found = self._manifest_of_folder()
        if found is None or self.manifest.is_of_same_run(found):
            return False
        if not overwrite:
            raise OutputError(self.manifest.refusal(self.folder, found))
        return True

    def _manifest_of_folder(self) -> dict[str, Any] | None:
        """The manifest, or None where there is no folder, or one that nothing was written to yet.

        Raises:
            OutputError: something else is in the way.
        """
        if not self.folder.exists() and not self.folder.is_symlink():
            return None
        if self.folder.is_dir() and not self.folder.is_symlink():
            if all(_NOTHING_YET.fullmatch(entry.name) for entry in self.folder.iterdir()):
                return None
            manifest = _manifest_in(self.folder)
            if manifest is not None:
                return manifest
        raise OutputError(f"{self.folder} is in the way and was not made by tilegen. Move it, or give another path.")


def partial_folder(target: Path) -> Path:
    """Where the product of `target` grows."""
    return target.with_name(f"{target.name}.partial")


def _manifest_in(folder: Path) -> dict[str, Any] | None:
    """The manifest in a folder, or None if there is none, or something else."""
    try:
        return parsed((folder / MANIFEST_NAME).read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        return None


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def require_unfinished(target: Path) -> None:
    """Raises OutputError unless a run was begun at `target` and did not finish; which one, `Partial.claim` asks."""
    if target.exists():
        raise OutputError(f"{target} is finished; there is nothing to resume.")
    if _manifest_in(partial_folder(target)) is None:
        raise OutputError(f"There is nothing to resume at {target}. Leave --resume out to begin.")


def require_all_shards(product: Product, finished: set[tuple[int, int]], target: Path | str) -> None:
    """Raises OutputError unless every shard of the product is finished."""
    missing = [shard for shard in product.shard_indices if shard not in finished]
    if missing:
        raise OutputError(
            f"{target} is incomplete: {len(missing)} of {len(product.shard_indices)} shards are missing, "
            f"the first is {missing[0]}. Run the same command again."
        )
