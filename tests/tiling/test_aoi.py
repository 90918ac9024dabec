"""AOIs on the grid: which pixels are inside, the same however they are asked for."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from rasterio.features import geometry_mask

from tilegen.errors import InputError
from tilegen.geometry.georef import GeoReference
from tilegen.geometry.window import Window
from tilegen.testing.generators import CoordinateRenderer
from tilegen.testing.sinks import address_product
from tilegen.tiling.aoi import Aoi
from tilegen.tiling.render import render_window

RES = 0.5
GEOREF = GeoReference(crs="EPSG:32633", res=RES, anchor=(0.2, 0.0))

_starts = st.sampled_from([0, -(10**6), 10**6])  # pixels; rasterio's own mask is exact enough there
_rough = st.floats(0, 60).map(lambda value: value + 1 / 3)  # centres of pixels are not on edges
_on_centres = st.integers(0, 120).map(lambda value: value * RES / 2)


@st.composite
def polygons(draw, coordinates):
    """Stars, rings and archipelagos of up to three parts, some with a hole; in pixels of a corner that may be far."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        points = draw(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8, unique=True))
        parts.append(shapely.convex_hull(shapely.multipoints(points)) if draw(st.booleans()) else _ring(points))
    whole = shapely.union_all([part for part in parts if part.geom_type in {"Polygon", "MultiPolygon"}])
    hole = shapely.box(20.1, 20.1, 33.3, 31.7)
    whole = whole.difference(hole) if draw(st.booleans()) else whole
    assume(whole.geom_type in {"Polygon", "MultiPolygon"} and whole.area > 1)
    move = (draw(_starts) * RES, draw(_starts) * RES)
    return shapely.transform(whole, lambda xy: np.add(xy, move))


def _ring(points):
    return shapely.make_valid(shapely.polygons([*points, points[0]]), method="structure", keep_collapsed=False)


def aoi_of(polygon, georef=GEOREF):
    return Aoi(wkb=shapely.to_wkb(polygon), georef=georef)


@given(polygon=polygons(_rough))
def test_the_mask_is_that_of_gdal(polygon):
    aoi = aoi_of(polygon)
    window = aoi.covering()
    theirs = geometry_mask([polygon], window.shape, GEOREF.transform(window), invert=True)
    differing = np.argwhere(aoi.mask(window) != theirs)
    for row, col in differing:  # GDAL rounds: only where a centre is on an edge, to all intents and purposes
        x, y = GEOREF.transform(window) @ (col + 0.5, row + 0.5)
        assert polygon.boundary.distance(shapely.Point(x, y)) < 1e-6


@given(polygon=polygons(st.one_of(_rough, _on_centres)), data=st.data())
def test_the_mask_of_a_window_is_a_crop_of_the_whole(polygon, data):
    aoi = aoi_of(polygon)
    whole = aoi.covering()
    window = whole.shifted(data.draw(st.integers(-40, 40)), data.draw(st.integers(-40, 40)))
    around = whole.union(window)
    np.testing.assert_array_equal(aoi.mask(window), aoi.mask(around)[*window.within(around)])


@given(points=st.lists(_on_centres, min_size=2, max_size=6), shift=_starts)
def test_areas_with_a_common_edge_share_no_pixel_and_leave_none_out(points, shift):
    """Even where the edge goes through the centres of pixels."""
    line = [(60 * index / (len(points) - 1), value) for index, value in enumerate(points)]
    above = shapely.polygons([*line, (60, 70), (0, 70), line[0]])
    below = shapely.polygons([*line[::-1], (0, -10), (60, -10), line[-1]])
    move = [shift * RES, -shift * RES]
    areas = [shapely.transform(area, lambda xy: xy + move) for area in (above, below, shapely.box(0, -10, 60, 70))]
    window = aoi_of(areas[2]).covering()
    one, other, both = (aoi_of(area).mask(window) for area in areas)
    assert not (one & other).any()
    np.testing.assert_array_equal(one | other, both)


@given(polygon=polygons(_rough), cell_px=st.integers(3, 50))
def test_cells_that_are_not_met_have_no_pixel_inside(polygon, cell_px):
    aoi = aoi_of(polygon)
    window = aoi.covering()
    rows = np.append(np.arange(window.row0, window.row1, cell_px), window.row1)
    cols = np.append(np.arange(window.col0, window.col1, cell_px), window.col1)
    met, mask = aoi.meets(rows, cols), aoi.mask(window)
    for row in range(len(rows) - 1):
        for col in range(len(cols) - 1):
            cell = Window(row0=int(rows[row]), row1=int(rows[row + 1]), col0=int(cols[col]), col1=int(cols[col + 1]))
            assert met[row, col] or not mask[*cell.within(window)].any()


@given(polygon=polygons(_rough), data=st.data())
def test_what_is_drawn_is_the_image_inside_and_nodata_outside(polygon, data):
    """And tiles of which nothing would be seen are not drawn."""
    aoi, renderer = aoi_of(polygon), CountingRenderer()
    window = aoi.covering()
    pixels, inside = render_window(renderer, window, aoi), aoi.mask(window)
    np.testing.assert_array_equal(pixels, np.where(inside, render_window(CoordinateRenderer(), window), 0))
    for tile in renderer.drawn:
        common = tile.intersection(window)
        assert common is not None
        assert inside[*common.within(window)].any()


@dataclass(frozen=True, kw_only=True)
class CountingRenderer(CoordinateRenderer):
    """Remembers which tiles it drew."""

    drawn: list = field(default_factory=list)

    def render_tile(self, tile):
        self.drawn.append(tile)
        return super().render_tile(tile)


def test_an_aoi_without_a_single_centre_is_refused_with_the_product():
    product = address_product(64, 64, row0=0, col0=0)
    sliver = Aoi(wkb=shapely.to_wkb(shapely.box(0.3, -9.0, 0.45, -1.0)), georef=product.georef)
    with pytest.raises(InputError, match="holds no pixel of the extent"):
        replace(product, aoi=sliver)
    with pytest.raises(InputError, match="grid of another world"):
        replace(product, aoi=replace(sliver, georef=GEOREF))


def test_large_polygons_are_named_and_not_repeated():
    small, large = (aoi_of(shapely.Point(0, 0).buffer(50, quad_segs=segments)) for segments in (10, 1000))
    assert small.provenance() == {"sha256": small.digest, "wkb": small.wkb.hex()}
    assert large.provenance() == {"sha256": large.digest}
