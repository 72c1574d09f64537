"""S2Change: change detection between two Sentinel-2 images."""


def classFactory(iface):
    """The plugin, as QGIS asks for it; imported only then, since the engine imports this package without QGIS."""
    from .plugin import S2ChangePlugin

    return S2ChangePlugin(iface)
