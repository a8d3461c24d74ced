"""
What is remembered of a face while it is followed?

Of every frame its landmarks and its box, in pixels of the video; of some frames a picture.
"""

from dataclasses import dataclass

import numpy as np

from workers.detection import align
from workers.detection.landmarks import Landmarks
from workers.detection.looks import Looks, spread
from workers.detection.stage import (
    MOST_SMALL,
    SMALL_MARGIN,
    SMALL_SIDE_PX,
    THUMBNAIL_SIDE_PX,
    FaceClip,
    FaceSample,
    FaceTrack,
    Floats,
    Frame,
    Image,
)


class Moment:
    """One frame while it is being looked at; `turn` counts the frames that were."""

    def __init__(self, turn: int, frame: Frame) -> None:
        self.turn = turn
        self.frame = frame
        self._thumbnail: Image | None = None

    @property
    def thumbnail(self) -> Image:
        """The whole frame, small; made when first wanted, shared by all faces in it."""
        if self._thumbnail is None:
            self._thumbnail = align.resized(self.frame.rgb, longer_side_px=THUMBNAIL_SIDE_PX)
        return self._thumbnail


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sight:
    """A face in one frame, in pixels of the video."""

    turn: int
    frame_index: int
    pts_s: float
    is_keyframe: bool
    landmarks_px: Floats
    presence: float


class Track:
    """One face in frames that follow one another."""

    def __init__(self, samples: int) -> None:
        self.looks = Looks(samples)
        self._sights: list[_Sight] = []
        self._small: list[Image] = []  # of the first so many sights

    @property
    def frames(self) -> int:
        """In how many frames the face was seen."""
        return len(self._sights)

    @property
    def first_s(self) -> float:
        """When the face was first seen."""
        return self._sights[0].pts_s

    @property
    def last_s(self) -> float:
        """When the face was last seen."""
        return self._sights[-1].pts_s

    @property
    def last_turn(self) -> int:
        """In which frame the face was last seen."""
        return self._sights[-1].turn

    def boxes_px(self) -> Floats:
        """Return the box in every frame, `[T, 4]`."""
        return np.stack([align.bounding_box(s.landmarks_px) for s in self._sights])

    def see(self, moment: Moment, landmarks: Landmarks) -> None:
        """Remember the face in one more frame."""
        frame = moment.frame
        self._sights.append(
            _Sight(
                turn=moment.turn,
                frame_index=frame.index,
                pts_s=frame.pts_s,
                is_keyframe=frame.is_keyframe,
                landmarks_px=align.points_in_video(landmarks.points_px, scale=frame.scale),
                presence=landmarks.presence,
            )
        )
        if self.looks.wants(moment.turn):
            self.looks.add(moment.turn, _look(moment, landmarks))
        if len(self._small) == len(self._sights) - 1 < MOST_SMALL:
            region = align.steady_region(landmarks.points_px).scaled(SMALL_MARGIN)
            self._small.append(align.crop(frame.rgb, region, side_px=SMALL_SIDE_PX))

    @property
    def small(self) -> int:
        """How many small pictures there are."""
        return len(self._small)

    def forget_small(self) -> None:
        """Let go of the small pictures, all but the first."""
        del self._small[1:]

    def forget_after(self, turn: int) -> None:
        """Take back what was remembered of later frames."""
        self._sights = [s for s in self._sights if s.turn <= turn]
        del self._small[len(self._sights) :]
        self.looks.forget_after(turn)

    def finish(self, shot: int, samples: tuple[FaceSample, ...]) -> FaceTrack:
        """Return the track as detectors get it."""
        return FaceTrack(
            shot=shot,
            frame_index=np.array([s.frame_index for s in self._sights], np.int64),
            pts_s=np.array([s.pts_s for s in self._sights], np.float64),
            box_px=self.boxes_px(),
            landmarks_px=np.stack([s.landmarks_px for s in self._sights]),
            presence=np.array([s.presence for s in self._sights], np.float32),
            is_keyframe=np.array([s.is_keyframe for s in self._sights], np.bool_),
            samples=samples,
            small=np.stack(self._small),
        )


class Face:
    """A person as far as one shot goes: tracks with short gaps between them."""

    def __init__(self, *, shot: int, samples: int) -> None:
        self.tracks: list[Track] = []
        self.unseen = 0  # detector runs since one last saw the face
        self.seen_turn = 0  # when one last did
        self._shot = shot
        self._samples = samples
        self._landmarks_px: Floats | None = None  # in the last frame, in its pixels

    @property
    def landmarks_px(self) -> Floats:
        """Where the face was last, in pixels of that frame."""
        assert self._landmarks_px is not None, "a face is seen as soon as there is one"
        return self._landmarks_px

    @property
    def box_px(self) -> Floats:
        """The box around it, `[4]`."""
        return align.bounding_box(self.landmarks_px)

    @property
    def last_s(self) -> float:
        """When the face was last seen."""
        return self.tracks[-1].last_s

    @property
    def frames(self) -> int:
        """In how many frames the face was seen."""
        return sum(t.frames for t in self.tracks)

    @property
    def followed_s(self) -> float:
        """Seconds on screen, gaps left out."""
        return sum(t.last_s - t.first_s for t in self.tracks)

    @property
    def side_px(self) -> float:
        """Side of the face in the video: median of the root of the box's area."""
        boxes = np.concatenate([t.boxes_px() for t in self.tracks])
        return float(np.median(np.sqrt(boxes[:, 2] * boxes[:, 3])))

    def see(self, moment: Moment, landmarks: Landmarks) -> None:
        """Remember the face in one more frame; a gap since the last one begins another track."""
        if not self.tracks or self.tracks[-1].last_turn < moment.turn - 1:
            self.tracks.append(Track(self._samples))
        self.tracks[-1].see(moment, landmarks)
        self._landmarks_px = landmarks.points_px

    def was_detected(self, turn: int) -> None:
        """Note that the detector sees a face here as well."""
        self.unseen = 0
        self.seen_turn = turn

    def forget_unseen(self) -> None:
        """Take back what was followed since the detector last saw the face."""
        for track in self.tracks:
            track.forget_after(self.seen_turn)
        self.tracks = [t for t in self.tracks if t.frames]

    @property
    def small(self) -> int:
        """How many small pictures there are of it."""
        return sum(t.small for t in self.tracks)

    def forget_small(self) -> None:
        """Let go of the small pictures, all but the first of each track."""
        for track in self.tracks:
            track.forget_small()

    def thin(self, wanted: int) -> None:
        """Let go of looks, evenly, until no more than so many are held."""
        held = [t.looks for t in self.tracks]
        step = max(looks.step for looks in held)
        while sum(len(looks.every(step)) for looks in held) > wanted:
            step *= 2
        for looks in held:
            looks.thin(step)

    def finish(self, person_id: str, *, width_px: int, height_px: int, rate_hz: float) -> FaceClip:
        """Return the person as detectors get it."""
        samples = spread([t.looks for t in self.tracks], wanted=self._samples)
        return FaceClip(
            person_id=person_id,
            tracks=tuple(
                t.finish(self._shot, s) for t, s in zip(self.tracks, samples, strict=True)
            ),
            frame_width_px=width_px,
            frame_height_px=height_px,
            rate_hz=rate_hz,
        )


def _look(moment: Moment, landmarks: Landmarks) -> FaceSample:
    frame = moment.frame
    region = align.region_of_crop(align.region_of_landmarks(landmarks.points_px))
    picture = align.crop(frame.rgb, region)
    return FaceSample(
        frame_index=frame.index,
        pts_s=frame.pts_s,
        crop=picture,
        frame_from_crop=align.in_video(region.frame_from_crop(picture.shape[0]), scale=frame.scale),
        sharpness=align.sharpness(picture),
        thumbnail=moment.thumbnail,
    )
