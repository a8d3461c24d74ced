"""By which rules is a verdict made? Reviewed like code; never a setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.evidence import DetectorName
from app.domain.model_version import ModelVersion

CLASSIFIER = "frame_classifier"
"""The network whose probabilities the lines are drawn through."""
COVERAGE = (
    "Replaced and re-enacted faces are what was trained for: faces that a generator made whole, "
    "and pictures set in motion, are not covered."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    Thresholds and weights of one version. A change of any number is a new version.

    Raises:
        ValueError: thresholds out of order, or no detector has a say.
    """

    version: str
    weights: Mapping[DetectorName, float]  # say of each detector in log odds; 0 = shown only
    required: frozenset[DetectorName]  # without a finding of these there is no label
    manipulated_from: float  # least fake probability to say "manipulated"
    clear_below: float  # greatest to say "no manipulation found"
    disagreement: float  # widest gap between two weighted findings that may be averaged
    min_frames: int  # fewest frames a person must be seen for
    caveat: str

    def __post_init__(self) -> None:
        if not 0 <= self.clear_below < self.manipulated_from <= 1:
            raise ValueError(
                f"want clear_below < manipulated_from, got {self.clear_below}, "
                f"{self.manipulated_from}"
            )
        if not any(w > 0 for w in self.weights.values()):
            raise ValueError("no detector has a say")


CURRENT = Policy(
    version="2026-11-21.2",
    weights={
        DetectorName.FRAME_CLASSIFIER: 1.0,
        DetectorName.PIXEL_SEGMENTER: 0.0,
        DetectorName.TEMPORAL_SMOOTHNESS: 0.0,
        DetectorName.BLINK_RATE: 0.0,
    },
    required=frozenset({DetectorName.FRAME_CLASSIFIER}),
    # Where the calibration of frame_classifier in models/manifest.toml was measured: the same
    # figures stand there, which tests/models/test_manifest.py holds them to.
    manipulated_from=0.734,
    clear_below=0.356,
    disagreement=0.80,
    min_frames=25,  # about a second; a toy or a poster that is taken for a face is seen for less
    caveat=(
        "On people whom the networks had never seen, 4 of 96 real clips were called manipulated at "
        "this threshold, and 31 of 154 manipulated ones were; 15 of those were taken for clear. "
        f"{COVERAGE}"
    ),
)


def policy_for(promoted: Sequence[ModelVersion]) -> Policy:
    """
    Return the rules for verdicts made with these versions in place of those that came along.

    Lines hold for one version of the classifier alone, so another one brings its own, and the
    policy's name says whose they are. All other rules stay.

    Raises:
        ValueError: the classifier among them was not calibrated; nobody knows its lines.
    """
    classifier = next((m for m in promoted if m.name == CLASSIFIER), None)
    if classifier is None:
        return CURRENT
    measured = classifier.operating_point
    if measured is None:
        raise ValueError(f"{classifier.versioned_name} has no calibration to draw lines by")
    return replace(
        CURRENT,
        version=f"{CURRENT.version}+{classifier.versioned_name}",
        manipulated_from=measured.manipulated_from,
        clear_below=measured.clear_below,
        caveat=f"On people whom the networks had never seen, {measured.false_positives} of "
        f"{measured.real_clips} real clips were called manipulated at this threshold. {COVERAGE}",
    )
