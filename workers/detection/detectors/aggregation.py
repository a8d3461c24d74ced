"""
How do the scores of many looks at one person become one probability?

In log odds, so that a sure look counts for more than a hesitant one, and bounded, so that one look
cannot outvote all others. The mean leaves out the most extreme tenth at either end.
"""

import numpy as np
from numpy.typing import NDArray

from models.manifest import Calibration

MAX_LOGIT = 8.0
"""A probability of 0.9997; networks that were not calibrated go far beyond."""
TRIM = 0.1
TOP = 0.25

Logits = NDArray[np.float64]


def logit(probability: NDArray[np.floating]) -> Logits:
    """Turn probabilities into log odds within `MAX_LOGIT`."""
    p = np.clip(probability.astype(np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return bounded(np.log(p) - np.log1p(-p))


def bounded(logits: NDArray[np.floating]) -> Logits:
    """Keep log odds within `MAX_LOGIT`; raises ValueError where one is not a number."""
    wide = logits.astype(np.float64)
    if np.isnan(wide).any():
        raise ValueError("a network answered with something that is not a number")
    return np.clip(wide, -MAX_LOGIT, MAX_LOGIT)


def probability(logits: Logits | float, calibration: Calibration | None = None) -> Logits:
    """Turn log odds into probabilities; those that a calibration stands for where there is one."""
    odds = np.asarray(logits, dtype=np.float64)
    if calibration is not None:
        odds = calibration.slope * odds + calibration.intercept
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def trimmed_mean(logits: Logits) -> float:
    """Average what is left without the lowest and highest tenth."""
    ordered = np.sort(logits)
    cut = int(len(ordered) * TRIM)
    return float(ordered[cut : len(ordered) - cut].mean())


def top_mean(logits: Logits) -> float:
    """Average the highest quarter: what shows when only part of a clip is manipulated."""
    count = max(1, round(len(logits) * TOP))
    return float(np.sort(logits)[-count:].mean())
