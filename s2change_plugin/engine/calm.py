"""How sure networks that see the dates are of ground that did not change: it differs from place to place, and is brought to one level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .radiometry import Array

# Most of a pair did not change. Water, of which all networks are sure, may be more than half of it; the upper quarter lies on land even then.
_SHARE = 0.75
# Ten of the fourteen training cities lie no further from the middle one's level (EXPERIMENTS 40); further off it is other ground
# rather than another surety.
_MOST = 2.0
# Pixels at a part's edge, beyond which nothing was seen: there networks are surer than they are of the same ground within the pair.
_RIM = 16


def level_shift(parts: Sequence[Array], usual: float) -> float:
    """What to add to the logits of a pair, so that the calm three quarters of it end at the usual level: −2 to 2.

    Args:
        parts: logits of change of parts of the pair, each (row, col), NaN where not observed.
        usual: the logit at which these end in other pairs.
    """
    inner = [part[_RIM:-_RIM, _RIM:-_RIM] if min(part.shape) > 4 * _RIM else part for part in parts]
    logits = np.concatenate([part[np.isfinite(part)] for part in inner])
    return float(np.clip(usual - np.quantile(logits, _SHARE), -_MOST, _MOST)) if len(logits) else 0.0
