"""From real imagery to a checkpoint. Imports without rasterio and dask; only `chips` needs rasterio."""
