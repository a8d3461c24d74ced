"""What does one detector say of one person?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.media import Box, Origin, VideoFacts


class DetectorName(StrEnum):
    """Every question that is asked of a person. Wire and database spelling."""

    FRAME_CLASSIFIER = "frame_classifier"
    PIXEL_SEGMENTER = "pixel_segmenter"
    TEMPORAL_SMOOTHNESS = "temporal_smoothness"
    BLINK_RATE = "blink_rate"
    OVER_BLUR = "over_blur"
    BOUNDARY_COLOR = "boundary_color"
    DOUBLE_EDGE = "double_edge"
    MOUTH_BLUR = "mouth_blur"
    NOISE_RESIDUAL = "noise_residual"
    OCCLUSION_FLICKER = "occlusion_flicker"
    LANDMARK_FLOW = "landmark_flow"
    PULSE = "pulse"
    LIP_SYNC = "lip_sync"
    ATTENTION_MAP = "attention_map"
    ATTRIBUTION = "attribution"


class AbstainReason(StrEnum):
    """Why a detector declined to judge. Each is explained in docs/api.md."""

    MODEL_MISSING = "model_missing"
    NO_FACE = "no_face"
    NOT_SURELY_A_FACE = "not_surely_a_face"
    FACE_TOO_SMALL = "face_too_small"
    TOO_FEW_FRAMES = "too_few_frames"
    TRACK_TOO_SHORT = "track_too_short"
    FRAME_RATE_TOO_LOW = "frame_rate_too_low"
    TOO_BLURRED = "too_blurred"
    LANDMARKS_UNSTABLE = "landmarks_unstable"
    EYES_NOT_VISIBLE = "eyes_not_visible"
    SKIN_NOT_VISIBLE = "skin_not_visible"
    MOUTH_STILL = "mouth_still"
    NO_OCCLUSION = "no_occlusion"
    NO_SOUND = "no_sound"
    NO_SPEECH = "no_speech"
    TOO_DARK = "too_dark"
    TOO_COMPRESSED = "too_compressed"
    TOO_FEW_FINDINGS = "too_few_findings"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a detector saw at one moment; a point of the timeline."""

    pts_s: float
    frame_index: int
    fake_probability: float | None = None
    fake_area: float | None = None  # share of the face crop that is marked, [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of the video."""

    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """
    A measurement with a known spread in real clips. It tells something, and how much is not known.

    Raises:
        ValueError: a number is not finite.
    """

    value: float
    unit: str  # in words: "times", "blinks a minute"
    z: float | None  # deviations from real clips, higher = more suspicious; None: no reference
    reference: str = ""  # what real clips it was compared with, and how many; "" where none

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or (self.z is not None and not math.isfinite(self.z)):
            raise ValueError(f"a cue that is not finite: {self.value!r}, z {self.z!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    A detector looked and found something: a probability, a cue, an answer, or several of them.

    Raises:
        ValueError: `fake_probability` or a measurement is not finite, or out of range.
    """

    detector: DetectorName
    fake_probability: float | None = None  # [0, 1]; 1 = certainly manipulated; None: no opinion
    cue: Cue | None = None
    answer: str | None = None  # of a question that is not answered by a number
    frames: int  # how many frames the finding rests on
    spans: tuple[Span, ...] = ()  # the times it rests on; empty: all that was seen of the person
    is_calibrated: bool = False  # whether the probability was fitted on held-out clips
    model: str | None = None  # "name@version" of the network asked; None for a heuristic
    measurements: Mapping[str, float] = field(default_factory=dict)  # unit in the name
    observations: tuple[Observation, ...] = ()
    caveat: str | None = None

    def __post_init__(self) -> None:
        p = self.fake_probability
        if p is not None and not (math.isfinite(p) and 0 <= p <= 1):
            raise ValueError(f"fake_probability outside [0, 1]: {self.fake_probability!r}")
        if bad := [k for k, v in self.measurements.items() if not math.isfinite(v)]:
            raise ValueError(f"measurements that are not finite: {bad}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """A detector declined to judge. This is not the same as 50 %."""

    detector: DetectorName
    reason: AbstainReason
    detail: str = ""  # what was found
    needs: str = ""  # what would have been enough


Evidence = Finding | Abstention


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A face followed through the video, and all that was said of it."""

    id: str  # "p1", "p2", ... by time on screen, longest first
    first_s: float
    last_s: float
    frames: int
    median_face_px: float  # side of the face box
    evidence: tuple[Evidence, ...] = ()


class ArtifactKind(StrEnum):
    """What a stored picture shows."""

    MASK = "mask"  # grey, size of the frame; 255 = certainly manipulated
    CROP = "crop"  # the person's best face, RGB
    FRAME = "frame"  # a telling frame with what was marked in it, RGB, for people
    ATTENTION = "attention"  # where the classifier looked, laid over one of the person's looks, RGB


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A picture that belongs to an analysis."""

    id: str  # unique within the job: "p1-000042"
    kind: ArtifactKind
    person_id: str
    pts_s: float
    frame_index: int
    width_px: int
    height_px: int
    box_px: Box | None  # of the marked pixels; None where none are
    area: float  # share of the face crop that is marked, [0, 1]
    sha256: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What it takes to run the analysis again and get the same answer."""

    code: str  # version of this program
    models: Mapping[str, str]  # name -> "sha256:..."
    decoder: str
    device: str
    seed: int
    frame_indices: str  # what was kept, in words: "every 1st of 300"
    sandbox: str  # how the decoder was jailed
    versions: Mapping[str, str] = field(default_factory=dict)  # name -> version; old rows lack it


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything a worker found in one video, before any verdict."""

    video: VideoFacts
    persons: tuple[Person, ...]
    abstentions: tuple[Abstention, ...]  # of the whole video, where nobody could be examined
    artifacts: tuple[Artifact, ...]
    provenance: Provenance
    timings: Mapping[str, float]  # "decode_s", "faces_s", one a detector, "total_s"
    origin: Origin | None = None  # None where nobody looked; old rows
