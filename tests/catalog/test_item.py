"""STAC items: valid by the official schema, true to the product, and never in the way of anything."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
from affine import Affine

from tilegen.catalog.item import check_item, item_of, save_item
from tilegen.errors import InputError, OutputError
from tilegen.geometry.georef import GeoReference
from tilegen.testing.sinks import address_pixels, address_product, write_product
from tilegen.tiling.sinks import open_sink

PROVENANCE = {
    "synthetic": True,
    "software": "tilegen 0.1.0",
    "torch": "2.13.0+cpu",
    "seed": 7,
    "model_digest": "00ff",
    "prior": {"scales": [1, 2]},
    "licence": "CC BY-SA 4.0",
    "attribution": "SpaceNet Partners",
}


@pytest.fixture
def product():
    return address_product(150, 133, provenance=PROVENANCE)


@pytest.fixture(params=["a.tif", "a.zarr"])
def path(tmp_path, product, request):
    write_product(open_sink(tmp_path / request.param, product))
    return tmp_path / request.param


def test_an_item_is_valid_and_says_what_the_product_says(path, product):
    """By the schema of STAC 1.1 that pystac brings; those of extensions are not there without a network."""
    item = item_of(path)
    assert pystac.validation.validate_dict(item, extensions=[])
    said = item["properties"]
    assert (said["synthetic"], said["tilegen:seed"], said["tilegen:model_digest"]) == (True, 7, "00ff")
    assert said["tilegen:prior"] == {"scales": [1, 2]}
    assert said["license"] == "CC-BY-SA-4.0"
    assert [provider["name"] for provider in said["providers"]] == ["tilegen 0.1.0", "SpaceNet Partners"]
    assert said["processing:software"] == {"tilegen": "0.1.0", "torch": "2.13.0+cpu"}
    assert "Not an observation" in said["processing:lineage"]
    assert (said["proj:code"], said["proj:shape"], said["gsd"]) == ("EPSG:32633", [150, 133], 0.5)
    assert said["proj:transform"] == list(product.georef.transform(product.extent))[:6]
    assert said["proj:bbox"] == list(product.georef.bounds(product.extent))
    assert [band["name"] for band in item["assets"]["data"]["bands"]] == ["red", "green", "blue"]
    assert item["assets"]["data"]["href"] == f"./{path.name}"
    west, south, east, north = item["bbox"]
    assert 10.5 < west < east < 10.6
    assert -0.001 < south < north < 0.001


def test_a_degree_is_as_long_as_everywhere_else(tmp_path, product):
    georef = GeoReference(crs="EPSG:4326", res=0.001)
    write_product(open_sink(tmp_path / "a.tif", replace(product, georef=georef)))
    said = item_of(tmp_path / "a.tif")["properties"]
    assert said["gsd"] == pytest.approx(0.001 * georef.unit_m, rel=1e-5) == pytest.approx(111.195, rel=1e-5)


def test_the_checksum_and_the_statistics_are_those_of_the_file(tmp_path, product):
    write_product(open_sink(tmp_path / "a.tif", product))
    asset, content = item_of(tmp_path / "a.tif")["assets"]["data"], (tmp_path / "a.tif").read_bytes()
    assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert asset["file:size"] == len(content)
    assert (asset["data_type"], asset["nodata"]) == ("uint8", 0)
    for band, values in zip(asset["bands"], address_pixels(product.extent), strict=True):
        assert band["statistics"]["mean"] == pytest.approx(values.mean())
        assert band["statistics"]["maximum"] == values.max()


def test_what_is_lossy_or_scaled_says_so(tmp_path, product):
    write_product(open_sink(tmp_path / "a.tif", product, {"compression": "jpeg", "resampling": "nearest"}))
    item = item_of(tmp_path / "a.tif")
    assert "nodata" not in item["assets"]["data"]
    assert "statistics" not in item["assets"]["data"]["bands"][0]
    assert item["properties"]["tilegen:overview_resampling"] == "nearest"
    deep = replace(product, dtype="uint16", scales=(0.1, 0.2, 0.3), offsets=(1.0, 2.0, 3.0))
    for name in ("b.tif", "b.zarr"):
        write_product(open_sink(tmp_path / name, deep), address_pixels(deep.extent).astype(np.uint16))
        item = item_of(tmp_path / name)
        assert pystac.validation.validate_dict(item, extensions=[])
        bands = item["assets"]["data"]["bands"]
        assert [band["raster:scale"] for band in bands] == [0.1, 0.2, 0.3]
        assert [band["raster:offset"] for band in bands] == [1.0, 2.0, 3.0]
        assert item["assets"]["data"]["data_type"] == "uint16"


@pytest.mark.parametrize(
    ("crs", "res", "corner", "kind", "box"),
    [
        ("EPSG:3857", 1.0, (10, 10), "Polygon", (0, -0.0014, 0.0012, 0)),
        ("EPSG:32660", 100.0, (-2000, 8300), "MultiPolygon", (179.96, 1.67, -179.92, 1.81)),
        ("EPSG:3413", 1000.0, (-70, -60), "Polygon", (-180, 89.0, 180, 90)),
        ("EPSG:4326", 0.01, (-9000, 0), "Polygon", (0, 88.5, 1.33, 90)),
        ("+proj=laea +lat_0=10 +lon_0=-81", 10.0, (0, 0), "Polygon", (-81, 9.98, -80.98, 10)),
    ],
)
def test_places_are_where_they_are(tmp_path, product, crs, res, corner, kind, box):
    """Also across the antimeridian, around a pole, and in a CRS without a code."""
    extent = product.extent.shifted(corner[0] - product.extent.row0, corner[1] - product.extent.col0)
    placed = replace(product, georef=GeoReference(crs=crs, res=res), extent=extent)
    write_product(open_sink(tmp_path / "a.tif", placed))
    item = item_of(tmp_path / "a.tif")
    assert pystac.validation.validate_dict(item, extensions=[])
    assert item["geometry"]["type"] == kind
    np.testing.assert_allclose(item["bbox"], box, atol=0.1)
    if not crs.startswith("EPSG"):
        assert item["properties"]["proj:code"] is None
        assert rasterio.crs.CRS.from_wkt(item["properties"]["proj:wkt2"]).to_dict()["proj"] == "laea"


def test_source_date_epoch_makes_items_repeatable(path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert item_of(path) == item_of(path)
    assert item_of(path)["properties"]["datetime"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InputError, match="'yesterday', which is no time"):
        item_of(path)


def test_an_item_lies_beside_its_product_and_pystac_opens_it(path):
    where = save_item(path)
    assert where == f"{path}.stac.json"
    item = pystac.Item.from_file(where)
    assert item.assets["data"].get_absolute_href() == str(path)


def test_what_lies_in_the_place_of_an_item_is_kept(path):
    place = path.with_name(path.name + ".stac.json")
    place.write_text("my thesis")
    for overwrite, said in ((False, "exists"), (True, "is not a STAC item")):
        with pytest.raises(OutputError, match=said):
            check_item(path, overwrite=overwrite)
    assert place.read_text() == "my thesis"
    place.unlink()
    save_item(path)
    with pytest.raises(OutputError, match=r"exists\. Move it, or give --overwrite\."):
        save_item(path)
    save_item(path, overwrite=True)
    assert json.loads(place.read_text())["type"] == "Feature"


def test_an_image_of_somebody_else_gets_no_item(tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8", crs="EPSG:4326",
        transform=Affine(1, 0, 0, 0, -1, 9),
    ):  # fmt: skip
        pass
    with pytest.raises(InputError, match="does not say what made it"):
        save_item(tmp_path / "a.tif")


def test_what_is_no_image_gets_no_item(tmp_path):
    (tmp_path / "a.tif").write_text("my thesis")
    (tmp_path / "a.zarr").mkdir()
    for name in ("a.tif", "a.zarr"):
        with pytest.raises(InputError, match=f"{name} is n"):
            save_item(tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "a.zarr"]


def test_a_store_whose_transform_was_cut_short_gets_no_item(tmp_path, product):
    path = tmp_path / "a.zarr"
    write_product(open_sink(path, product))
    said = json.loads((path / "zarr.json").read_text())
    del said["attributes"]["spatial:transform"][4:]
    (path / "zarr.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"a\.zarr is not a Zarr store that tilegen finished"):
        item_of(path)
