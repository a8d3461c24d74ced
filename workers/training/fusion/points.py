"""
From where on may the fused probability be called manipulated, and what does that cost?

Lines are drawn through probabilities that were cross-fitted: each clip's by weights that never saw
its group. How few real clips above a line prove what is said by the upper end of the exact
interval, which is stored beside the count.
"""

import math
from collections.abc import Sequence

import numpy as np

from app.domain.policy import FamilyFigures, Point, PointName
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array, Bools

FALSE_POSITIVE_RATES = {PointName.FPR_5: 0.05, PointName.FPR_1: 0.01}
MISSED_SHARE = 0.10
"""Of the fakes, so many at most may be called clear."""
STEP = 0.001
"""Of a probability that is written and typed; lines are rounded to the careful side."""


def draw_points(probabilities: Array, is_fake: Bools, families: Sequence[str]) -> tuple[Point, ...]:
    """
    Draw the lines, and count the errors behind them.

    With fewer than a hundred real clips none may lie above the strict line, whatever it is called.
    """
    real, fake = probabilities[~is_fake], probabilities[is_fake]
    uppers = {
        name: _up(metrics.threshold_for(real, rate)) for name, rate in FALSE_POSITIVE_RATES.items()
    }
    lowest = min(uppers.values())
    allowed = math.floor(MISSED_SHARE * len(fake) + 1e-9)
    lower = min(_down(float(np.sort(fake)[allowed])), round(lowest - STEP, 3))
    return tuple(
        count_point(name, (max(lower, 0.0), upper), probabilities, is_fake, families)
        for name, upper in uppers.items()
    )


def count_point(
    name: PointName,
    lines: tuple[float, float],
    probabilities: Array,
    is_fake: Bools,
    families: Sequence[str],
) -> Point:
    """Count what lies below the lower line and above the upper one."""
    lower, upper = lines
    is_found = probabilities >= upper
    alarms = metrics.counted(is_found[~is_fake])
    of_family = np.asarray(families, dtype=str)
    return Point(
        name=name,
        manipulated_from=upper,
        clear_below=lower,
        real_clips=alarms.n,
        false_positives=alarms.k,
        false_positives_at_most=float(f"{alarms.high:.4g}"),
        fake_clips=int(is_fake.sum()),
        found=int(is_found[is_fake].sum()),
        cleared_fakes=int((probabilities[is_fake] < lower).sum()),
        by_family={
            str(family): FamilyFigures(
                clips=int((of_family == family).sum()),
                found=int(is_found[of_family == family].sum()),
            )
            for family in sorted(set(of_family[is_fake]))
        },
    )


def _up(probability: float) -> float:
    return min(round(math.ceil(probability / STEP) * STEP, 3), 1.0)


def _down(probability: float) -> float:
    return round(math.floor(probability / STEP) * STEP, 3)
