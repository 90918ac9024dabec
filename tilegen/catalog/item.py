"""The STAC item of a product: STAC 1.1 with the extensions projection, raster, processing and file.

https://github.com/radiantearth/stac-spec/tree/v1.1.0 and https://stac-extensions.github.io
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyproj import CRS
from pystac import Asset, Item, Provider, ProviderRole

from tilegen.atomic import write_atomically
from tilegen.catalog.facts import Band, Facts, checksum, read_facts
from tilegen.catalog.place import footprint
from tilegen.errors import InputError, OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.tiling.finished import plain
from tilegen.tiling.sinks.remote.address import Address, is_url

SUFFIX = ".stac.json"

_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_SPDX = {"CC BY-SA 4.0": "CC-BY-SA-4.0", "CC BY 4.0": "CC-BY-4.0", "CC0 1.0": "CC0-1.0"}
_LINEAGE = "Drawn by a generative model from a seed. Not an observation: it shows no real place."
_SAID_ELSEWHERE = {"synthetic", "software", "torch", "licence", "attribution"}
_NAMES = (
    *("seed", "scale_seeds", "model_digest", "truncation_psi", "prior", "rng_version", "tile_px"),
    *("device", "dtype", "engine", "machine", "torch", "software"),
)


def item_path(product: str | Path) -> str:
    """Where the item of a product lies: beside it."""
    return os.fspath(product).rstrip("/") + SUFFIX


def check_item(product: str | Path, *, overwrite: bool) -> None:
    """Pass if the item of a product may be written.

    Raises:
        OutputError: there is one, or something else, in its place.
    """
    found = _read(item_path(product))
    if found is None:
        return
    if not overwrite:
        raise OutputError(f"{item_path(product)} exists. Move it, or give --overwrite.")
    try:
        is_item = json.loads(found).get("type") == "Feature"
    except (ValueError, AttributeError, RecursionError):
        is_item = False
    if not is_item:
        raise OutputError(f"{item_path(product)} is not a STAC item. It will not be overwritten; move it.")


def save_item(product: str | Path, *, overwrite: bool = False, preview: Path | None = None) -> str:
    """Write the item of a finished product beside it. Reads all of a GeoTIFF, for its checksum.

    Args:
        product: on a disk, or s3://BUCKET/NAME.
        overwrite: whether an item that is there may be replaced.
        preview: a PNG of it.

    Returns:
        Where the item is.

    Raises:
        InputError: it is no product of tilegen. OutputError: the item exists or cannot be written.
    """
    check_item(product, overwrite=overwrite)
    path = item_path(product)
    content = json.dumps(item_of(product, preview=preview), indent=2, ensure_ascii=False).encode() + b"\n"
    if is_url(path):
        from tilegen.tiling.sinks.remote.bucket import opened_bucket

        address = Address.parse(os.fspath(product).rstrip("/"))
        opened_bucket(address.bucket).put(address.key + SUFFIX, content)
    else:
        write_atomically(Path(path), content)
    return path


def item_of(product: str | Path, *, preview: Path | None = None) -> dict[str, Any]:
    """The item of a finished product, JSON-serialisable.

    A synthetic image was taken at no time: `datetime` is that of the item, or of SOURCE_DATE_EPOCH.

    Raises:
        InputError: it is no product of tilegen. OutputError: an object store refuses.
    """
    facts = read_facts(product)
    geometry, bbox = footprint(facts.crs, facts.bounds)
    made = _made()
    item = Item(
        id=facts.name.rpartition(".")[0] or facts.name,
        geometry=geometry,
        bbox=bbox,
        datetime=made,
        properties={"title": f"Synthetic satellite imagery: {facts.name}", **_properties(facts)},
        stac_extensions=list(_EXTENSIONS),
    )
    item.common_metadata.created = made
    item.common_metadata.providers = _providers(facts)
    item.add_asset("data", _data(facts, product))
    if preview is not None and preview.absolute().parent == Path(os.fspath(product)).absolute().parent:
        picture = Asset(href=f"./{preview.name}", media_type="image/png", roles=["overview"], title="Preview")
        item.add_asset("preview", picture)
    described: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return described


def _made() -> datetime:
    said = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.now(UTC).replace(microsecond=0) if said is None else datetime.fromtimestamp(int(said), UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH is {said!r}, which is no time in seconds. Unset it.") from None


def _properties(facts: Facts) -> dict[str, Any]:
    said = {name: plain(facts.said[name]) for name in _NAMES if name in facts.said}
    software = str(said.get("software", "tilegen ")).partition(" ")
    crs = CRS.from_user_input(facts.crs)
    authority = crs.to_authority(min_confidence=100)
    licence = str(facts.said.get("licence") or "")
    unit_m = GeoReference(crs=facts.crs, res=facts.transform[0]).unit_m
    return {
        "description": f"{_LINEAGE} Licence: {licence or 'not stated'}.",
        "synthetic": True,
        "license": _SPDX.get(licence, "other"),
        "gsd": float(f"{facts.transform[0] * unit_m:.6g}"),
        "proj:code": ":".join(authority) if authority else None,
        **({} if authority else {"proj:wkt2": crs.to_wkt()}),
        "proj:shape": list(facts.shape),
        "proj:transform": list(facts.transform),
        "proj:bbox": list(facts.bounds),
        "processing:lineage": _LINEAGE,
        "processing:software": {software[0]: software[2], "torch": str(said.get("torch", ""))},
        "tilegen:overview_resampling": facts.resampling,
        **{f"tilegen:{name}": value for name, value in said.items() if name not in _SAID_ELSEWHERE},
    }


def _providers(facts: Facts) -> list[Provider]:
    roles = [ProviderRole.PRODUCER, ProviderRole.PROCESSOR]
    providers = [Provider(name=str(facts.said.get("software", "tilegen")), roles=roles)]
    attribution = facts.said.get("attribution")
    if attribution and attribution != "null":
        licensor = Provider(
            name=str(attribution), roles=[ProviderRole.LICENSOR], description="Imagery that the model learned from."
        )
        providers.append(licensor)
    return providers


def _data(facts: Facts, product: str | Path) -> Asset:
    """The product itself. A store of many objects has no checksum."""
    fields: dict[str, Any] = {
        "data_type": facts.dtype,
        "raster:sampling": "area",
        **({} if facts.nodata is None else {"nodata": facts.nodata}),
        "bands": [_band(band) for band in facts.bands],
    }
    if facts.zarr_format is None:
        fields["file:size"], fields["file:checksum"] = checksum(product)
    return Asset(
        href=f"./{facts.name}",
        title="Image",
        media_type=_COG if facts.zarr_format is None else "application/vnd+zarr",
        roles=["data"],
        extra_fields=fields,
    )


def _band(band: Band) -> dict[str, Any]:
    described: dict[str, Any] = {"name": band.name}
    if band.scale is not None:
        described |= {"raster:scale": band.scale, "raster:offset": band.offset}
    if band.statistics is not None:
        described["statistics"] = dict(band.statistics)
    return described


def _read(path: str) -> bytes | None:
    if not is_url(path):
        return Path(path).read_bytes() if Path(path).is_file() else None
    from tilegen.tiling.sinks.remote.bucket import opened_bucket

    address = Address.parse(path.removesuffix(SUFFIX))
    return opened_bucket(address.bucket).read(address.key + SUFFIX)
