"""The change-detection engine: numpy, torch and rasterio, without QGIS."""
