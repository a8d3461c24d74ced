"""
Who is in the video, and where in each frame is each face?

A detector finds the faces of a frame now and then: at the start of a shot, when a face was lost,
and every so many frames. In between the landmark network follows each face from where it was.
Frames come one by one and are let go; what is kept of all of them is landmarks and boxes.

A face ends with its shot, gaps of less than a second bridged where it comes back to the same
place. Whether whoever is seen after a cut is somebody from before can be told by their features
alone; a `Linker` compares those. A guess from the place in the picture would mix people up in
every dialogue, and so dilute the evidence on each: without a linker everybody is new after a cut.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.face_detectors import FaceDetector, FoundFaces
from workers.detection.landmarks import Landmarker, Landmarks
from workers.detection.shots import ShotCuts
from workers.detection.stage import FaceClip, Floats, Frame
from workers.detection.tracks import Face, Moment

LEAST_PRESENCE = 0.5
"""Of a face that is followed. Faces are at 0.99 and over; profiles and blurred ones waver."""
SURE_PRESENCE = 0.9
"""Of a face that is taken up: 525 of 526 that are faces to the mesh as well have it at once."""
SAME_FACE = 0.3
"""Least overlap of two boxes that are taken for the same face."""
SAME_PLACE = 0.6
"""Two faces that overlap more are one that is followed twice."""
SURE_SCORE = 0.8
"""A detection over it, which the landmark network denies, is a face that could not be followed;
those under it were shadows and reflections in the clips looked at."""
UNSEEN = 3
"""A face that the detector misses so many times running is no longer one: the landmark network
can go on seeing a face in what it once took for one."""
LEAST_SIDE_PX = 12.0
"""Of a face in the frame that is looked at; below it landmarks are noise."""
GAP_S = 1.0
LEAST_FRAMES = 3
LEAST_S = 0.2
LEAST_FACE_PX = 16.0
MOST_FACES = 64
"""Kept until they are linked, those longest on screen; each shot has faces of its own."""
MOST_LOOKS = 512
"""Kept of all faces that are over, a like number of each: with their thumbnails, 230 MB."""
MOST_SMALL_HELD = 10_000
"""Small pictures kept of all faces that are over, those longest on screen first: 276 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The persons of a video, and what was seen besides them."""

    persons: tuple[FaceClip, ...]  # "p1", "p2", ... by time on screen, longest first
    too_brief: int  # faces that were there for less than LEAST_S
    too_small: int  # faces under LEAST_FACE_PX
    too_many: int  # times that a face was passed over, as enough others are examined
    unfollowed: int  # times that the detector saw a face which could not be followed


class Linker(Protocol):
    """Tells which faces are one person."""

    def link(self, faces: Sequence[FaceClip]) -> tuple[FaceClip, ...]:
        """Join faces of one shot each into persons, "p1", "p2", ..., longest on screen first."""
        ...


class FaceFollower:
    """
    Turns the frames of a video into persons.

    Args:
        detect_every: frames between two runs of the detector.
        samples_per_person: aligned crops kept of each.
        max_persons: as many are followed at a time, and as many are returned.
        linker: joins faces over shots; without one each is a person.
    """

    def __init__(
        self,
        detector: FaceDetector,
        landmarker: Landmarker,
        *,
        detect_every: int,
        samples_per_person: int,
        max_persons: int,
        linker: Linker | None = None,
    ) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._detect_every = detect_every
        self._samples_per_person = samples_per_person
        self._max_persons = max_persons
        self._linker = linker

    def follow(self, frames: Iterable[Frame], *, width_px: int, height_px: int) -> Followed:
        """
        Follow every face.

        Args:
            frames: kept frames, by time; each is let go before the next is taken.
            width_px: of the video as displayed; frames may be smaller, see `Frame.scale`.
            height_px: likewise.
        """
        cuts = ShotCuts()
        cast = _Cast(self._max_persons if self._linker is None else MOST_FACES)
        scene = self._scene(0)
        pts_s: list[float] = []  # of the first frame and of the last
        turn = -1
        for turn, frame in enumerate(frames):
            if cuts.is_cut(frame.rgb):
                cast.add(scene.end())
                scene = self._scene(scene.shot + 1)
            cast.add(scene.look(Moment(turn, frame)))
            cast.unfollowed += scene.unfollowed
            cast.too_many += scene.too_many
            pts_s = [*pts_s[:1], frame.pts_s]
        cast.add(scene.end())
        on_for_s = pts_s[-1] - pts_s[0] if pts_s else 0.0
        followed = cast.followed(
            width_px=width_px,
            height_px=height_px,
            rate_hz=turn / on_for_s if on_for_s > 0 else 0.0,
        )
        return followed if self._linker is None else self._linked(followed, self._linker)

    def _linked(self, followed: Followed, linker: Linker) -> Followed:
        persons = linker.link(followed.persons)
        passed_over = max(0, len(persons) - self._max_persons)
        return replace(
            followed,
            persons=persons[: self._max_persons],
            too_many=followed.too_many + passed_over,
        )

    def _scene(self, shot: int) -> "_Scene":
        return _Scene(
            self._detector,
            self._landmarker,
            shot=shot,
            detect_every=self._detect_every,
            samples=self._samples_per_person,
            max_faces=self._max_persons,
        )


class _Scene:
    """One shot, frame by frame."""

    def __init__(
        self,
        detector: FaceDetector,
        landmarker: Landmarker,
        *,
        shot: int,
        detect_every: int,
        samples: int,
        max_faces: int,
    ) -> None:
        self.shot = shot
        self.unfollowed = 0  # faces seen and not followed, in the last frame
        self.too_many = 0  # faces passed over in the last frame, as there are enough
        self._detector = detector
        self._landmarker = landmarker
        self._detect_every = detect_every
        self._samples = samples
        self._max_faces = max_faces
        self._faces: list[Face] = []  # in the last frame, the longest followed first
        self._gone: list[Face] = []  # lost within the last second: they may come back
        self._detect_at: int | None = None  # turn; None: at once

    def look(self, moment: Moment) -> list[Face]:
        """Follow the faces into one more frame; returns those that will not come back."""
        self.unfollowed = self.too_many = 0
        is_one_lost = self._follow(moment)
        if is_one_lost or self._detect_at is None or moment.turn >= self._detect_at:
            self._detect_at = moment.turn + self._detect_every
            self._check(moment, self._detector.find(moment.frame.rgb))
        over = [f for f in self._gone if moment.frame.pts_s - f.last_s > GAP_S]
        self._gone = [f for f in self._gone if f not in over]
        return over

    def end(self) -> list[Face]:
        """Return everybody who is left."""
        return [*self._gone, *self._faces]

    def _follow(self, moment: Moment) -> bool:
        """Let the landmarks follow every face; returns whether one was lost."""
        before, self._faces = self._faces, []
        regions = [align.region_of_landmarks(face.landmarks_px) for face in before]
        for face, landmarks in zip(before, self._place(moment, regions), strict=True):
            box = align.bounding_box(landmarks.points_px) if landmarks else None
            if (
                landmarks is not None
                and box is not None
                and align.overlap(box, [face.box_px])[0] >= SAME_FACE
                and not self._is_followed(box)
            ):
                face.see(moment, landmarks)
                self._faces.append(face)
            else:
                self._gone.append(face)
        return len(self._faces) < len(before)

    def _check(self, moment: Moment, found: FoundFaces) -> None:
        """Compare with what the detector sees: take up who is new, let go who is none."""
        seen: list[Face] = []
        for i in np.argsort(-found.box_px[:, 2] * found.box_px[:, 3], kind="stable"):
            face = _nearest(self._faces, found.box_px[i])
            if face is not None:
                seen.append(face)
                face.was_detected(moment.turn)
                continue
            region = align.region_of_points(found.box_px[i], found.point_px[i])
            (landmarks,) = self._place(moment, [region], least_presence=SURE_PRESENCE)
            if landmarks is None:
                self.unfollowed += int(found.score[i] >= SURE_SCORE)
                continue
            box = align.bounding_box(landmarks.points_px)
            if self._is_followed(box):
                continue
            if len(self._faces) >= self._max_faces:
                self.too_many += 1
                continue
            face = self._take_up(box)
            face.see(moment, landmarks)
            face.was_detected(moment.turn)
            seen.append(face)
        for face in [f for f in self._faces if f not in seen]:
            face.unseen += 1
            if face.unseen >= UNSEEN:
                face.forget_unseen()
                self._faces.remove(face)
                self._gone.append(face)

    def _take_up(self, box_px: Floats) -> Face:
        """Return the face that was lost here a moment ago, or else a new one."""
        face = _nearest(self._gone, box_px)
        if face is None:
            face = Face(shot=self.shot, samples=self._samples)
        else:
            self._gone.remove(face)
        self._faces.append(face)
        return face

    def _place(
        self,
        moment: Moment,
        regions: list[FaceRegion],
        *,
        least_presence: float = LEAST_PRESENCE,
    ) -> list[Landmarks | None]:
        """Place the points of all faces at once; None where a region holds none."""
        is_wide = [region.side_px >= LEAST_SIDE_PX for region in regions]
        wide = [region for region, wanted in zip(regions, is_wide, strict=True) if wanted]
        placed = iter(self._landmarker.place_all(moment.frame.rgb, wide))
        return [_if_there(next(placed), least_presence) if wanted else None for wanted in is_wide]

    def _is_followed(self, box_px: Floats) -> bool:
        return bool((align.overlap(box_px, [f.box_px for f in self._faces]) > SAME_PLACE).any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kept:
    """A face with what it is ranked by, measured once."""

    face: Face
    followed_s: float
    side_px: float


class _Cast:
    """The faces so far: those longest on screen, no more than are wanted."""

    def __init__(self, max_faces: int) -> None:
        self.unfollowed = 0
        self.too_many = 0
        self._max_faces = max_faces
        self._kept: list[_Kept] = []
        self._too_brief = 0
        self._too_small = 0

    def add(self, faces: list[Face]) -> None:
        """Take in faces that will not be seen again."""
        if not faces:
            return
        for face in faces:
            if face.frames < LEAST_FRAMES or face.followed_s < LEAST_S:
                self._too_brief += 1
                continue
            kept = _Kept(face=face, followed_s=face.followed_s, side_px=face.side_px)
            if kept.side_px < LEAST_FACE_PX:
                self._too_small += 1
            else:
                self._kept.append(kept)
        self._kept.sort(key=lambda k: (-k.followed_s, -k.side_px))
        self.too_many += len(self._kept[self._max_faces :])
        del self._kept[self._max_faces :]
        self._save_room()

    def _save_room(self) -> None:
        """Let go of pictures, so that many faces take no more room than some."""
        looks = MOST_LOOKS // max(1, len(self._kept))
        small = 0
        for kept in self._kept:
            kept.face.thin(looks)
            small += kept.face.small
            if small > MOST_SMALL_HELD:
                kept.face.forget_small()

    def followed(self, *, width_px: int, height_px: int, rate_hz: float) -> Followed:
        """Return the persons, the longest on screen first."""
        return Followed(
            persons=tuple(
                kept.face.finish(f"p{n}", width_px=width_px, height_px=height_px, rate_hz=rate_hz)
                for n, kept in enumerate(self._kept, start=1)
            ),
            too_brief=self._too_brief,
            too_small=self._too_small,
            too_many=self.too_many,
            unfollowed=self.unfollowed,
        )


def _if_there(landmarks: Landmarks, least_presence: float) -> Landmarks | None:
    is_there = landmarks.presence >= least_presence and np.isfinite(landmarks.points_px).all()
    return landmarks if is_there else None


def _nearest(faces: list[Face], box_px: Floats) -> Face | None:
    """Return the face whose last place agrees best with a box; None where none does."""
    shares = align.overlap(box_px, [f.box_px for f in faces])
    if not (shares >= SAME_FACE).any():
        return None
    return faces[int(shares.argmax())]
