"""Splits by ground: apart for every layout, together what is one ground, and about the share that was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon

from tilegen.data.spacenet.ground import Outline, outline_of, split_by_ground
from tilegen.errors import DataError


def square(x: float, y: float, side_m: float = 200.0, group: str = "Vegas", turn: float = 0.0) -> Outline:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side_m
    turned = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Outline(group=group, corners=turned + np.array([x, y]))


def apart(outlines: list[Outline], splits: list[str | None]) -> float:
    """Smallest distance between the splits, metres."""
    ground = {
        split: [Polygon(one.corners) for one, own in zip(outlines, splits, strict=True) if own == split]
        for split in ("train", "val")
    }
    return min(a.distance(b) for a in ground["train"] for b in ground["val"])


layouts = st.lists(
    st.builds(
        square,
        st.floats(-3000, 3000),
        st.floats(-3000, 3000),
        st.sampled_from([100.0, 200.0, 900.0]),
        st.sampled_from(["Vegas", "Paris"]),
        st.floats(-0.1, 0.1),
    ),
    min_size=2,
    max_size=60,
)


@given(outlines=layouts, fraction=st.floats(0.01, 0.9), distance_m=st.floats(0, 5))
def test_no_ground_is_in_both_splits(outlines: list[Outline], fraction: float, distance_m: float) -> None:
    """Overlapping, abutting, turned, of several sizes: training keeps its distance, or the layout is refused."""
    try:
        splits = split_by_ground(outlines, fraction, distance_m=distance_m)
    except DataError as error:
        assert "--val-fraction 0" in str(error)  # noqa: PT017
        return
    assert {"train", "val"} <= set(splits)
    assert apart(outlines, splits) >= distance_m
    for one, split in zip(outlines, splits, strict=True):  # nothing is dropped but what is near
        if split is None:
            val = [Polygon(f.corners) for f, s in zip(outlines, splits, strict=True) if s == "val"]
            assert min(Polygon(one.corners).distance(ground) for ground in val) <= distance_m + 1e-6


@settings(max_examples=20)
@given(rows=st.integers(10, 30), cols=st.integers(10, 30), fraction=st.sampled_from([0.05, 0.1, 0.2]))
def test_about_the_share_validates_and_little_is_lost(rows: int, cols: int, fraction: float) -> None:
    city = [square(200.0 * col, 200.0 * row) for row in range(rows) for col in range(cols)]
    splits = split_by_ground(city, fraction, distance_m=0.5)
    share = splits.count("val") / len(splits)
    assert fraction / 2 <= share <= fraction * 3 / 2
    assert splits.count(None) <= 4 * splits.count("val") + 8


def test_a_large_city_validates_with_large_blocks() -> None:
    """8 chips wide, so that there is imagery far from all that was trained on."""
    city = [square(200.0 * col, 200.0 * row) for row in range(64) for col in range(64)]
    splits = np.array(split_by_ground(city, 0.1, distance_m=0.5), object).reshape(64, 64)
    val = splits == "val"
    inner = val[1:-1, 1:-1] & val[:-2, 1:-1] & val[2:, 1:-1] & val[1:-1, :-2] & val[1:-1, 2:]
    assert inner.sum() > val.sum() / 2
    assert (splits == None).mean() < 0.1  # noqa: E711 - for each element


def test_all_rounds_and_dates_of_one_ground_go_together() -> None:
    """Of SpaceNet 2 and 3, and of the collects of SpaceNet 4, each of which lies a bit beside the others."""
    city = [
        square(200.0 * col + jitter, 200.0 * row - jitter, group=group)
        for group, jitter in (("SN2", 0.0), ("SN3", 0.4), ("SN4", 1.1))
        for row in range(20)
        for col in range(20)
    ]
    splits = split_by_ground(city, 0.1, distance_m=0.5)
    for place in range(400):
        together = {splits[place + 400 * collect] for collect in range(3)}
        assert together <= {"train", None} or together <= {"val", None}
    assert splits.count("val") > 60


def test_every_city_gives_its_share() -> None:
    cities = [
        square(200.0 * col + 1e6 * number, 200.0 * row, group=f"city {number}")
        for number in range(3)
        for row in range(30)
        for col in range(30)
    ]
    splits = split_by_ground(cities, 0.1, distance_m=0.5)
    for number in range(3):
        assert splits[900 * number : 900 * (number + 1)].count("val") > 20


def test_one_ground_alone_is_refused() -> None:
    outlines = [square(0, 0), square(1, 1), square(2, 0)]
    with pytest.raises(DataError, match=r"3 chip\(s\) so close together"):
        split_by_ground(outlines, 0.1, distance_m=0.5)
    assert split_by_ground(outlines, 0.0, distance_m=0.5) == ["train"] * 3


def test_ground_is_the_same_in_every_crs() -> None:
    """A UTM zone and its neighbour, 400 km away from its middle, see a square kilometre of one place."""
    one = outline_of("a", (1000, 1000), (1.0, 0.0, 500000.0, 0.0, -1.0, 4000000.0), "EPSG:32611")
    assert one.side_m == pytest.approx(1000.0, rel=1e-3)
    other = outline_of("a", (1000, 1000), (9e-6, 0.0, -117.0, 0.0, -9e-6, 36.1446), "EPSG:4326")
    assert np.abs(np.array(one.centre) - other.centre).max() < 150
