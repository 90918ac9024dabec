"""What an unfinished product says of itself, so that another run neither adds to it nor throws it away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tilegen.tiling.product import Product

MANIFEST_NAME = "manifest.json"
_KIND = "unfinished tilegen product"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of a run.

    Args:
        product: what is being written.
        options: what else changes the bytes of the finished product, such as the compression.
    """

    product: Product
    options: dict[str, str]

    def content(self, *, overwrite: bool) -> bytes:
        """The JSON to be kept beside the unfinished product.

        Args:
            overwrite: whether the run may replace a product that is there.
        """
        manifest = {
            "kind": _KIND,
            "fingerprint": self.product.fingerprint,
            "overwrite": overwrite,
            "options": self.options,
            "product": _described(self.product),
        }
        return json.dumps(manifest, indent=2).encode()

    def is_of_same_run(self, found: dict[str, Any]) -> bool:
        """Whether `found` speaks of the same product, written in the same way."""
        return bool(found["fingerprint"] == self.product.fingerprint and found["options"] == self.options)

    def refusal(self, place: object, found: dict[str, Any]) -> str:
        """Why the unfinished product at `place`, of which `found` speaks, is left alone."""
        described = {**_described(self.product), "options": self.options}
        theirs = {**found["product"], "options": found["options"]}
        differing = ", ".join(name for name in described if described[name] != theirs.get(name)) or "layout"
        return (
            f"{place} is an unfinished product of another run ({found['fingerprint'][:12]}, "
            f"this one is {self.product.fingerprint[:12]}; different: {differing}). "
            "Finish that run, give another path or --overwrite."
        )


def parsed(content: bytes) -> dict[str, Any] | None:
    """The manifest in `content`, or None if it is something else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    is_manifest = (
        isinstance(value, dict)
        and value.get("kind") == _KIND
        and isinstance(value.get("fingerprint"), str)
        and all(isinstance(value.get(key), dict) for key in ("options", "product"))
    )
    return value if is_manifest else None


def _described(product: Product) -> dict[str, Any]:
    """The product in words that survive JSON unchanged."""
    extent = product.extent
    described = {
        "extent": [extent.row0, extent.col0, extent.row1, extent.col1],
        "crs": product.georef.crs,
        "res": product.georef.res,
        **({"anchor": list(product.georef.anchor)} if product.georef.anchor != (0.0, 0.0) else {}),
        "bands": list(product.band_names),
        "chunk_px": product.chunk_px,
        "shard_px": product.shard_px,
        **{f"provenance.{key}": value for key, value in product.provenance.items()},
    }
    return dict(json.loads(json.dumps(described)))
