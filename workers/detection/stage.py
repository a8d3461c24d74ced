"""
What passes between the stages of an analysis? The only types that carry arrays.

Images are RGB `uint8 [H, W, 3]` in the displayed orientation. Points are `[x, y]` in pixels,
the centre of the top left pixel at `(0, 0)`. Media time is seconds, `pts_s`, kept beside every
array over frames: phones record at a variable rate, so an index is not a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import DetectorName, Evidence

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

CROP_SIDE_PX = 256
"""Side of an aligned face crop; the face box fills the middle 1 / CROP_MARGIN of it."""
CROP_MARGIN = 1.3
THUMBNAIL_SIDE_PX = 384
SMALL_SIDE_PX = 96
"""Side of the small picture of a face that is kept of frame after frame."""
SMALL_MARGIN = 1.5
"""A small picture is so many times as wide as the face."""
MOST_SMALL = 600
"""Small pictures kept of one face: 20 s at 30 fps, 17 MB."""
LANDMARKS = 468
"""Points on the skin: those of the MediaPipe face mesh, in its order."""
LANDMARKS_WITH_IRISES = LANDMARKS + 10
"""All points of a face: after the skin five of each iris, which move with the gaze."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One decoded picture."""

    index: int  # among all decoded frames, from 0
    pts_s: float
    rgb: Image  # [H, W, 3]; may be smaller than the video, see `scale`
    scale: float  # pixels of `rgb` for one pixel of the video, in (0, 1]
    is_keyframe: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceSample:
    """One aligned look at a face, upright, for the networks."""

    frame_index: int
    pts_s: float
    crop: Image  # [CROP_SIDE_PX, CROP_SIDE_PX, 3]
    frame_from_crop: Floats  # [2, 3] affine: crop pixel -> pixel of the whole video frame
    sharpness: float  # variance of the Laplacian of the grey crop
    thumbnail: Image  # the whole frame, longer side at most THUMBNAIL_SIDE_PX


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTrack:
    """One face followed without a break, within one shot. All arrays are over its T frames."""

    shot: int
    frame_index: NDArray[np.int64]  # [T]
    pts_s: NDArray[np.float64]  # [T] strictly rising
    box_px: Floats  # [T, 4] x, y, width, height in pixels of the video
    landmarks_px: Floats  # [T, LANDMARKS_WITH_IRISES, 2] in pixels of the video
    presence: Floats  # [T] in [0, 1]; how sure the landmark network is that a face is there
    is_keyframe: NDArray[np.bool_]  # [T]
    samples: tuple[FaceSample, ...]  # evenly spread over the track, by time
    small: (
        Image  # [S, SMALL_SIDE_PX, SMALL_SIDE_PX, 3] of its first S frames, S <= T, without gaps;
    )
    # cut by `align.steady_region` of the frame's landmarks, SMALL_MARGIN times as wide


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sound:
    """A stretch of sound."""

    samples: NDArray[np.int16]  # [N, C]; C is 1, or 2 for left and right
    rate_hz: int
    start_s: float  # of the first sample, in the time of the pictures
    codec: str = ""  # that it was stored in
    decoder: str = ""  # in words
    is_cut: bool = False  # there was more than may be held
    is_damaged: bool = False  # some of it could not be decoded

    @property
    def channels(self) -> int:
        """1 or 2."""
        return int(self.samples.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceClip:
    """All that is known of one person: what a detector is given."""

    person_id: str
    tracks: tuple[FaceTrack, ...]  # at least one, by time
    frame_width_px: int  # of the video, as displayed
    frame_height_px: int
    rate_hz: float  # mean rate of the frames that were kept
    sound: Sound | None = None  # of the whole video; None where it has none that can be heard

    @property
    def samples(self) -> tuple[FaceSample, ...]:
        """Every aligned look at the person, by time."""
        return tuple(s for t in self.tracks for s in t.samples)

    @property
    def frames(self) -> int:
        """How many frames the person was followed for."""
        return sum(len(t.pts_s) for t in self.tracks)

    @property
    def followed_s(self) -> float:
        """Seconds the person was followed for, gaps between tracks left out."""
        return float(sum(t.pts_s[-1] - t.pts_s[0] for t in self.tracks))

    @property
    def median_face_px(self) -> float:
        """Side of the face box: median over frames of the root of its area."""
        boxes = np.concatenate([t.box_px for t in self.tracks])
        return float(np.median(np.sqrt(boxes[:, 2] * boxes[:, 3])))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelMask:
    """Which pixels of one sample are manipulated, as a detector sees it."""

    sample: FaceSample
    probability: Floats  # [CROP_SIDE_PX, CROP_SIDE_PX] in [0, 1]
    area: float  # share of the crop over one half


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttentionMap:
    """Which pixels of one sample a network went by."""

    sample: FaceSample
    weight: Floats  # [CROP_SIDE_PX, CROP_SIDE_PX] in [0, 1]; 1 where hiding pixels matters most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examination:
    """What a detector returns: evidence that may leave the worker, maps that may not as such."""

    evidence: Evidence
    masks: tuple[PixelMask, ...] = ()
    attention: tuple[AttentionMap, ...] = ()


class Detector(Protocol):
    """One question asked of one person. One file each, under `detectors/`."""

    @property
    def name(self) -> DetectorName:
        """The question."""
        ...

    @property
    def needs(self) -> frozenset[DetectorName]:
        """Detectors that must have answered before, found in `prior`."""
        ...

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Answer, or abstain with a reason. Changes nothing; the same clip, the same answer."""
        ...


def check_order(detectors: Sequence[Detector]) -> None:
    """Raise ValueError unless every detector runs after the ones it needs, and once."""
    done: set[DetectorName] = set()
    for detector in detectors:
        if missing := detector.needs - done:
            raise ValueError(f"{detector.name} needs {sorted(missing)} to run first")
        if detector.name in done:
            raise ValueError(f"{detector.name} is listed twice")
        done.add(detector.name)
