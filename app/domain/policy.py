"""By which rules is a verdict made? Reviewed like code; never a setting."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.evidence import DetectorName


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
    version="2026-11-21.1",
    weights={
        DetectorName.FRAME_CLASSIFIER: 1.0,
        DetectorName.PIXEL_SEGMENTER: 0.0,
        DetectorName.TEMPORAL_SMOOTHNESS: 0.0,
        DetectorName.BLINK_RATE: 0.0,
    },
    required=frozenset({DetectorName.FRAME_CLASSIFIER}),
    manipulated_from=0.90,  # docs/models/baselines.md: above the highest of 72 real clips
    clear_below=0.10,
    disagreement=0.80,
    min_frames=8,
    caveat=(
        "Measured with baseline networks that were chosen on the same clips: at this threshold "
        "0 of 72 real clips and 4 of 102 manipulated ones were called manipulated."
    ),
)
