"""
Does the face waver where something passes before it?

What paints a face into every frame meets a hand, a glass or a strand of hair before it in some, and
paints over it in one frame and not in the next. Looked for is a compact part of the skin that
departs for a while from how the same face looks in the same pose at other times, once mouth, eyes
and light are left out; measured is how unsteady its outline is, 1 less the mean overlap
(intersection over union) of what is covered in one frame and in the next, movement taken out.

Abstains: where nothing passed, which is so in most clips; below 20 frames a second, for less than
two seconds of track and for small faces; where the head never stands as it does at another time;
in the dark.

How it is fooled: what rests before the face for the whole clip is taken for the face; a shadow or a
reflection is taken for something that passes; fingers that move change their outline in real videos
too. It is blind to what is coloured like skin and to what covers the mouth alone: of the clips at
hand in which a hand touches a face it finds none, and it answers for one of 171, before which a
caption is wiped away. A brown disc that was drawn passing before 46 real faces it finds in 42, with
a median of 0.17; painted over with face in three blocks of ten, anew in every frame, in 37, with
0.39. How much it tells of forgeries is not known.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Span,
)
from workers.detection import face_regions
from workers.detection.face_regions import Mask
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import (
    LANDMARKS,
    SMALL_SIDE_PX,
    Examination,
    FaceClip,
    FaceTrack,
    Floats,
    Image,
)

LEAST_TRACK_S = 2.0
LEAST_RATE_HZ = 20.0
LEAST_FACE_PX = 60.0
LEAST_LIGHT = 16.0
"""Of 255."""

SHRINK = 2
"""A mask has a pixel for so many of the small picture, either way: finer is noise and movement."""
SIDE_PX = SMALL_SIDE_PX // SHRINK
REFERENCES = 30
"""Frames, spread over the track, that others are compared with."""
NEAREST = 3
"""References that a frame is compared with, those in the pose most like its own; their median."""
LEAST_APART_S = 1.0
"""Between a frame and what it is compared with: what covers the face in both is not seen."""
MOST_POSE_PX = 4.0
"""Of the small picture, mean over points: what is further is another pose. What
covers a face pushes the points about, so it is not less."""
POSE_POINTS = 8
"""Every so many-th point of the mesh tells the pose."""
LOOKS = 9
"""Frames that the regions are laid by; the small pictures are steady."""
MOUTH_SCALE, EYE_SCALE = 1.5, 1.8
"""How much more than lips and lids is left out, as they move: the teeth and glasses."""

LEAST_CHANGE = 25.0
"""Steps of 255 by which covered skin departs, in the colour that does most, beside LEAST_SPREADS
times what the pixel usually does."""
LEAST_SPREADS = 3.0
LEAST_AREA = 0.05
"""Share of the skin that must be covered in one piece: two fingers are more, a shadow of the nose
less. Of 171 clips two have as much for so long: a caption that is wiped away, and a shadow."""
MOST_AREA = 0.5
"""Share beyond which it is another picture, not the same with something before it."""
LEAST_RUN = 4
"""Frames in a row that something must be there for."""
LEAST_STEPS = 6
"""Pairs of frames that an answer rests on."""
SUSPICIOUS = Suspicious.HIGH
TRANSFORM = Transform.NONE
"""For the reference: the value is in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occlusion:
    """One time that something was before the face."""

    first: int  # index into the small pictures
    last: int
    covered: NDArray[np.bool_]  # [F, SIDE_PX, SIDE_PX] of the frames from first to last
    area: float  # largest share of the skin that was covered


def instability(covered: NDArray[np.bool_]) -> Floats:
    """
    Measure how unlike the outlines of successive masks are, movement taken out.

    Args:
        covered: `[F, H, W]`, each with a pixel that is set.

    Returns:
        `[F - 1]`: 0 where a mask is the one before, moved by whole pixels; 1 where none is left.
    """
    steps = []
    for before, after in itertools.pairwise(covered):
        shift = np.rint(_middle(after) - _middle(before)).astype(int)
        moved = _moved(before, int(shift[0]), int(shift[1]))
        union = np.count_nonzero(moved | after)
        steps.append(1 - np.count_nonzero(moved & after) / union if union else 0.0)
    return np.array(steps, np.float32)


def occlusions(track: FaceTrack) -> tuple[Occlusion, ...] | None:
    """
    Find what passes before a face in the small pictures of a track.

    Returns:
        By time. None where the face cannot be compared with itself: no points, no skin in the
        picture, or no other time at which the head stands alike.
    """
    pictures = _shrunk(track)
    points = _points(track)
    skin = _skin(track, points)
    if skin is None:
        return None
    compared = _compared(pictures, points, track.pts_s[: len(pictures)], skin)
    if compared is None:
        return None
    change, is_known = compared
    usual = np.median(change[is_known], axis=0)
    is_changed = (change > LEAST_CHANGE + LEAST_SPREADS * usual) & skin & is_known[:, None, None]
    covered = np.stack(
        [
            _largest_piece(mask & _face(shape)) if mask.any() else mask
            for mask, shape in zip(is_changed, points, strict=True)
        ]
    )
    areas = covered.sum(axis=(1, 2)) / skin.sum()
    return tuple(
        Occlusion(
            first=first,
            last=last,
            covered=covered[first : last + 1],
            area=float(areas[first : last + 1].max()),
        )
        for first, last in _runs((areas >= LEAST_AREA) & (areas <= MOST_AREA))
        if last - first + 1 >= LEAST_RUN
    )


class OcclusionFlicker:
    """
    Compares how steady the outline of what covers a face is with how steady it is in real clips.

    Args:
        reference: the same in real clips in which something passes.
    """

    name = DetectorName.OCCLUSION_FLICKER
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Look for what passes before a person's face, in every track that is long enough."""
        del prior
        tracks = [t for t in clip.tracks if _seen_s(t) >= LEAST_TRACK_S]
        return Examination(evidence=self._refuse(clip, tracks) or self._measure(tracks))

    def _refuse(self, clip: FaceClip, tracks: list[FaceTrack]) -> Abstention | None:
        if not tracks:
            longest_s = max(_seen_s(t) for t in clip.tracks)
            return self._abstain(
                AbstainReason.TRACK_TOO_SHORT,
                f"the face was followed for {longest_s:.1f} s without a break",
                f"{LEAST_TRACK_S:.0f} s or more",
            )
        rate_hz = sum(len(t.small) - 1 for t in tracks) / sum(_seen_s(t) for t in tracks)
        if rate_hz < LEAST_RATE_HZ:
            return self._abstain(
                AbstainReason.FRAME_RATE_TOO_LOW,
                f"the face was seen {rate_hz:.1f} times a second",
                f"{LEAST_RATE_HZ:.0f} fps or more",
            )
        if not clip.median_face_px >= LEAST_FACE_PX:
            return self._abstain(
                AbstainReason.FACE_TOO_SMALL,
                f"the face is {clip.median_face_px:.0f} px wide and high",
                f"{LEAST_FACE_PX:.0f} px or more",
            )
        if (light := max(float(t.small.mean()) for t in tracks)) < LEAST_LIGHT:
            return self._abstain(
                AbstainReason.TOO_DARK,
                f"mean brightness of the face {light:.0f} of 255",
                f"{LEAST_LIGHT:.0f} or more",
            )
        return None

    def _measure(self, tracks: list[FaceTrack]) -> Finding | Abstention:
        looked = [occlusions(t) for t in tracks]
        if all(found is None for found in looked):
            return self._abstain(
                AbstainReason.LANDMARKS_UNSTABLE,
                "the face never stands as it does at another time",
                f"the same pose twice, {LEAST_APART_S:.0f} s or more apart",
            )
        found = [(t, o) for t, several in zip(tracks, looked, strict=True) for o in several or ()]
        steps = [instability(o.covered) for _, o in found]
        pairs = sum(map(len, steps))
        if pairs < LEAST_STEPS:
            return self._abstain(
                AbstainReason.NO_OCCLUSION,
                f"something covered the face in {sum(len(o.covered) for _, o in found)} frames",
                f"something that covers {LEAST_AREA:.0%} of the skin for {LEAST_STEPS + 1} frames",
            )
        unsteady = np.concatenate(steps)
        value = float(unsteady.mean())
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name,
                value,
                "of the outline changes from frame to frame",
                suspicious=SUSPICIOUS,
            ),
            frames=sum(len(o.covered) for _, o in found),
            spans=tuple(
                Span(first_s=float(t.pts_s[o.first]), last_s=float(t.pts_s[o.last]))
                for t, o in found
            ),
            measurements={
                "occlusions": float(len(found)),
                "largest_covered_share": max(o.area for _, o in found),
                "largest_outline_change": float(unsteady.max()),
            },
            caveat="Hardly measured: few clips show something that passes before a face. Shadows "
            "and quick turns of the head can look like it.",
        )

    def _abstain(self, reason: AbstainReason, detail: str, needs: str) -> Abstention:
        return Abstention(detector=self.name, reason=reason, detail=detail, needs=needs)


def _seen_s(track: FaceTrack) -> float:
    """Return how long the small pictures of a track last."""
    return float(track.pts_s[len(track.small) - 1] - track.pts_s[0]) if len(track.small) else 0.0


def _shrunk(track: FaceTrack) -> Floats:
    """Return the small pictures, smaller and less noisy, `[S, SIDE_PX, SIDE_PX, 3]`."""
    size = (SIDE_PX, SIDE_PX)
    return np.stack(
        [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in track.small]
    ).astype(np.float32)


def _points(track: FaceTrack) -> Floats:
    """Return the mesh in every small picture, `[S, LANDMARKS, 2]`; NaN where it is missing."""
    placed = np.full((len(track.small), LANDMARKS, 2), np.nan, np.float32)
    is_placed = np.isfinite(track.landmarks_px[: len(placed), :LANDMARKS]).all(axis=(1, 2))
    for i in np.flatnonzero(is_placed):
        placed[i] = face_regions.points_in_small(track.landmarks_px[i])
    return placed


def _face(points: Floats) -> Mask:
    """Return the face as it is turned in one frame; beside it a wall shows that is no occluder."""
    shrunk = np.asarray((points + 0.5) / SHRINK - 0.5, np.float32)
    return face_regions.hull_mask(shrunk, SIDE_PX, scale=face_regions.INNER)


def _skin(track: FaceTrack, points: Floats) -> Mask | None:
    """Return the skin without what moves by itself, `[SIDE_PX, SIDE_PX]`; None where none is."""
    looks = np.unique(np.linspace(0, len(points) - 1, LOOKS).round().astype(int))
    looks = looks[np.isfinite(points[looks]).all(axis=(1, 2))]
    if not len(looks):
        return None
    still = np.median(points[looks], axis=0).astype(np.float32)
    skin = face_regions.hull_mask(still, SMALL_SIDE_PX, scale=face_regions.INNER)
    for i in looks:
        skin &= ~face_regions.hull_mask(
            points[i][list(face_regions.MOUTH)], SMALL_SIDE_PX, scale=MOUTH_SCALE
        )
    for eye in face_regions.EYES:
        skin &= ~face_regions.hull_mask(still[list(eye)], SMALL_SIDE_PX, scale=EYE_SCALE)
    skin &= _shows(track.small[looks])
    shrunk = np.asarray(skin.reshape(SIDE_PX, SHRINK, SIDE_PX, SHRINK).all(axis=(1, 3)))
    return shrunk if shrunk.sum() * LEAST_AREA >= 1 else None


def _shows(pictures: Image) -> Mask:
    """Return where none of some small pictures lies beyond the frame."""
    return np.asarray(pictures.max(axis=3).min(axis=0) > 0)


def _compared(
    pictures: Floats, points: Floats, pts_s: NDArray[np.float64], skin: Mask
) -> tuple[Floats, NDArray[np.bool_]] | None:
    """
    Compare every frame with others in which the head stands alike, in the same light.

    Returns:
        `[S, SIDE_PX, SIDE_PX]` change in the colour that changes most, of 255; `[S]` whether
        there was something to compare with. None where there was not for half of the frames.
    """
    chosen = np.unique(np.linspace(0, len(pictures) - 1, REFERENCES).round().astype(int))
    pose = points[:, ::POSE_POINTS]
    apart_px = np.linalg.norm(pose[:, None] - pose[None, chosen], axis=-1).mean(axis=-1)
    is_other_time = np.abs(pts_s[:, None] - pts_s[None, chosen]) >= LEAST_APART_S
    apart_px = np.where(is_other_time & np.isfinite(apart_px), apart_px, np.inf)
    if len(chosen) < NEAREST:
        return None
    order = np.argsort(apart_px, axis=1, kind="stable")[:, :NEAREST]
    is_known = np.take_along_axis(apart_px, order, axis=1)[:, -1] <= MOST_POSE_PX
    if is_known.mean() < 1 / 2:
        return None
    first, second, third = (pictures[chosen[order[:, n]]] for n in range(NEAREST))
    usual = np.maximum(
        np.minimum(first, second), np.minimum(np.maximum(first, second), third)
    )  # the median of three
    light = np.median(pictures[:, skin] / np.maximum(usual[:, skin], 8), axis=1)
    light = np.clip(light, 1 / 4, 4)[:, None, None].astype(np.float32)
    change = np.abs(pictures - usual * light).max(axis=3)
    return np.asarray(change, np.float32), is_known


def _largest_piece(mask: Mask) -> Mask:
    """Return the largest piece of a mask that hangs together, threads left out."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    if count == 1:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last index of every stretch that is set."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(firsts.tolist(), (ends - 1).tolist(), strict=True))


def _middle(mask: Mask) -> NDArray[np.float64]:
    return np.asarray(np.argwhere(mask).mean(axis=0)) if mask.any() else np.zeros(2)


def _moved(mask: Mask, down: int, right: int) -> Mask:
    """Shift a mask; what leaves the picture is gone."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved
