"""The QGIS side of the engine: where its Python is, how it is made, how a command is run."""
