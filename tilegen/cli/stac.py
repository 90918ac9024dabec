"""`tilegen stac`."""

from __future__ import annotations

import click

from tilegen.cli.options import ProductPath


@click.command()
@click.argument("products", metavar="PRODUCT...", type=ProductPath(exists=True), nargs=-1, required=True)
@click.option("--overwrite", is_flag=True, help="Replace items that exist.")
def stac(products: tuple[str, ...], *, overwrite: bool) -> None:
    """Write a STAC item beside each PRODUCT (.tif, .zarr, also at s3://…): PRODUCT.stac.json.

    Ends with 1 at the first that cannot be described; items of those before it are kept.

    Example:  tilegen stac world.tif
    """
    from tilegen.catalog.item import save_item

    for product in products:
        click.echo(save_item(product, overwrite=overwrite))
