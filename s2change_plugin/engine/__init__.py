"""Change detection between two Sentinel-2 dates: numpy, torch and rasterio; knows nothing of QGIS."""

import os

# GDAL's cache of blocks would grow to a share of the machine's memory; this much, in MB, holds the rows of blocks that windows
# share where GDAL resamples. What is read as it is has a cache of its own, `blocks`. Read by GDAL when it is first used.
os.environ.setdefault("GDAL_CACHEMAX", "128")
# A server that does not answer, or stops in the middle, would hold a run for ever, and a signal does not reach GDAL while it waits. Seconds;
# GDAL tries up to three times before it gives a file up.
os.environ.setdefault("GDAL_HTTP_CONNECTTIMEOUT", "20")
os.environ.setdefault("GDAL_HTTP_LOW_SPEED_TIME", "30")
os.environ.setdefault("GDAL_HTTP_LOW_SPEED_LIMIT", "1")
# With several threads, GDAL's JPEG 2000 reader (3.10, OpenJPEG) loses the error of a damaged block and gives what the memory
# held before; with one it says so. Others read in several threads of their own.
os.environ["GDAL_NUM_THREADS"] = "1"
