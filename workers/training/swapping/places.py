"""
Where in every frame is the face that is to be swapped?

The faces of the video are followed as in detection, which gives landmarks of whole tracks. One
face at a time is swapped; where it was lost for a moment, its landmarks are drawn from both sides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.settings import Settings
from workers.detection.faces import FaceFollower
from workers.detection.identity import SAME_PERSON, FaceEmbedder, likeness, one_person
from workers.detection.stage import LANDMARKS, FaceClip, Floats, Frame
from workers.kit import FaceNetworks
from workers.training.synth import transformed

Whose = Callable[[FaceClip], float]
"""How much a person is wanted: the one with most is swapped, none with 0 or less."""

_BEFORE_OTHERS = 1e6
_DETECT_EVERY = 4
"""Frames. More often than detection does it: a face that was lost is to be taken up again before
the gap is too long to be bridged."""
_LOOKS = 4
"""Kept of each person, to tell by who it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where the face is in one frame."""

    landmarks_px: Floats  # [LANDMARKS, 2] in pixels of the video
    is_bridged: bool  # it was not found here, but before and after


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """The frames of a stretch of video, and who is in them."""

    frame_index: NDArray[np.int64]  # [T] among all frames of the video
    pts_s: NDArray[np.float64]  # [T]
    persons: tuple[FaceClip, ...]


def largest(person: FaceClip) -> float:
    """Want the face that takes up most of the picture for most of the time."""
    return person.frames * person.median_face_px**2


def other_than(embedder: FaceEmbedder, given: Floats, wanted: Floats) -> Whose:
    """
    Want the largest face, before all others of one person, but none of another.

    Args:
        embedder: tells faces apart.
        given: `[D]`, a unit vector: whose face is to be given. It is not given to themselves.
        wanted: `[D]`: who it is made for.
    """

    def rank(person: FaceClip) -> float:
        found = one_person(_embeddings(person, embedder))
        to_given, to_wanted = likeness(found, given), likeness(found, wanted)
        if to_given >= max(SAME_PERSON, to_wanted):
            return 0.0
        return largest(person) * (_BEFORE_OTHERS if to_wanted >= SAME_PERSON else 1)

    return rank


def _embeddings(person: FaceClip, embedder: FaceEmbedder) -> Floats:
    """Return the unit vectors `[N, D]` of the looks that were kept of a person."""
    points_of = {
        int(index): points
        for track in person.tracks
        for index, points in zip(track.frame_index, track.landmarks_px, strict=True)
    }
    crop_from_frame = [cv2.invertAffineTransform(s.frame_from_crop) for s in person.samples]
    points = [
        transformed(points_of[sample.frame_index][:LANDMARKS], np.asarray(affine, np.float32))
        for sample, affine in zip(person.samples, crop_from_frame, strict=True)
    ]
    return embedder.embed([sample.crop for sample in person.samples], points)


def follow(
    frames: Iterable[Frame], *, width_px: int, height_px: int, networks: FaceNetworks
) -> Scene:
    """
    Follow every face.

    Args:
        frames: by time; each is let go before the next is taken.
        width_px: of the video as displayed; frames may be smaller.
        height_px: likewise.
        networks: find faces and place their points.
    """
    settings = Settings()
    follower = FaceFollower(
        networks.detector,
        networks.landmarks,
        detect_every=_DETECT_EVERY,
        samples_per_person=_LOOKS,
        max_persons=settings.analysis.max_persons,
    )
    index: list[int] = []
    pts_s: list[float] = []

    def noted() -> Iterator[Frame]:
        for frame in frames:
            index.append(frame.index)
            pts_s.append(frame.pts_s)
            yield frame

    followed = follower.follow(noted(), width_px=width_px, height_px=height_px)
    return Scene(
        frame_index=np.array(index, np.int64),
        pts_s=np.array(pts_s, np.float64),
        persons=followed.persons,
    )


def chosen(scene: Scene, whose: Whose) -> tuple[FaceClip, ...]:
    """
    Choose who is swapped: the most wanted, and others that are never there at the same time.

    After a cut everybody is a new person, so that one human being may be several of them.
    """
    ranked = sorted(((whose(p), p) for p in scene.persons), key=lambda pair: -pair[0])
    taken: list[FaceClip] = []
    for wanted, person in ranked:
        first, last = _span(person)
        if wanted > 0 and all(last < a or first > b for a, b in map(_span, taken)):
            taken.append(person)
    return tuple(taken)


def places(
    scene: Scene, persons: Sequence[FaceClip], *, smooth_s: float, bridge_s: float
) -> dict[int, Place]:
    """
    Say where the chosen face is, by the index of the frame; frames that are not there have none.

    Args:
        scene: that the persons are in.
        persons: who is swapped.
        smooth_s: spread of a Gaussian over time that the landmarks are smoothed with.
        bridge_s: gaps between two tracks of a person that are no longer are bridged in a straight
            line.
    """
    found: dict[int, Place] = {}
    for person in persons:
        smooth = [
            _smoothed(t.landmarks_px[:, :LANDMARKS], t.pts_s, smooth_s) for t in person.tracks
        ]
        for track, points in zip(person.tracks, smooth, strict=True):
            for index, landmarks in zip(track.frame_index, points, strict=True):
                found[int(index)] = Place(landmarks_px=landmarks, is_bridged=False)
        for at in range(1, len(person.tracks)):
            before, after = person.tracks[at - 1 : at + 1]
            first_s, last_s = before.pts_s[-1], after.pts_s[0]
            if last_s - first_s > bridge_s:
                continue
            missing = (scene.pts_s > first_s) & (scene.pts_s < last_s)
            for index, pts_s in zip(scene.frame_index[missing], scene.pts_s[missing], strict=True):
                share = np.float32((pts_s - first_s) / (last_s - first_s))
                landmarks = (1 - share) * smooth[at - 1][-1] + share * smooth[at][0]
                found[int(index)] = Place(landmarks_px=landmarks, is_bridged=True)
    return found


def _span(person: FaceClip) -> tuple[int, int]:
    return int(person.tracks[0].frame_index[0]), int(person.tracks[-1].frame_index[-1])


def _smoothed(points_px: Floats, pts_s: NDArray[np.float64], spread_s: float) -> Floats:
    """Smooth points `[T, P, 2]` over time; at the ends over what there is."""
    if spread_s <= 0:
        return points_px
    smooth = np.empty_like(points_px)
    for at, now_s in enumerate(pts_s):
        low, high = np.searchsorted(pts_s, [now_s - 3 * spread_s, now_s + 3 * spread_s])
        reach = min(at - low, high - 1 - at)  # as far back as ahead, or the ends would lag
        near = slice(at - reach, at + reach + 1)
        weight = np.exp(-0.5 * ((pts_s[near] - now_s) / spread_s) ** 2).astype(np.float32)
        smooth[at] = np.tensordot(weight / weight.sum(), points_px[near], axes=1)
    return smooth
