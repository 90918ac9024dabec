"""Which bands a person is shown."""

import pytest

from tilegen.bands import shown_bands


@pytest.mark.parametrize(
    ("names", "indices"),
    [
        (("red", "green", "blue"), (0, 1, 2)),
        (("Blue", "GREEN", "red", "nir"), (2, 1, 0)),
        (("coastal", "blue", "green", "yellow", "red"), (4, 2, 1)),
        (("red", "green", "nir"), (0, 1, 2)),
        (("band 1", "band 2"), (0, 0, 0)),
        (("pan",), (0, 0, 0)),
    ],
)
def test_colours_are_shown_by_name_or_else_the_first_bands(names: tuple[str, ...], indices: tuple[int, ...]) -> None:
    assert shown_bands(names) == indices
