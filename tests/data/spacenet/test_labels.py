"""Densities against exact areas, closed forms and each other; damaged labels; and none at all."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform as warp_coordinates
from shapely.geometry import LineString, MultiPolygon, Polygon, box, mapping

from tilegen.data.spacenet.find import SpaceNetChip, find_spacenet
from tilegen.data.spacenet.labels import DEFAULT_NUM_LANES, LANE_WIDTH_M, coverage, label_densities
from tilegen.errors import DataError
from tilegen.testing.spacenet import BUILDING, ROUNDS, write_spacenet

REAL = Path(__file__).parents[4] / "shared" / "data" / "spacenet_shared_fixtures.zip"

UTM = "EPSG:32616"


def densities(chip: SpaceNetChip) -> np.ndarray | None:
    """On the chip's own grid."""
    with rasterio.open(chip.source.path) as file:
        return label_densities(chip, shape=file.shape, transform=file.transform, crs=file.crs.to_string())


def only_chip(root: Path, name: str, **options: Any) -> SpaceNetChip:
    write_spacenet(root, name, num_chips=1, **options)
    return find_spacenet(root)[0][0]


def labelled(root: Path, *features: tuple[Any, dict[str, Any]], crs: str | None = None) -> SpaceNetChip:
    """A chip of SN8, whose buildings and roads are in one file, with other shapes in it."""
    chip = only_chip(root, "SN8")
    record: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": properties, "geometry": shape if shape is None else mapping(shape)}
            for shape, properties in features
        ],
    }
    if crs is not None:
        record["crs"] = {"type": "name", "properties": {"name": crs}}
    chip.labels[0].path.write_text(json.dumps(record))
    return chip


# Coverage


points = st.tuples(st.integers(-300, 1100), st.integers(-300, 900)).map(lambda point: (point[0] / 100, point[1] / 100))


@given(
    outlines=st.lists(st.lists(points, min_size=3, max_size=7), min_size=1, max_size=3),
    res=st.sampled_from([0.3, 1.0, 7.0]),
    corner=st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)),
)
@settings(max_examples=60)
def test_coverage_is_the_exact_area_but_where_outlines_run(
    outlines: list[list[tuple[float, float]]], res: float, corner: tuple[int, int]
) -> None:
    """Of the sixteen parts of a pixel, only those that an outline touches can be counted wrongly."""
    rows, cols = 6, 8
    transform = Affine(res, 0.0, float(corner[0]), 0.0, -res, float(corner[1]))
    hulls = [shapely.MultiPoint(outline).convex_hull for outline in outlines]
    shapes = [hull for hull in hulls if hull.geom_type == "Polygon" and hull.area > 1e-6]
    placed = [shapely.affinity.affine_transform(shape, (res, 0, 0, -res, *corner)) for shape in shapes]
    counted = coverage(placed, shape=(rows, cols), transform=transform) / 255
    union = shapely.union_all(shapes)
    outline = shapely.union_all([shape.boundary for shape in shapes])
    row, col = np.mgrid[: 4 * rows, : 4 * cols] / 4
    unsure = shapely.dwithin(shapely.box(col, row, col + 0.25, row + 0.25), outline, 1e-6)
    row, col = np.mgrid[:rows, :cols]
    exact = shapely.area(shapely.intersection(shapely.box(col, row, col + 1, row + 1), union))
    bound = unsure.reshape(rows, 4, cols, 4).mean(axis=(1, 3)) + 0.5 / 255 + 1e-6
    assert (abs(counted - exact) <= bound).all()


def test_the_errors_of_coverage_even_out() -> None:
    """Sampling points sit in the middle of their part of a pixel, so that large shapes are not too large or small."""
    circle = shapely.Point(60.0, -60.0).buffer(47.3, quad_segs=64)
    counted = coverage([circle], shape=(120, 120), transform=Affine(1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    assert counted.sum() / 255 == pytest.approx(circle.area, rel=5e-4)


def test_overlaps_count_once_and_holes_stay_holes() -> None:
    left, right = box(0, 0, 4, 4), box(2, 0, 6, 4)
    ring = Polygon(box(8, 0, 12, 4).exterior.coords, [box(9, 1, 11, 3).exterior.coords])
    counted = coverage([left, right, ring], shape=(4, 12), transform=Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    expected = np.full((4, 12), 255)
    expected[:, 6:8] = expected[1:3, 9:11] = 0
    np.testing.assert_array_equal(counted, expected)


def test_shares_are_rounded_to_the_nearest_code() -> None:
    parts = [box(0, 0, 0.25, 0.25), box(1, 0, 1.5, 1), box(2, 0, 3, 0.75)]
    counted = coverage(parts, shape=(1, 4), transform=Affine.identity())
    assert counted.tolist() == [[16, 128, 191, 0]]


def test_a_tall_raster_is_the_stack_of_its_pieces() -> None:
    """It is made in strips; a shape lies across where they meet."""
    shape = Polygon([(0, 0), (7, 300), (3, 1030), (8, 2500), (1, 2400)])
    whole = coverage([shape], shape=(2500, 8), transform=Affine.identity())
    pieces = [coverage([shape], shape=(100, 8), transform=Affine(1, 0, 0, 0, 1, row)) for row in range(0, 2500, 100)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


# Chips of every round


@pytest.mark.parametrize("name", ROUNDS)
def test_labels_lie_where_they_were_drawn(name: str, tmp_path: Path) -> None:
    """Whatever the CRS of the chip and of its labels. A building of a quarter of the side; the road is seven metres."""
    chip = only_chip(tmp_path, name)
    found = densities(chip)
    assert found is not None
    buildings, roads = found
    top, left, bottom, right = (round(64 * share) for share in BUILDING)
    expected = np.zeros((64, 64))
    if "buildings" in chip.label_kinds:
        expected[top:bottom, left:right] = 255
    np.testing.assert_allclose(buildings, expected, atol=1)
    assert (roads.max() > 0) == ("roads" in chip.label_kinds)
    if "roads" in chip.label_kinds:
        # 2.7e-6 degrees of latitude are 0.3 m: the road covers 23.3 rows around row 48.
        covered = roads.mean(axis=1) / 255
        assert covered[37:59].min() == 1
        assert covered[:36].max() == covered[60:].max() == 0


def test_another_grid_shows_the_same_ground(tmp_path: Path) -> None:
    """Half the resolution, moved by whole pixels: means of 2 x 2."""
    chip = only_chip(tmp_path, "SN6")
    fine = densities(chip)
    assert fine is not None
    with rasterio.open(chip.source.path) as file:
        t = file.transform
    coarse = label_densities(
        chip, shape=(20, 30), transform=Affine(2 * t.a, 0, t.c + 8 * t.a, 0, 2 * t.e, t.f + 10 * t.e), crs="EPSG:32631"
    )
    expected = fine[:, 10:50, 8:].reshape(2, 20, 2, 28, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse[:, :, :28], expected, atol=1)
    assert coarse[:, :, 28:].max() == 0


def test_a_geographic_chip_on_a_grid_in_metres_keeps_its_areas(tmp_path: Path) -> None:
    chip = only_chip(tmp_path, "SN2")
    (x,), (y,) = warp_coordinates("EPSG:4326", "EPSG:32611", *([number] for number in ROUNDS["SN2"].corner))
    found = label_densities(chip, shape=(80, 80), transform=Affine(0.5, 0, x - 5, 0, -0.5, y + 5), crs="EPSG:32611")
    assert found is not None
    # One degree of latitude and of longitude at 36.24 degrees north on WGS 84.
    latitude, longitude = 110_968.0, 89_880.0
    area_m2 = (16 * 2.7e-6) ** 2 * latitude * longitude
    assert found[0].sum() / 255 * 0.25 == pytest.approx(area_m2, rel=0.01)


def test_unlabelled_is_not_empty(tmp_path: Path) -> None:
    assert densities(only_chip(tmp_path / "a", "SN2", label_kinds=[])) is None
    nothing = densities(labelled(tmp_path / "b"))
    assert nothing is not None
    assert nothing.max() == 0


# Buildings


HOUSE = box(6.90003, 50.49991, 6.90009, 50.49997)


def test_features_without_ground_are_passed_over(tmp_path: Path) -> None:
    chip = labelled(tmp_path, (None, {}), (Polygon(), {}), (HOUSE, {}), (shapely.Point(6.9, 50.4999), {}))
    plain = labelled(tmp_path / "plain", (HOUSE, {}))
    np.testing.assert_array_equal(densities(chip), densities(plain))


def test_heights_are_of_no_account(tmp_path: Path) -> None:
    chip = labelled(tmp_path, (shapely.force_3d(HOUSE, z=41.5), {}))
    plain = labelled(tmp_path / "plain", (HOUSE, {}))
    np.testing.assert_array_equal(densities(chip), densities(plain))


def test_parts_that_overlap_make_no_hole(tmp_path: Path) -> None:
    chip = labelled(tmp_path, (MultiPolygon([HOUSE, HOUSE.buffer(1e-5)]), {}))
    plain = labelled(tmp_path / "plain", (HOUSE.buffer(1e-5), {}))
    np.testing.assert_array_equal(densities(chip), densities(plain))


@pytest.mark.parametrize("name", ["SN1", "SN2 challenge", "SN6"])
def test_a_table_in_pixels_says_the_same_as_geojson(name: str, tmp_path: Path) -> None:
    """Of the second chip, so that a wrong row or corner would show."""
    write_spacenet(tmp_path / "a", name)
    chips, _ = find_spacenet(tmp_path / "a")
    from_geojson = densities(chips[1])
    table = {
        "SN1": "AOI_1_RIO_polygons_solution_3band.csv",
        "SN2 challenge": "AOI_2_Vegas_Train_Building_Solutions.csv",
        "SN6": "SN6_Train_AOI_11_Rotterdam_Buildings.csv",
    }[name]
    ids = [f"{'AOI_2_Vegas_' * (name == 'SN2 challenge')}{chip.image_id}" for chip in chips]
    write_spacenet(tmp_path / "b", name, label_kinds=[])
    (tmp_path / "b" / table).write_text(
        "ImageId,BuildingId,PolygonWKT_Pix\n"
        f'{ids[0]},1,"POLYGON ((1 1 0,60 1 0,60 60 0,1 1 0))"\n'
        f'{ids[1]},1,"POLYGON ((16 16 0,32 16 0,32 32 0,16 32 0,16 16 0))"\n'
        f"{ids[1]},2,POLYGON EMPTY\n"
    )
    chips, _ = find_spacenet(tmp_path / "b")
    assert chips[1].labels[0].path.suffix == ".csv"
    np.testing.assert_allclose(densities(chips[1]), from_geojson, atol=1)


def test_a_polygon_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    write_spacenet(tmp_path, "SN2 challenge", label_kinds=[])
    table = tmp_path / "AOI_2_Vegas_Train_Building_Solutions.csv"
    table.write_text("ImageId,PolygonWKT_Pix\nAOI_2_Vegas_img1,POLYGON ((1 2\n")
    chips, _ = find_spacenet(tmp_path)
    with pytest.raises(
        DataError, match=r"AOI_2_Vegas_Train_Building_Solutions\.csv: aoi_2_vegas_img1 has no footprints"
    ):
        densities(chips[0])


# Roads


@pytest.mark.parametrize(
    ("properties", "lanes"),
    [
        ({"lane_number": 4}, 4),
        ({"lane_number": "3"}, 3),
        ({"lane_numbe": 1}, 1),
        ({"lanes": "6", "inferred_speed_mph": 45.0}, 6),
        ({"lane_number": None, "lanes": 5}, 5),
        ({}, DEFAULT_NUM_LANES),
        ({"lanes": "two"}, DEFAULT_NUM_LANES),
        ({"lanes": -1}, DEFAULT_NUM_LANES),
        ({"lanes": "nan"}, DEFAULT_NUM_LANES),
        ({"lanes": 9999}, DEFAULT_NUM_LANES),
        ({"lanes": 10**400}, DEFAULT_NUM_LANES),
    ],
)
def test_a_road_is_as_wide_as_its_lanes(properties: dict[str, Any], lanes: int, tmp_path: Path) -> None:
    """Far from the equator, from south-west to north-east: 100 m of it within the raster."""
    side_m = 100 / math.sqrt(2)
    road = LineString([(733_500, 3_724_500), (733_700, 3_724_700)])
    chip = labelled(tmp_path, (road, properties), crs="urn:ogc:def:crs:EPSG::32616")
    shape = (283, 283)
    res = side_m / 283
    corner = (733_600 - side_m / 2, 3_724_600 + side_m / 2)
    found = label_densities(chip, shape=shape, transform=Affine(res, 0, corner[0], 0, -res, corner[1]), crs=UTM)
    assert found is not None
    # The strip is cut by the corners of the raster: half a square of its width is lost at either end.
    width_m = lanes * LANE_WIDTH_M
    area_m2 = 100 * width_m - width_m**2 / 2
    assert found[1].sum() / 255 * res**2 == pytest.approx(area_m2, rel=0.005)
    assert found[0].max() == 0


def test_roads_on_degrees_are_true_to_scale(tmp_path: Path) -> None:
    """At 60 degrees north a degree of longitude is half a degree of latitude: east-west and north-south are as wide."""
    crossing = (LineString([(24.99, 60), (25.01, 60)]), {}), (LineString([(25, 59.99), (25, 60.01)]), {})
    for number, road in enumerate(crossing):
        chip = labelled(tmp_path / str(number), road)
        res = 1e-6
        found = label_densities(
            chip, shape=(200, 200), transform=Affine(res, 0, 25 - 1e-4, 0, -res, 60 + 1e-4), crs="EPSG:4326"
        )
        assert found is not None
        metres = (111_412.0, 55_800.0)[number]  # a degree across the road, on WGS 84
        share = DEFAULT_NUM_LANES * LANE_WIDTH_M / metres / (200 * res)
        assert found[1].mean() / 255 == pytest.approx(min(share, 1), rel=0.01)


# Damage


def test_a_label_file_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    chip = only_chip(tmp_path, "SN2")
    path = chip.labels[0].path
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"^{path.name}: is truncated or no GeoJSON of labels"):
            densities(chip)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"features": 7}',
        b'{"features": [7]}',
        b'{"features": [{"geometry": {"type": "Blob", "coordinates": []}}]}',
        b'{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}}]}',
        b'{"features": [{"geometry": {"type": "Polygon", "coordinates": [[1, 2, 3]]}}]}',
        b'{"features": [{"geometry": {"type": "Polygon"}}]}',
        b'{"features": [{"geometry": {"type": "LineString", "coordinates": [["a", "b"], [1, 2]]}}]}',
        b'{"features": [{"geometry": {"type": "LineString", "coordinates": [[NaN, 1], [1, 2]]}}]}',
        b'{"features": [{"geometry": {"type": "LineString", "coordinates": [[1e999, 1], [1, 2]]}}]}',
        b'{"features": [], "crs": {"properties": {"name": "/etc/passwd"}}}',
        b'{"features": [], "crs": {"properties": {"name": "+proj=longlat +datum=WGS84 +type=crs"}}}',
        b'{"features": [], "crs": 4326}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_geojson_of_labels_is_refused_by_name(text: bytes, tmp_path: Path) -> None:
    chip = only_chip(tmp_path, "SN2")
    chip.labels[0].path.write_bytes(text)
    with pytest.raises(DataError, match=rf"^{chip.labels[0].path.name}: "):
        densities(chip)


@pytest.mark.parametrize(
    ("crs", "place"), [("EPSG:999999", (6, 50)), (None, (500, 95)), ("urn:ogc:def:crs:EPSG::32616", (1e12, 1e12))]
)
def test_labels_of_an_unknown_crs_or_of_no_place_are_refused(
    crs: str | None, place: tuple[float, float], tmp_path: Path
) -> None:
    chip = labelled(tmp_path, (shapely.Point(place).buffer(1), {}), crs=crs)
    with pytest.raises(DataError, match=r"0_1_63\.geojson: its coordinates do not fit EPSG:32632"):
        label_densities(chip, shape=(8, 8), transform=Affine.identity(), crs="EPSG:32632")


# Original files


def test_footprints_of_atlanta_keep_their_area(tmp_path: Path) -> None:
    """An original chip of SN4 and its labels, under the names that they had before somebody gave them others."""
    if not REAL.exists():
        pytest.skip("the original chips are not beside the repository")
    tile = "733601_3724689"
    image = tmp_path / f"PAN/PAN_Atlanta_nadir7_catid_1030010003D22F00_{tile}.tif"
    label = tmp_path / f"geojson/spacenet-buildings/spacenet-buildings_{tile}.geojson"
    with zipfile.ZipFile(REAL) as archive:
        for path, member in ((image, "PAN/sample_geotiff.tif"), (label, "geojson/geotiff_labels.geojson")):
            path.parent.mkdir(parents=True)
            path.write_bytes(archive.read(f"original/SN4_AOI_6_Atlanta/{member}"))
    (chip,), rejects = find_spacenet(tmp_path)
    found = densities(chip)
    assert rejects == []
    assert found is not None
    footprints = shapely.from_geojson(label.read_text())
    inside = shapely.union_all(shapely.get_parts(footprints)).intersection(box(733601, 3724689, 734051, 3725139))
    assert inside.area > 5000
    assert found[0].sum() / 255 * 0.25 == pytest.approx(inside.area, rel=1e-3)
    rows, cols = np.nonzero(found[0])
    west, south, east, north = inside.bounds
    np.testing.assert_allclose([cols.min(), cols.max()], [(west - 733601) * 2, (east - 733601) * 2], atol=1)
    np.testing.assert_allclose([rows.min(), rows.max()], [(3725139 - north) * 2, (3725139 - south) * 2], atol=1)
