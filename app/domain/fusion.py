"""
How does what many detectors say of one person become one probability?

By adding up: every feature that was measured moves the log odds by its weight, in deviations from
the mean of the clips that the weights were fitted on. A weight is never below 0, so that a more
suspicious measurement never makes a face look cleaner. What was not measured moves them by
`missing`, never below 0 either: silence is worth as much as an ordinary measurement, or counts
against the clip, and acquits nobody.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.evidence import DetectorName, Evidence, Finding

SURE = 1e-6
"""Keeps log odds finite at probabilities of 0 and 1."""
NORMAL_95 = 1.959964
"""Deviations of a normal distribution that hold 95 % of it."""
TOP_QUARTER = "top_quarter_fake_probability"
"""The measurement of `frame_classifier`: what shows when only part of a clip is manipulated."""
MOST_ASYMMETRY = 1e-9
"""Of a covariance that went through JSON."""


class Reading(StrEnum):
    """What of a finding is a feature."""

    LOGIT = "logit"  # log odds of its fake probability
    TOP_QUARTER = "top_quarter"  # log odds of that of the most suspect quarter of the looks
    Z = "z"  # deviations of its cue from real clips, higher = more suspicious


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A number that one detector gives of one person; higher = more suspicious."""

    detector: DetectorName
    reading: Reading

    def of(self, finding: Finding) -> float | None:
        """Read it from a finding of its detector; None where that has none."""
        match self.reading:
            case Reading.LOGIT:
                p = finding.fake_probability
                return None if p is None else logit(p)
            case Reading.TOP_QUARTER:
                p = finding.measurements.get(TOP_QUARTER)
                return None if p is None else logit(p)
            case Reading.Z:
                return None if finding.cue is None else finding.cue.z


CUES = (
    DetectorName.TEMPORAL_SMOOTHNESS,
    DetectorName.BLINK_RATE,
    DetectorName.OVER_BLUR,
    DetectorName.BOUNDARY_COLOR,
    DetectorName.DOUBLE_EDGE,
    DetectorName.MOUTH_BLUR,
    DetectorName.NOISE_RESIDUAL,
    DetectorName.OCCLUSION_FLICKER,
    DetectorName.LANDMARK_FLOW,
    DetectorName.PULSE,
    DetectorName.LIP_SYNC,
)
"""Detectors that measure something; how much it tells is for a fit to say."""

FEATURES: Mapping[str, Feature] = {
    "frame_classifier": Feature(detector=DetectorName.FRAME_CLASSIFIER, reading=Reading.LOGIT),
    "frame_classifier_top_quarter": Feature(
        detector=DetectorName.FRAME_CLASSIFIER, reading=Reading.TOP_QUARTER
    ),
    "pixel_segmenter": Feature(detector=DetectorName.PIXEL_SEGMENTER, reading=Reading.LOGIT),
    # Its network's opinion; the cue beside it is measured without one.
    "landmark_flow_network": Feature(detector=DetectorName.LANDMARK_FLOW, reading=Reading.LOGIT),
    **{d.value: Feature(detector=d, reading=Reading.Z) for d in CUES},
}
"""Everything that may have a say. The names stand in policy files: never rename one."""


def measured(evidence: Sequence[Evidence]) -> dict[str, float]:
    """Read every feature that the evidence on one person has; one that is absent was not."""
    found: dict[str, float] = {}
    for said in evidence:
        if isinstance(said, Finding):
            for name, feature in FEATURES.items():
                if feature.detector is said.detector:
                    value = feature.of(said)
                    if value is not None:
                        found[name] = value
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """
    What one feature is worth.

    Raises:
        ValueError: the feature is unknown, or a number cannot be.
    """

    feature: str  # a key of FEATURES
    weight: float  # log odds by which one deviation moves them, 0 or more
    mean: float  # of the feature, in the clips fitted on where it was measured
    deviation: float  # likewise; above 0
    missing: float  # log odds by which its absence moves them, 0 or more

    def __post_init__(self) -> None:
        if self.feature not in FEATURES:
            raise ValueError(f"unknown feature {self.feature!r}; want one of {', '.join(FEATURES)}")
        numbers = (self.weight, self.mean, self.deviation, self.missing)
        if not all(math.isfinite(n) for n in numbers):
            raise ValueError(f"{self.feature}: a number that is not finite")
        if self.weight < 0 or self.missing < 0 or self.deviation <= 0:
            raise ValueError(
                f"{self.feature}: want weight and missing of 0 or more and a deviation above 0, "
                f"got {self.weight:g}, {self.missing:g} and {self.deviation:g}"
            )

    def deviations(self, value: float) -> float:
        """Return how far above the mean a value is, in deviations."""
        return (value - self.mean) / self.deviation

    def contribution(self, value: float | None) -> float:
        """Return by how much a value, or its absence, moves the log odds."""
        return self.missing if value is None else self.weight * self.deviations(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a probability lies with 95 % confidence, as far as the fit's own uncertainty goes."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """What the features of one person come to."""

    log_odds: float
    probability: float
    interval: Interval | None  # None where the fit's uncertainty is not known
    contributions: Mapping[str, float]  # log odds by feature, of all terms; absent ones included


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """
    A logistic regression whose weights are never below 0, with a flag for what is missing.

    Raises:
        ValueError: no feature has a say, one has two terms, or the covariance has another shape
            than `parameters` says, is not symmetric, or has a variance below 0.
    """

    terms: tuple[Term, ...]
    intercept: float
    covariance: tuple[tuple[float, ...], ...] = ()  # of `parameters`; empty: not known

    def __post_init__(self) -> None:
        if not math.isfinite(self.intercept):
            raise ValueError(f"the intercept is not finite: {self.intercept!r}")
        names = [t.feature for t in self.terms]
        if len(set(names)) < len(names):
            raise ValueError(f"a feature has two terms: {', '.join(names)}")
        if not any(t.weight > 0 for t in self.terms):
            raise ValueError("no feature has a say")
        if self.covariance:
            _check_covariance(self.covariance, len(self.parameters))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name the rows of the covariance: intercept, every weight, every missing weight."""
        names = [t.feature for t in self.terms]
        return ("intercept", *names, *(f"{n} missing" for n in names))

    def log_odds(self, features: Mapping[str, float]) -> float:
        """Add up what the features, and the absence of others, are worth."""
        return self.intercept + sum(self.contributions(features).values())

    def contributions(self, features: Mapping[str, float]) -> dict[str, float]:
        """Return by how much each feature moves the log odds, the absent ones included."""
        return {t.feature: t.contribution(features.get(t.feature)) for t in self.terms}

    def interval(self, features: Mapping[str, float]) -> Interval | None:
        """
        Return the 95 % interval of the probability.

        The log odds are linear in the parameters, so their variance is exact given the
        covariance; that the parameters are normal is the usual approximation of a fit (the delta
        method). None where no covariance is known.
        """
        if not self.covariance:
            return None
        slopes = self._slopes(features)
        variance = sum(
            a * b * c
            for a, row in zip(slopes, self.covariance, strict=True)
            for b, c in zip(slopes, row, strict=True)
        )
        middle = self.log_odds(features)
        reach = NORMAL_95 * math.sqrt(max(0.0, variance))
        return Interval(low=probability(middle - reach), high=probability(middle + reach))

    def fuse(self, features: Mapping[str, float]) -> Fused:
        """Return the probability with its interval and what it is made of."""
        odds = self.log_odds(features)
        return Fused(
            log_odds=odds,
            probability=probability(odds),
            interval=self.interval(features),
            contributions=self.contributions(features),
        )

    def _slopes(self, features: Mapping[str, float]) -> list[float]:
        """Return the derivative of the log odds by each parameter."""
        values = [(t, features.get(t.feature)) for t in self.terms]
        return [
            1.0,
            *(0.0 if v is None else t.deviations(v) for t, v in values),
            *(1.0 if v is None else 0.0 for _, v in values),
        ]


def logit(probability: float) -> float:
    """Turn a probability into log odds, within what `SURE` allows."""
    inside = min(max(probability, SURE), 1 - SURE)
    return math.log(inside / (1 - inside))


def probability(log_odds: float) -> float:
    """Turn log odds into a probability, without an overflow at either end."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1 + odds)


def _check_covariance(rows: Sequence[Sequence[float]], size: int) -> None:
    if len(rows) != size or any(len(row) != size for row in rows):
        raise ValueError(f"want a covariance of {size} rows and columns, one a parameter")
    if not all(math.isfinite(c) for row in rows for c in row):
        raise ValueError("the covariance has a number that is not finite")
    if any(rows[i][i] < 0 for i in range(size)):
        raise ValueError("the covariance has a variance below 0")
    if any(abs(rows[i][j] - rows[j][i]) > MOST_ASYMMETRY for i in range(size) for j in range(i)):
        raise ValueError("the covariance is not symmetric")
