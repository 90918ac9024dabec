"""From a packed dataset to a checkpoint. Imports without rasterio and dask."""
