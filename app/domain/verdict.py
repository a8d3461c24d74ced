"""What may be said of the video? A pure rule over stored evidence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.evidence import (
    Abstention,
    AbstainReason,
    Evidence,
    Finding,
    Person,
)
from app.domain.media import VideoFacts
from app.domain.policy import Policy


class Label(StrEnum):
    """The product never says "authentic"."""

    MANIPULATED = "manipulated"
    NO_MANIPULATION_FOUND = "no_manipulation_found"
    INCONCLUSIVE = "inconclusive"


class Inconclusive(StrEnum):
    """Why no label could be given. Each is explained in docs/api.md."""

    NO_FACE = "no_face"
    MODEL_MISSING = "model_missing"
    FACES_TOO_SMALL = "faces_too_small"
    TOO_FEW_FRAMES = "too_few_frames"
    TOO_BLURRED = "too_blurred"
    TRUNCATED = "truncated"
    DETECTORS_DISAGREE = "detectors_disagree"
    BETWEEN_THRESHOLDS = "between_thresholds"
    TOO_LITTLE_EVIDENCE = "too_little_evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A label with the words and numbers it rests on."""

    label: Label
    fake_probability: float | None  # of the most suspect person; None where nobody had a finding
    reasons: tuple[str, ...]  # "person p1: 0.94", or "no_face: ..." where inconclusive
    statement: str  # a sentence an editor may quote
    caveat: str
    policy: str
    by_person: Mapping[str, float | None]
