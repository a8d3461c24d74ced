"""
What kind of method made a face, as far as clips at hand can tell? A small model in a file.

`attribution.json` beside this file is written by `python -m workers.training.attribution` from what
detectors said of manipulated clips: a multinomial logistic regression, and for each family from
where on it may be named. A family that too few groups of people, or one data set alone, stand for
is never named. Where the file names none, the answer is always unknown, and the file says why.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.evidence import DetectorName, Evidence, Finding
from workers.detection.reference import Transform, transformed

FILE = Path(__file__).with_name("attribution.json")
UNKNOWN = "unknown"
LOGIT, VALUE = "logit", "value"
"""What is read of a finding: log odds of its probability, the value of its cue, or else the
measurement of that name."""
_SURE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """
    A number that is read of one person's evidence.

    Raises:
        ValueError: the deviation is not above 0, or a number is not finite.
    """

    detector: DetectorName
    reading: str  # LOGIT, VALUE, or a measurement
    transform: Transform
    mean: float  # over the clips fitted on, after the transform
    deviation: float  # likewise

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.deviation) and self.deviation > 0):
            raise ValueError(f"{self.name}: mean {self.mean!r}, deviation {self.deviation!r}")

    @property
    def name(self) -> str:
        """How it is spelt in files."""
        return f"{self.detector.value}.{self.reading}"

    def deviations(self, evidence: Mapping[DetectorName, Evidence]) -> float | None:
        """Return how far above the mean it is, in deviations; None where it was not measured."""
        value = read(evidence.get(self.detector), self.reading)
        if value is None:
            return None
        return (transformed(value, self.transform) - self.mean) / self.deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of method, and what is known of answering with it."""

    name: str  # as the data sets call it
    intercept: float
    weights: tuple[float, ...]  # of the features, in deviations
    named_from: float | None  # probability from which on it is answered; None: never
    clips: int  # manipulated ones of it that the model was fitted on
    groups: int  # of people in those
    precision: float | None = None  # of the answer, on groups left out, families weighing alike
    answers: int = 0  # that this was measured on


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """
    Which families there are, and how they are told apart.

    Raises:
        ValueError: a family has weights of another number of features.
    """

    version: str
    features: tuple[Feature, ...]
    families: tuple[Family, ...]
    least_measured: int  # features without which nothing is answered
    words: str  # what the figures rest on, and what is left out

    def __post_init__(self) -> None:
        for family in self.families:
            if len(family.weights) != len(self.features):
                raise ValueError(
                    f"{family.name} has {len(family.weights)} weights for "
                    f"{len(self.features)} features"
                )

    @property
    def needs(self) -> frozenset[DetectorName]:
        """The detectors whose evidence is read."""
        return frozenset(feature.detector for feature in self.features)

    def measured(self, evidence: Mapping[DetectorName, Evidence]) -> int:
        """Count the features that the evidence has."""
        return sum(feature.deviations(evidence) is not None for feature in self.features)

    def probabilities(self, evidence: Mapping[DetectorName, Evidence]) -> dict[str, float]:
        """Return the probability of each family, given that one of them made it."""
        told = [feature.deviations(evidence) or 0.0 for feature in self.features]
        odds = {
            family.name: family.intercept
            + sum(w * x for w, x in zip(family.weights, told, strict=True))
            for family in self.families
        }
        return softmax(odds)

    def answer(self, evidence: Mapping[DetectorName, Evidence]) -> str:
        """Name the likeliest family, if it is likely enough and may be named at all."""
        if self.measured(evidence) < self.least_measured:
            return UNKNOWN
        found = self.probabilities(evidence)
        best = max(self.families, key=lambda family: found[family.name])
        if best.named_from is None or found[best.name] < best.named_from:
            return UNKNOWN
        return best.name


def softmax(odds: Mapping[str, float]) -> dict[str, float]:
    """Turn log odds into probabilities that are 1 together."""
    most = max(odds.values())
    shares = {name: math.exp(value - most) for name, value in odds.items()}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def read(said: Evidence | None, reading: str) -> float | None:
    """Read a number of a finding; None where there is none."""
    if not isinstance(said, Finding):
        return None
    if reading == LOGIT:
        p = said.fake_probability
        return None if p is None else math.log(max(p, _SURE) / max(1 - p, _SURE))
    if reading == VALUE:
        return None if said.cue is None else said.cue.value
    return said.measurements.get(reading)


def read_attribution(path: Path = FILE) -> Attribution:
    """
    Read the file.

    Raises:
        ValueError: it names a detector that this program does not know, or a number that cannot be.
    """
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Attribution(
        version=str(body["version"]),
        features=tuple(
            Feature(
                detector=DetectorName(f["detector"]),
                reading=str(f["reading"]),
                transform=Transform(f["transform"]),
                mean=float(f["mean"]),
                deviation=float(f["deviation"]),
            )
            for f in body["features"]
        ),
        families=tuple(
            Family(
                name=str(f["name"]),
                intercept=float(f["intercept"]),
                weights=tuple(map(float, f["weights"])),
                named_from=None if f["named_from"] is None else float(f["named_from"]),
                clips=int(f["clips"]),
                groups=int(f["groups"]),
                precision=None if f["precision"] is None else float(f["precision"]),
                answers=int(f["answers"]),
            )
            for f in body["families"]
        ),
        least_measured=int(body["least_measured"]),
        words=str(body["words"]),
    )


def readings(evidence: Sequence[Evidence]) -> dict[tuple[DetectorName, str], float]:
    """Return everything that could be a feature of one person."""
    found: dict[tuple[DetectorName, str], float] = {}
    for said in evidence:
        if isinstance(said, Finding):
            for reading in (LOGIT, VALUE, *said.measurements):
                value = read(said, reading)
                if value is not None:
                    found[said.detector, reading] = value
    return found
