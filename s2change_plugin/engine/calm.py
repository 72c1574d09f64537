"""How sure networks that see the dates are of ground that did not change: it differs from place to place, and is brought to one level."""

from __future__ import annotations

import numpy as np

from .radiometry import Array

# Most of a pair did not change, and three quarters hold what is seldom land: half a pair may be water, of which all are sure.
_SHARE = 0.75
# As far as the training cities' levels lie from the middle of them, about; beyond it is other ground rather than another surety.
_MOST = 2.0


def calm_shift(logits: Array, usual: float) -> float:
    """What to add to the logits of a pair, so that the calm three quarters of it end at the usual level: −2 to 2.

    Args:
        logits: of change, of the observed pixels of a pair as a whole, any shape.
        usual: the logit at which these end in other pairs.
    """
    return float(np.clip(usual - np.quantile(logits, _SHARE), -_MOST, _MOST))
