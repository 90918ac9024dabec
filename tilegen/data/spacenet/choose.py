"""Choosing among the images of SpaceNet: rounds and AOIs that were asked for, one product for each AOI."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

from tilegen.data.spacenet.recognise import is_named
from tilegen.data.spacenet.walk import FoundImage, Walk
from tilegen.errors import InputError

_MOST_LISTED = 12
"""AOIs that an error names; SpaceNet 7 has a hundred."""


def chosen_images(
    found: Walk, *, rounds: Sequence[str] | None, aois: Sequence[str] | None, product: str | None
) -> list[FoundImage]:
    """The images that were asked for, each AOI in one product and each chip once; what is given up becomes a reject.

    Raises:
        InputError: there is none of a round, of an AOI in these rounds, or of the product in these AOIs.
    """
    images = found.images
    if rounds:
        images = _asked(images, "round", rounds, _is_round)
    if aois:
        images = _asked(images, "AOI", aois, _is_aoi)
    by_ground: dict[str, list[FoundImage]] = defaultdict(list)
    for image in images:
        by_ground[f"{image.what.layout.name}/{image.what.aoi}"].append(image)
    chosen = [
        image
        for ground, candidates in by_ground.items()
        for image in _of_one_product(ground, candidates, product, found)
    ]
    if not chosen:
        raise InputError(f"There is no product {product!r}. What there is: {_inventory(images)}.")
    return chosen


def _asked(
    images: Sequence[FoundImage], what: str, asked: Sequence[str], fits: Callable[[str, FoundImage], bool]
) -> list[FoundImage]:
    """The images that one of `asked` fits.

    Raises:
        InputError: one of `asked` fits none.
    """
    for text in asked:
        if not any(fits(text, image) for image in images):
            raise InputError(f"There is no {what} {text!r}. What there is: {_inventory(images)}.")
    return [image for image in images if any(fits(text, image) for text in asked)]


def _is_round(asked: str, image: FoundImage) -> bool:
    """By name or number."""
    name = image.what.layout.name
    return is_named(asked.strip(), name) or asked.strip() == name.removeprefix("SN")


def _is_aoi(asked: str, image: FoundImage) -> bool:
    """By full name, number or city; "San Juan" is San_Juan."""
    aoi = image.what.aoi
    number_and_city = aoi.split("_", 2)[1:] if aoi.startswith("AOI_") else []
    return any(is_named(asked.strip().replace(" ", "_"), name) for name in (aoi, *number_and_city))


def _of_one_product(ground: str, candidates: Sequence[FoundImage], asked: str | None, found: Walk) -> list[FoundImage]:
    """The images of one AOI in the product asked for, or else in the first that its round has; none if it has not."""
    there = {image.what.product.names[0] for image in candidates}
    wanted = [
        product.names[0]
        for product in candidates[0].what.layout.products
        if product.names[0] in there and (asked is None or any(is_named(asked, name) for name in product.names))
    ]
    if not wanted:
        found.reject(ground, f"has no product {asked}, only {', '.join(sorted(there))}")
        return []
    first: dict[str, FoundImage] = {}
    for image in candidates:
        if image.what.product.names[0] == wanted[0]:
            other = first.setdefault(image.what.image_id.casefold(), image)
            if other is not image:
                found.reject(image.name, f"is the same chip as {other.name}")
    return list(first.values())


def _inventory(images: Sequence[FoundImage]) -> str:
    """Rounds, AOIs and products, in one line."""
    products: dict[str, set[str]] = defaultdict(set)
    for image in images:
        products[f"{image.what.layout.name} {image.what.aoi}"].add(image.what.product.names[0])
    listed = [f"{ground} ({', '.join(sorted(names))})" for ground, names in islice(products.items(), _MOST_LISTED)]
    more = len(products) - len(listed)
    return "; ".join([*listed, *([f"and {more} more AOIs"] if more else [])])
