"""Asks QGIS about a raster, without a screen. Runs in the system's Python, which Debian's PyQGIS is installed for.

Takes JSON on stdin: {"source", "points": [[x, y], ...], "picture": a PNG to write, or null}; prints one line of JSON.
"""

import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPointXY,
    QgsProject,
    QgsRasterBandStats,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

PICTURE_PX = 480


def described(layer, points):
    provider, extent = layer.dataProvider(), layer.extent()
    bands = range(1, layer.bandCount() + 1)
    pyramids = [one for one in provider.buildPyramidList() if one.getExists()]
    stats = [provider.bandStatistics(band, QgsRasterBandStats.All) for band in bands]
    return {
        "crs": layer.crs().authid(),
        "transform": [
            layer.rasterUnitsPerPixelX(),
            0.0,
            extent.xMinimum(),
            0.0,
            -layer.rasterUnitsPerPixelY(),
            extent.yMaximum(),
        ],
        "size": [layer.width(), layer.height()],
        "overviews": [[one.getXDim(), one.getYDim()] for one in pyramids],
        "nodata": provider.sourceNoDataValue(1) if provider.sourceHasNoDataValue(1) else None,
        "names": [layer.bandName(band) for band in bands],
        "colours": [provider.colorInterpretationName(band) for band in bands],
        "statistics": [[one.minimumValue, one.maximumValue, one.mean, one.stdDev] for one in stats],
        "pixels": [[value_at(provider, x, y, band) for band in bands] for x, y in points],
    }


def value_at(provider, x, y, band):
    """A value of a band; 0 where QGIS says that there is none."""
    value, is_valid = provider.sample(QgsPointXY(x, y), band)
    return int(value) if is_valid else 0


def paint(layer, path):
    """The whole layer as QGIS shows it when it is opened, on magenta, so that what is transparent is seen."""
    extent = layer.extent()
    longest = max(extent.width(), extent.height())
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(extent)
    settings.setOutputSize(
        QSize(round(PICTURE_PX * extent.width() / longest), round(PICTURE_PX * extent.height() / longest))
    )
    settings.setBackgroundColor(QColor(255, 0, 255))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    assert job.renderedImage().save(path)


def main():
    asked = json.load(sys.stdin)
    application = QgsApplication([], False)
    application.initQgis()
    layer = QgsRasterLayer(asked["source"], "product", "gdal")
    if not layer.isValid():
        sys.exit(f"QGIS cannot open {asked['source']}: {layer.error().summary()}")
    QgsProject.instance().addMapLayer(layer)
    said = {"renderer": layer.renderer().type(), **described(layer, asked["points"])}
    if asked["picture"]:
        paint(layer, asked["picture"])
    print(json.dumps(said), flush=True)
    os._exit(0)  # Qt without a screen does not always end well


main()
