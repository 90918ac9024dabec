"""The folder of an unfinished product: `<name>.partial` beside the target, with a manifest that says whose it is."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilegen.atomic import TEMPORARY_SUFFIX, explained, new_file, sync_folder
from tilegen.errors import OutputError
from tilegen.tiling.product import Product
from tilegen.tiling.sinks.claims import LOCK_NAME, claim

MANIFEST_NAME = "manifest.json"
_KIND = "unfinished tilegen product"
_NOTHING_YET = re.compile(rf"{re.escape(LOCK_NAME)}|manifest\.json\.[0-9a-f]{{32}}{re.escape(TEMPORARY_SUFFIX)}")


@dataclass(frozen=True, kw_only=True)
class Partial:
    """Where a product grows until it is complete.

    Args:
        target: path of the finished product.
        product: what is being written.
        options: what else changes the bytes of the finished product, such as the compression.
    """

    target: Path
    product: Product
    options: dict[str, str]

    @property
    def folder(self) -> Path:
        """The folder beside the target."""
        return self.target.with_name(f"{self.target.name}.partial")

    def claim(self, *, overwrite: bool) -> None:
        """Create the folder, or take over that of an interrupted run of the same product. Sweeps leftovers.

        Raises:
            OutputError: the folder belongs to another run and `overwrite` is false, another run is at it right now, it
                is no tilegen folder at all, or it cannot be written.
        """
        if not self.target.parent.is_dir():
            raise OutputError(f"The folder {self.target.parent} does not exist. Create it, or give another path.")
        with explained(self.folder):
            manifest = self._manifest_of_folder()
            is_foreign = manifest is not None and not self._is_same_run(manifest)
            if manifest is not None and is_foreign and not overwrite:
                raise OutputError(self._foreign(manifest))
            self.folder.mkdir(exist_ok=True)
            claim(self.folder)
            if is_foreign:
                self._empty()
            self._write_manifest(overwrite=overwrite)
            for leftover in list(self.folder.rglob(f"*{TEMPORARY_SUFFIX}")):
                _delete(leftover)

    def require(self) -> None:
        """Raises OutputError unless the folder is there and belongs to this product."""
        manifest = self._manifest_of_folder()
        if manifest is None or not self._is_same_run(manifest):
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

    def _manifest_of_folder(self) -> dict[str, Any] | None:
        """The manifest, or None where there is no folder, or one that nothing was written to yet.

        Raises:
            OutputError: something else is in the way.
        """
        path = self.folder / MANIFEST_NAME
        if not self.folder.exists() and not self.folder.is_symlink():
            return None
        if self.folder.is_dir() and not self.folder.is_symlink():
            if all(_NOTHING_YET.fullmatch(entry.name) for entry in self.folder.iterdir()):
                return None
            manifest = _read_json(path)
            if _is_manifest(manifest):
                return manifest
        raise OutputError(f"{self.folder} is in the way and was not made by tilegen. Move it, or give another path.")

    def _is_same_run(self, manifest: dict[str, Any]) -> bool:
        return bool(manifest["fingerprint"] == self.product.fingerprint and manifest["options"] == self.options)

    def _foreign(self, manifest: dict[str, Any]) -> str:
        described = {**_described(self.product), "options": self.options}
        theirs = {**manifest["product"], "options": manifest["options"]}
        differing = ", ".join(name for name in described if described[name] != theirs.get(name)) or "layout"
        return (
            f"{self.folder} is an unfinished product of another run ({manifest['fingerprint'][:12]}, "
            f"this one is {self.product.fingerprint[:12]}; different: {differing}). "
            "Finish that run, give another path or --overwrite."
        )

    def _write_manifest(self, *, overwrite: bool) -> None:
        manifest = {
            "kind": _KIND,
            "fingerprint": self.product.fingerprint,
            "overwrite": overwrite,
            "options": self.options,
            "product": _described(self.product),
        }
        with new_file(self.folder / MANIFEST_NAME) as file:
            file.write(json.dumps(manifest, indent=2).encode())
        sync_folder(self.folder)


def _is_manifest(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("kind") == _KIND
        and isinstance(value.get("fingerprint"), str)
        and all(isinstance(value.get(key), dict) for key in ("options", "product"))
    )


def _described(product: Product) -> dict[str, Any]:
    """The product in words that survive JSON unchanged."""
    extent = product.extent
    described = {
        "extent": [extent.row0, extent.col0, extent.row1, extent.col1],
        "crs": product.georef.crs,
        "res": product.georef.res,
        "bands": list(product.band_names),
        "chunk_px": product.chunk_px,
        "shard_px": product.shard_px,
        **{f"provenance.{key}": value for key, value in product.provenance.items()},
    }
    return dict(json.loads(json.dumps(described)))


def _read_json(path: Path) -> Any:
    """The content of a JSON file, or None if there is none or it is not JSON."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, IsADirectoryError, ValueError):
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
    if not _is_manifest(_read_json(target.with_name(f"{target.name}.partial") / MANIFEST_NAME)):
        raise OutputError(f"There is nothing to resume at {target}. Leave --resume out to begin.")


def require_all_shards(product: Product, finished: set[tuple[int, int]], target: Path | str) -> None:
    """Raises OutputError unless every shard of the product is finished."""
    missing = [shard for shard in product.shard_indices if shard not in finished]
    if missing:
        raise OutputError(
            f"{target} is incomplete: {len(missing)} of {len(product.shard_indices)} shards are missing, "
            f"the first is {missing[0]}. Run the same command again."
        )
