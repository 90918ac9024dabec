"""What is written beside a product when it is finished: a preview, a STAC item."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """What was asked for.

    Args:
        product: a path, or s3://BUCKET/NAME.
        preview: where a PNG goes; None for none.
        has_item: whether there is a STAC item.
        overwrite: whether they may replace others.
    """

    product: str
    preview: Path | None
    has_item: bool
    overwrite: bool

    def save(self) -> None:
        """Write them, now that the product is there."""
        if self.preview is not None:
            from tilegen.tiling.preview import save_preview

            save_preview(self.product, self.preview)
        if self.has_item:
            from tilegen.catalog.item import save_item

            save_item(self.product, overwrite=self.overwrite, preview=self.preview)


def checked_neighbours(product: str, *, preview: Path | None, has_item: bool, overwrite: bool) -> Neighbours:
    """What was asked for, if it may be written; asked before anything is rendered.

    Raises:
        InputError, OutputError: it may not.
    """
    if preview is not None:
        from tilegen.tiling.preview import checked_preview

        checked_preview(preview, overwrite=overwrite)
    if has_item:
        from tilegen.catalog.item import check_item

        check_item(product, overwrite=overwrite)
    return Neighbours(product=product, preview=preview, has_item=has_item, overwrite=overwrite)
