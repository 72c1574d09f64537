"""Change detection between two Sentinel-2 dates: numpy, torch and rasterio; knows nothing of QGIS."""

import os

# GDAL's cache of blocks would grow to a share of the machine's memory; this much holds the rows of blocks that windows share.
# Read by GDAL when it is first used.
os.environ.setdefault("GDAL_CACHEMAX", "512")
# With several threads, GDAL's JPEG 2000 reader (3.10, OpenJPEG) loses the error of a damaged block and gives what the memory
# held before; with one it says so. Others read in several threads of their own.
os.environ["GDAL_NUM_THREADS"] = "1"
