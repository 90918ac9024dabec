"""AOIs from real files: GeoJSON, GeoPackage and Shapefile, in any CRS, whatever state they are in."""

import json

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer
from rasterio.features import geometry_mask
from rasterio.warp import transform_geom
from shapely.geometry import mapping, shape

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.utm import utm_crs
from tilegen.tiling.aoi_file import read_aoi

DRIVERS = {".geojson": "GeoJSON", ".gpkg": "GPKG", ".shp": "ESRI Shapefile"}
UTM33 = GeoReference(crs="EPSG:32633", res=2.0)
DEGREES = GeoReference(crs="EPSG:4326", res=1e-5)
BERLIN = shapely.Polygon(
    [(13.40, 52.50), (13.412, 52.5005), (13.413, 52.507), (13.405, 52.5085), (13.399, 52.505)],
    [[(13.404, 52.502), (13.408, 52.502), (13.408, 52.505), (13.404, 52.505)]],
)
ISLAND = shapely.box(13.4150, 52.501, 13.4165, 52.503)


@pytest.fixture
def save(tmp_path):
    """Writes shapes to a real file, and gives its name."""

    def saved(name, *shapes, crs="EPSG:4326", layer=None, append=False):
        path = tmp_path / name
        pyogrio.raw.write(
            path,
            geometry=np.array([shapely.to_wkb(one) if one is not None else None for one in shapes], object),
            field_data=[np.arange(len(shapes))],
            fields=["id"],
            crs=crs,
            driver=DRIVERS[path.suffix],
            geometry_type="Unknown" if path.suffix != ".shp" else shapes[0].geom_type,
            layer=layer,
            append=append,
        )
        return str(path)

    return saved


def reprojected(polygon, source, target):
    transformer = Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(polygon, lambda xy: np.column_stack(transformer.transform(*xy.T)))


@pytest.mark.parametrize("suffix", DRIVERS)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:25833"])
def test_every_format_in_any_crs_is_the_same_polygon(save, suffix, crs):
    """Parts and holes are kept; the mask is that of GDAL, which transforms and rasterises on its own."""
    shapes = [reprojected(one, "EPSG:4326", crs) for one in (BERLIN, ISLAND)]
    aoi = read_aoi(save(f"a{suffix}", *shapes, crs=crs)).on(UTM33)
    window = aoi.covering()
    theirs = [transform_geom(crs, UTM33.crs, mapping(one)) for one in shapes]
    mask = geometry_mask(theirs, window.shape, UTM33.transform(window), invert=True)
    differing = np.argwhere(aoi.mask(window) != mask)
    assert 0.4 < mask.mean() < 0.7
    assert len(differing) <= 2  # edges that are straight in degrees bend by a millimetre or two on 800 m
    edges = shapely.unary_union([shape(one).boundary for one in theirs])
    for row, col in differing:
        assert edges.distance(shapely.Point(UTM33.transform(window) @ (col + 0.5, row + 0.5))) < 0.02


def test_long_edges_are_bent_as_the_map_bends_them(save):
    """A parallel is no straight line in UTM: 40 m beside the chord in the middle of 50 km."""
    box = shapely.box(14.0, 60.0, 16.0, 60.1)
    aoi = read_aoi(save("a.geojson", box)).on(UTM33)
    edges = shapely.from_wkb(aoi.wkb).boundary
    lons = np.linspace(14.0, 16.0, 997)
    points = np.column_stack(
        Transformer.from_crs("EPSG:4326", UTM33.crs, always_xy=True).transform(lons, 60.0 + 0 * lons)
    )
    assert shapely.distance(edges, shapely.points(points)).max() < 0.1 * UTM33.res
    chord = shapely.linestrings(points[[0, -1]])
    assert shapely.distance(chord, shapely.points(points)).max() > 100 * UTM33.res


def test_heights_are_left_out(save, tmp_path):
    """GDAL gives a GeoJSON with heights a CRS of three axes."""
    rings = [[[x, y, 34.5] for x, y in ring.coords] for ring in (BERLIN.exterior, *BERLIN.interiors)]
    (tmp_path / "high.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": rings}))
    high, flat = (read_aoi(name).on(UTM33) for name in (str(tmp_path / "high.geojson"), save("flat.geojson", BERLIN)))
    np.testing.assert_array_equal(high.mask(flat.covering()), flat.mask(flat.covering()))


def test_polygons_that_are_not_valid_are_repaired(save):
    bow_tie = shapely.Polygon([(13.0, 52.0), (13.01, 52.01), (13.01, 52.0), (13.0, 52.01)])
    drawn = read_aoi(save("a.geojson", bow_tie, ISLAND))
    assert drawn.num_repaired == 1
    assert drawn.polygon.area == pytest.approx(0.01 * 0.01 / 2 + ISLAND.area)
    assert shapely.is_valid(shapely.from_wkb(drawn.on(UTM33).wkb))


def test_overlaps_count_once_and_the_order_of_features_is_nothing(save):
    left, right = shapely.box(13.0, 52.0, 13.02, 52.01), shapely.box(13.01, 52.0, 13.03, 52.01)
    one, other = (
        read_aoi(save(name, *order)).on(DEGREES)
        for name, order in (("a.gpkg", (left, right)), ("b.shp", (right, left)))
    )
    assert one == other
    assert one.mask(one.covering()).all()


def test_a_layer_is_named_where_there_are_several(save):
    name = save("a.gpkg", BERLIN, layer="town")
    assert read_aoi(name).polygon.equals(BERLIN)
    save("a.gpkg", ISLAND, layer="island", append=True)
    assert read_aoi(f"{name}:island").polygon.equals(ISLAND)
    with pytest.raises(InputError, match=r"several layers \(town, island\)"):
        read_aoi(name)
    with pytest.raises(InputError, match=r"no layer 'sea'\. It has: town, island"):
        read_aoi(f"{name}:sea")


# The edges of the map

EAST_AND_WEST = shapely.multipolygons(
    [shapely.box(179.9, -17.0, 180.0, -16.9), shapely.box(-180.0, -17.0, -179.9, -16.9)]
)


def test_across_the_antimeridian_utm_holds_together_what_degrees_tear_apart(save):
    """In two parts, as GeoJSON wants it, or beyond 180 degrees, as many write it."""
    drawn = [
        read_aoi(save("a.geojson", EAST_AND_WEST)),
        read_aoi(save("b.shp", shapely.box(179.9, -17.0, 180.1, -16.9))),
    ]
    for one in drawn:
        assert one.centre() == pytest.approx((180.0, -16.95))
        crs = utm_crs(*one.centre())
        assert crs in {"EPSG:32701", "EPSG:32760"}
        aoi = one.on(GeoReference(crs=crs, res=10.0))
        window = aoi.covering()
        assert window.width * 10.0 == pytest.approx(0.2 * 106_400, rel=0.02)
        mask = aoi.mask(window)
        assert mask.mean() > 0.95  # north of the map is a degree beside that of the ground
        assert (np.count_nonzero(np.diff(mask, axis=1), axis=1) <= 2).all()  # and there is no seam
    for crs, res in (("EPSG:4326", 1e-3), ("EPSG:3857", 10.0)):
        with pytest.raises(InputError, match="opposite ends of the map in EPSG"):
            drawn[0].on(GeoReference(crs=crs, res=res))
    with pytest.raises(InputError, match="most likely the antimeridian"):
        drawn[1].on(GeoReference(crs="EPSG:3857", res=10.0))


def test_an_edge_that_may_go_either_way_round_is_refused(save):
    with pytest.raises(InputError, match="either way round the globe"):
        read_aoi(save("a.geojson", shapely.Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])))
    assert read_aoi(save("world.geojson", shapely.box(-180, -60, 180, 60))).on(GeoReference(crs="EPSG:4326", res=1.0))


def test_a_polar_cap_is_a_disc_on_a_polar_map_and_refused_where_there_is_no_pole(save):
    drawn = read_aoi(save("a.geojson", shapely.box(-180, 80, 180, 90)))
    aoi = drawn.on(GeoReference(crs="EPSG:3413", res=10_000.0))
    assert aoi.mask(aoi.covering()).mean() == pytest.approx(np.pi / 4, abs=0.01)
    with pytest.raises(InputError, match=r"across the edge of the map in EPSG:3857.*or a pole"):
        drawn.on(GeoReference(crs="EPSG:3857", res=1000.0))


@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [(13.4, 52.5, "EPSG:32633"), (-115.2, 36.1, "EPSG:32611"), (6.0, 0.0, "EPSG:32631"), (187.0, -20.0, "EPSG:32702")],
)
def test_the_zone_of_a_place(lon, lat, crs):
    assert utm_crs(lon, lat) == crs


@pytest.mark.parametrize(("lat", "other"), [(84.5, "EPSG:3413"), (-80.5, "EPSG:3031")])
def test_there_is_no_zone_at_the_poles(lat, other):
    with pytest.raises(InputError, match=f"UTM ends at 84 degrees north and 80 south.*{other}"):
        utm_crs(10.0, lat)
