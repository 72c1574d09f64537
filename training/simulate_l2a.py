"""What a Level-1C image might look like at Level-2A: the atmosphere's path radiance off, its losses given back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .fit import Ground

# The dark object is taken at this share of the pixels; a little is left, since hardly anything is black (Chavez 1988: 1 %).
_DARK_QUANTILE, _LEFT = 0.001, 0.01


def dark_object_subtracted(city: Ground) -> Ground:
    """The city with each band of each date lowered by its darkest pixels and never below 0.

    Source: Chavez 1988, "An improved dark-object subtraction technique for atmospheric scattering correction"; the gain for
    the light lost on its way is estimated as 1 / (1 − path radiance)², for two ways through the same air.
    """
    images = city.images.copy()
    for image in images:
        dark = np.maximum(np.quantile(image[city.seen], _DARK_QUANTILE, axis=0) - _LEFT, 0)
        image[:] = np.maximum(image - dark, 0) / (1 - dark) ** 2
    images *= city.seen[None, :, :, None]
    mean = np.stack([image[city.seen].mean(0, dtype=np.float64) for image in images])
    deviation = np.stack([image[city.seen].std(0, dtype=np.float64) for image in images])
    return replace(city, images=images.astype(np.float32), mean=mean, deviation=np.maximum(deviation, 1e-6))
