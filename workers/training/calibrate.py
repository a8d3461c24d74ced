"""
How do a network's log odds become probabilities, and from where on may a verdict be spoken?

    python -m workers.training.calibrate scores.json --out calibration.json

A calibration is a straight line through log odds, fitted on clips that the network never learnt
from: with few clips anything more flexible learns them by heart (isotonic regression wants a
thousand and more). The scores should be those of folds whose method and people were left out,
since a line that was fitted on what a network knows promises too much on what it does not.

Two points are chosen on it. From `manipulated_from` on a clip is called manipulated: so few real
clips lie there as was asked for. Below `clear_below` nothing was found: no more than a stated
share of fakes lie there. Between them the answer is that there is none.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize

from app.errors import ServiceError
from workers.detection.detectors import aggregation
from workers.training.errors import BadDataset
from workers.training.evaluate import metrics
from workers.training.evaluate.metrics import Array, Bools
from workers.training.evaluate.scores import ClipScore, columns, read_scores

FALSE_POSITIVE_RATE = 0.05
MISSED_SHARE = 0.10
LEAST_CLIPS_OF_A_LABEL = 10
"""Fewer real clips, or fakes, and no line is worth drawing."""
PRIOR_DEVIATION = 1.0
"""Of the log of the slope around 0, and of the intercept around 0: raw log odds unless data
speak against them."""
FOLDS = 5
Share = Annotated[float, Field(ge=0, le=1)]


class Calibration(BaseModel):
    """What was fitted, on how many clips, and what it brings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: Annotated[float, Field(gt=0)]
    intercept: float
    clips: int
    groups: int
    real_clips: int
    fake_clips: int
    ece_before: float
    ece_after: float  # of lines fitted on other groups
    ece_of_chance: float  # what a perfect forecaster would show with so few clips
    brier_before: float
    brier_after: float  # likewise of lines fitted on other groups
    manipulated_from: float  # calibrated probability
    clear_below: float  # likewise; at most `manipulated_from`
    false_positives: int  # real clips from `manipulated_from` on
    false_positive_rate: Share
    false_positive_rate_low: Share  # Clopper-Pearson, 95 %
    false_positive_rate_high: Share
    found: int  # fakes from `manipulated_from` on
    missed: int  # fakes below `clear_below`
    missed_rate: Share
    missed_rate_low: Share
    missed_rate_high: Share
    cleared: int  # real clips below `clear_below`
    coverage: Share  # of all clips, those outside of the band

    def probability(self, logit: float) -> float:
        """Return the calibrated probability of raw log odds."""
        return float(aggregation.probability(self.slope * logit + self.intercept))


def calibrate(
    scores: Sequence[ClipScore],
    *,
    false_positive_rate: float = FALSE_POSITIVE_RATE,
    missed_share: float = MISSED_SHARE,
    seed: int = 0,
) -> Calibration:
    """
    Fit the line and choose the two points.

    Args:
        scores: of clips that the network did not learn from.
        false_positive_rate: at most this share of the real clips may be called manipulated.
        missed_share: at most this share of the fakes may be called clear.

    Raises:
        BadDataset: there are too few clips of either label.
    """
    logits, is_fake, groups = columns(scores)
    fakes, reals = int(is_fake.sum()), int((~is_fake).sum())
    if min(fakes, reals) < LEAST_CLIPS_OF_A_LABEL:
        raise BadDataset(
            f"{fakes} fakes and {reals} real clips are too few to calibrate with; give "
            f"{LEAST_CLIPS_OF_A_LABEL} of each or more"
        )
    slope, intercept = fit_line(logits, is_fake)
    before = aggregation.probability(logits)
    elsewhere = cross_fitted(logits, is_fake, groups, seed=seed)
    calibrated = aggregation.probability(slope * logits + intercept)
    # Rounded to the careful side, so that a policy can be read and typed.
    upper = _up(metrics.threshold_for(calibrated[~is_fake], false_positive_rate))
    lower = min(_down(_most_below(calibrated[is_fake], missed_share)), upper)
    alarms = metrics.counted(calibrated[~is_fake] >= upper)
    missed = metrics.counted(calibrated[is_fake] < lower)
    return Calibration(
        slope=slope,
        intercept=intercept,
        clips=len(scores),
        groups=len(set(groups)),
        real_clips=reals,
        fake_clips=fakes,
        ece_before=metrics.calibration_error(before, is_fake, groups, seed=seed).value,
        ece_after=metrics.calibration_error(elsewhere, is_fake, groups, seed=seed).value,
        ece_of_chance=metrics.calibration_error_of_chance(elsewhere, is_fake, seed=seed),
        brier_before=metrics.brier(before, is_fake, groups, seed=seed).value,
        brier_after=metrics.brier(elsewhere, is_fake, groups, seed=seed).value,
        manipulated_from=upper,
        clear_below=lower,
        false_positives=alarms.k,
        false_positive_rate=alarms.share,
        false_positive_rate_low=alarms.low,
        false_positive_rate_high=alarms.high,
        found=int((calibrated[is_fake] >= upper).sum()),
        missed=missed.k,
        missed_rate=missed.share,
        missed_rate_low=missed.low,
        missed_rate_high=missed.high,
        cleared=int((calibrated[~is_fake] < lower).sum()),
        coverage=float(((calibrated >= upper) | (calibrated < lower)).mean()),
    )


def fit_line(logits: Array, is_fake: Bools) -> tuple[float, float]:
    """
    Return slope and intercept of calibrated log odds, the slope above 0.

    Both labels weigh the same, as in a newsroom's even odds: how many of a data set are fakes
    says nothing of how many a newsroom is sent. After Platt, "Probabilistic Outputs for Support
    Vector Machines", 1999, with a normal prior on both.
    """
    weights = metrics.even_odds(is_fake)

    def cost(at: Array) -> float:
        line = np.exp(at[0]) * logits + at[1]
        likelihood = np.logaddexp(0, np.where(is_fake, -line, line))
        return float(weights @ likelihood + (at @ at) / (2 * PRIOR_DEVIATION**2))

    found = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-6, 6), (-20, 20)])
    return float(np.exp(found.x[0])), float(found.x[1])


def cross_fitted(logits: Array, is_fake: Bools, groups: Sequence[str], *, seed: int = 0) -> Array:
    """Return probabilities `[N]`, each by a line that was fitted on other groups' clips."""
    names = np.unique(np.asarray(groups, dtype=str))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = dict(zip(names[order], np.arange(len(names)) % FOLDS, strict=True))
    folds = np.array([fold_of[group] for group in groups])
    found = np.zeros(len(logits))
    for fold in np.unique(folds):
        others = folds != fold
        has_both = is_fake[others].any() and not is_fake[others].all()
        slope, intercept = fit_line(logits[others], is_fake[others]) if has_both else (1.0, 0.0)
        found[~others] = aggregation.probability(slope * logits[~others] + intercept)
    return found


def read_score_file(path: Path) -> list[ClipScore]:
    """
    Read the scores of clips that an evaluation wrote.

    Raises:
        BadDataset: there are none in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return read_scores(content["scores"] if isinstance(content, dict) else content)
    except (OSError, ValueError, KeyError, AttributeError) as wrong:
        raise BadDataset(f"{path} holds no scores of clips: {wrong}") from wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.calibrate", description=__doc__.strip().splitlines()[0]
    )
    parser.add_argument("scores", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--false-positive-rate", type=float, default=FALSE_POSITIVE_RATE)
    parser.add_argument("--missed-share", type=float, default=MISSED_SHARE)
    given = parser.parse_args(arguments)
    try:
        fitted = calibrate(
            read_score_file(given.scores),
            false_positive_rate=given.false_positive_rate,
            missed_share=given.missed_share,
        )
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    given.out.write_text(fitted.model_dump_json(indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(
        f"{fitted.false_positives} of {fitted.real_clips} real clips from "
        f"{fitted.manipulated_from:.3f} on, {fitted.missed} of {fitted.fake_clips} fakes below "
        f"{fitted.clear_below:.3f}; {fitted.coverage:.0%} of the clips are outside of the band\n"
    )
    return 0


def _up(probability: float) -> float:
    return min(math.ceil(probability * 1000) / 1000, 1.0)


def _down(probability: float) -> float:
    return math.floor(probability * 1000) / 1000


def _most_below(fakes: Array, share: float) -> float:
    """Return the highest probability below which at most this share of the fakes lie."""
    return float(np.sort(fakes)[int(np.floor(share * len(fakes) + 1e-9))]) if share < 1 else 1.0


if __name__ == "__main__":
    sys.exit(main())
