"""
Does the face move, and is it coloured, as one piece from frame to frame?

A forgery that is made frame by frame flickers: its colour is a little another in every frame, while
what is around it keeps. Measured is the flicker of colour, the second difference in time of the
shares of red and green in the light of patches, in the skin of the face against the ring around it.
A steady change of the light has none, and a camera's noise has as much in both.

Told beside it, and not part of the cue: the same of brightness; the jerk of the landmarks, which is
the third difference in time once each frame's position, turn and size were fitted to the person's
mean face; the spread of the frame classifier's scores. Each alone was no better than a coin on the
106 clips that the flicker was chosen on (a fake above a real in 44, 46 and 45 of 100 pairs), and a
mean with any of them was worse than the flicker alone, which is so in 72.

Jumps at keyframes are the codec's and left out. Abstains: below 20 frames a second, where real
movement looks like trembling; for less than two seconds of track; for small faces; where landmarks
are missing or unsure; where nothing around the face is in the picture; in the dark.

How it is fooled: a coloured or busy background that moves behind the head flickers as well and
hides the face's own; fine flicker does not survive strong compression; a dark ring has a colour
that is mostly noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
from workers.detection.detectors import aggregation
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

Doubles = NDArray[np.float64]

LEFT_EYE = (33, 133, 159, 145)
RIGHT_EYE = (263, 362, 386, 374)

ORDER = 3  # of the difference: jerk
SPAN = ORDER + 1  # frames that one difference rests on
FLICKER_ORDER = 2
LEAST_DIFFERENCES = 30
LEAST_TRACK_S = 2.0
LEAST_RATE_HZ = 20.0
LEAST_FACE_PX = 60.0
LEAST_PRESENCE = 0.9
MOST_MISSING = 0.1  # share of frames without landmarks

SUSPICIOUS = Suspicious.HIGH
TRANSFORM = Transform.LOG
"""For the reference: the value is a ratio."""

CELL_PX = 16
"""Side of a patch of the small picture. Of 8, 16 and the whole region at once it told best, 72 of
100 pairs; smaller ones show the movement, larger ones let patches cancel."""
LEAST_CELL_PX = 0.3
"""Share of a patch that must lie in the region; a ring is narrower than a patch."""
LEAST_LIGHT = 16.0
"""Of 255, mean of the three colours: what is darker has no colour but noise."""
LEAST_FLICKER = 0.003
"""Added to either flicker, in parts of a hundred: under what eight bits can show of a patch."""
LOOKS = 9
"""Frames that the regions are laid by; the small pictures are steady."""
MOUTH_SCALE, EYE_SCALE = 1.3, 1.6
"""How much more than lips and lids is left out, as they move."""
LEAST_SCORES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Jerk:
    """
    What does not fit a smooth movement, one value for every four frames that follow one another.

    Scaled to what independent noise of the same size in every frame would give, whatever the
    times between the frames: a jerk of 0.01 is a tremble of 0.01.
    """

    pts_s: Doubles  # [K] time of the last of the four frames
    of_points: Doubles  # [K] median over landmarks, in distances between the eyes
    of_size: Doubles  # [K] of the logarithm of the face's size


def jerk(track: FaceTrack) -> Jerk:
    """
    Measure the jerk of a track, rigid movement left out.

    Differences that reach over a keyframe are left out, as pictures jump there in every compressed
    video, unless most frames are keyframes; so are those with landmarks that are not numbers.
    """
    skin_px = track.landmarks_px[:, :LANDMARKS]  # irises move with the gaze
    is_placed = np.isfinite(skin_px).all(axis=(1, 2))
    aligned, size = _aligned(skin_px[is_placed].astype(np.float64))
    pts_s = track.pts_s[is_placed]
    if len(pts_s) < SPAN:
        return Jerk(pts_s=np.zeros(0), of_points=np.zeros(0), of_size=np.zeros(0))
    window = np.arange(len(pts_s) - ORDER)[:, None] + np.arange(SPAN)
    weights = _difference_weights(pts_s[window])
    of_points = np.abs(sum(weights[:, i, None] * aligned[window[:, i]] for i in range(SPAN)))
    of_size = np.abs((weights * np.log(size)[window]).sum(axis=1))

    place = np.flatnonzero(is_placed)
    is_whole = place[window[:, -1]] - place[window[:, 0]] == ORDER
    is_keyframe = track.is_keyframe[is_placed]
    if is_keyframe.mean() < 1 / 2:
        is_whole &= ~is_keyframe[window[:, 1:]].any(axis=1)
    return Jerk(
        pts_s=pts_s[window[:, -1]][is_whole],
        of_points=np.median(of_points, axis=1)[is_whole],
        of_size=of_size[is_whole],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flicker:
    """How unsteady face and ring are, one value for every three frames that follow one another."""

    colour_of_face: Floats  # [K] mean over patches, in parts of a hundred of the light
    colour_of_ring: Floats  # [K]
    light_of_face: Floats  # [K] in steps of 255
    light_of_ring: Floats  # [K]


NO_FLICKER = Flicker(
    colour_of_face=np.zeros(0, np.float32),
    colour_of_ring=np.zeros(0, np.float32),
    light_of_face=np.zeros(0, np.float32),
    light_of_ring=np.zeros(0, np.float32),
)


def flicker(track: FaceTrack) -> Flicker | None:
    """
    Measure the flicker of a face and of the ring around it in the small pictures.

    Differences that reach over a keyframe are left out, as in `jerk`.

    Returns:
        None where the one or the other is not in the picture, or too dark.
    """
    pictures = track.small
    if len(pictures) <= FLICKER_ORDER:
        return NO_FLICKER
    regions = _regions(track)
    if regions is None:
        return None
    colour, light = [], []
    for region in regions:
        share, brightness = _patches(pictures, region)
        if not share.size:
            return None
        colour.append(_unsteady(share.reshape(len(pictures), -1)))
        light.append(_unsteady(brightness))
    is_keyframe = track.is_keyframe[: len(pictures)]
    is_whole = np.ones(len(pictures) - FLICKER_ORDER, bool)
    if is_keyframe.mean() < 1 / 2:
        is_whole = ~(is_keyframe[1:-1] | is_keyframe[2:])
    return Flicker(
        colour_of_face=colour[0][is_whole],
        colour_of_ring=colour[1][is_whole],
        light_of_face=light[0][is_whole],
        light_of_ring=light[1][is_whole],
    )


class TemporalSmoothness:
    """
    Compares how steady a face is with how steady what surrounds it is.

    Args:
        reference: the same ratio in real clips.
    """

    name = DetectorName.TEMPORAL_SMOOTHNESS
    needs: frozenset[DetectorName] = frozenset({DetectorName.FRAME_CLASSIFIER})

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Measure a person who was followed for long enough, in enough frames."""
        scores = prior.get(DetectorName.FRAME_CLASSIFIER)
        return Examination(evidence=self._refuse(clip) or self._measure(clip, scores))

    def _refuse(self, clip: FaceClip) -> Abstention | None:
        if clip.frames < LEAST_DIFFERENCES + ORDER:
            return self._abstain(
                AbstainReason.TOO_FEW_FRAMES,
                f"the face was followed in {clip.frames} frames",
                f"{LEAST_DIFFERENCES + ORDER} or more",
            )
        longest_s = max(float(t.pts_s[-1] - t.pts_s[0]) for t in clip.tracks)
        if longest_s < LEAST_TRACK_S:
            return self._abstain(
                AbstainReason.TRACK_TOO_SHORT,
                f"the face was followed for {longest_s:.1f} s without a break",
                f"{LEAST_TRACK_S:.0f} s or more",
            )
        rate_hz = sum(len(t.pts_s) - 1 for t in clip.tracks) / clip.followed_s
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
        presence = np.concatenate([t.presence for t in clip.tracks])
        is_missing = np.concatenate(
            [~np.isfinite(t.landmarks_px).all(axis=(1, 2)) for t in clip.tracks]
        )
        if not np.median(presence) >= LEAST_PRESENCE or is_missing.mean() > MOST_MISSING:
            return self._abstain(
                AbstainReason.LANDMARKS_UNSTABLE,
                f"landmarks are missing in {is_missing.mean():.0%} of the frames, "
                f"their network is {np.median(presence):.0%} sure of the others",
                f"missing in {MOST_MISSING:.0%} or fewer, {LEAST_PRESENCE:.0%} sure",
            )
        return None

    def _measure(self, clip: FaceClip, scores: Evidence | None) -> Finding | Abstention:
        tracks = [t for t in clip.tracks if float(t.pts_s[-1] - t.pts_s[0]) >= LEAST_TRACK_S]
        jerks = [jerk(t) for t in tracks]
        of_points = np.concatenate([j.of_points for j in jerks])
        seen = [(t, f) for t in tracks if (f := flicker(t)) is not None]
        if not seen:
            return self._abstain(
                *self._why_no_flicker(tracks),
                "skin and a ring around the face that are in the picture and lit",
            )
        frames = sum(len(f.colour_of_face) for _, f in seen)
        if min(len(of_points), frames) < LEAST_DIFFERENCES:
            return self._abstain(
                AbstainReason.TOO_FEW_FRAMES,
                f"{min(len(of_points), frames)} stretches of {SPAN} frames "
                "without a keyframe or a gap",
                f"{LEAST_DIFFERENCES} or more",
            )
        colour_of_face, colour_of_ring, light_of_face, light_of_ring = (
            float(np.median(np.concatenate(parts)))
            for parts in zip(
                *(
                    (f.colour_of_face, f.colour_of_ring, f.light_of_face, f.light_of_ring)
                    for _, f in seen
                ),
                strict=True,
            )
        )
        value = (colour_of_face + LEAST_FLICKER) / (colour_of_ring + LEAST_FLICKER)
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name,
                value,
                "times the flicker of colour around the face",
                suspicious=SUSPICIOUS,
            ),
            frames=frames + FLICKER_ORDER,
            spans=tuple(
                Span(first_s=float(t.pts_s[0]), last_s=float(t.pts_s[len(t.small) - 1]))
                for t, f in seen
                if len(f.colour_of_face)
            ),
            measurements={
                "face_colour_flicker_percent": colour_of_face,
                "ring_colour_flicker_percent": colour_of_ring,
                "brightness_flicker_ratio": (light_of_face + LEAST_FLICKER)
                / (light_of_ring + LEAST_FLICKER),
                "median_jerk_eye_distances": float(np.median(of_points)),
                "largest_jerk_eye_distances": float(of_points.max()),
                "median_size_jerk": float(np.median(np.concatenate([j.of_size for j in jerks]))),
                **_score_spread(scores),
            },
            caveat="Weak: on 35 clips held out a fake flickered more than a real one in 65 of "
            "100 pairs. What moves behind the head flickers as well.",
        )

    @staticmethod
    def _why_no_flicker(tracks: list[FaceTrack]) -> tuple[AbstainReason, str]:
        light = max(float(t.small.mean()) for t in tracks)
        if light < LEAST_LIGHT:
            return AbstainReason.TOO_DARK, f"mean brightness of the face {light:.0f} of 255"
        return AbstainReason.SKIN_NOT_VISIBLE, "no skin, or nothing around it, is in the picture"

    def _abstain(self, reason: AbstainReason, detail: str, needs: str) -> Abstention:
        return Abstention(detector=self.name, reason=reason, detail=detail, needs=needs)


def _score_spread(scores: Evidence | None) -> dict[str, float]:
    """Tell how far the frame classifier's scores lie apart; nothing where it gave too few."""
    seen = scores.observations if isinstance(scores, Finding) else ()
    given = [o.fake_probability for o in seen if o.fake_probability is not None]
    if len(given) < LEAST_SCORES:
        return {}
    return {"frame_score_spread_logits": float(np.std(aggregation.logit(np.array(given))))}


def _regions(track: FaceTrack) -> tuple[Mask, Mask] | None:
    """Return the skin of the face and the ring around it in the small pictures."""
    looks = np.unique(np.linspace(0, len(track.small) - 1, LOOKS).round().astype(int))
    looks = looks[np.isfinite(track.landmarks_px[looks, :LANDMARKS]).all(axis=(1, 2))]
    if not len(looks):
        return None
    points = np.median(
        [face_regions.points_in_small(track.landmarks_px[i]) for i in looks], axis=0
    ).astype(np.float32)
    if not np.isfinite(points).all():
        return None
    side = SMALL_SIDE_PX
    moving = face_regions.hull_mask(
        points[list(face_regions.MOUTH)], side, scale=MOUTH_SCALE
    ) | np.logical_or.reduce(
        [face_regions.hull_mask(points[list(e)], side, scale=EYE_SCALE) for e in face_regions.EYES]
    )
    shows = (track.small[looks] > 0).any(axis=3).all(axis=0)
    skin = face_regions.hull_mask(points, side, scale=face_regions.INNER) & ~moving
    return skin & shows, face_regions.ring_mask(points, side) & shows


def _patches(pictures: Image, region: Mask) -> tuple[Floats, Floats]:
    """
    Average a region patch by patch.

    Returns:
        `[S, P, 2]` shares of red and green in the light, in parts of a hundred; `[S, P]` green, of
        255. Patches with little of the region in them, or dark, are left out.
    """
    across = SMALL_SIDE_PX // CELL_PX
    rows, columns = np.nonzero(region)
    patch = rows // CELL_PX * across + columns // CELL_PX
    sizes = np.bincount(patch, minlength=across**2)
    kept = np.flatnonzero(sizes >= LEAST_CELL_PX * CELL_PX**2)
    weights = np.float32((patch[:, None] == kept) / np.maximum(sizes[kept], 1))
    means = np.stack(
        [pictures[:, rows, columns, c].astype(np.float32) @ weights for c in range(3)], axis=-1
    )
    means = means[:, np.median(means.mean(axis=2), axis=0) >= LEAST_LIGHT]
    light = np.maximum(means.sum(axis=2, keepdims=True), 1)
    return np.asarray(100 * means[..., :2] / light, np.float32), means[..., 1]


def _unsteady(values: Floats) -> Floats:
    """Return the mean size of the second difference in time of `[S, P]`, `[S - 2]`."""
    return np.asarray(np.abs(2 * values[1:-1] - values[:-2] - values[2:]).mean(axis=1), np.float32)


def _aligned(landmarks_px: Doubles) -> tuple[NDArray[np.complex128], Doubles]:
    """
    Fit every frame to the mean face by a similarity.

    Args:
        landmarks_px: `[T, L, 2]`.

    Returns:
        `[T, L]` points as x + iy, in distances between the eyes; `[T]` size of the face in the
        picture, in any unit.
    """
    points = landmarks_px[..., 0] + 1j * landmarks_px[..., 1]
    if not len(points):
        return points, np.zeros(0)
    points = points - points.mean(axis=1, keepdims=True)
    power = (np.abs(points) ** 2).sum(axis=1)
    power = np.where(power > 0, power, 1.0)  # all points in one: nothing to fit
    mean_face = points[len(points) // 2]
    for _ in range(2):
        turn_and_scale = (points.conj() @ mean_face) / power
        aligned = turn_and_scale[:, None] * points
        mean_face = aligned.mean(axis=0)
    eyes = mean_face[list(LEFT_EYE)].mean() - mean_face[list(RIGHT_EYE)].mean()
    unit = abs(eyes) or 1.0
    size = 1 / np.maximum(np.abs(turn_and_scale), np.finfo(float).tiny)
    return aligned / unit, size


def _difference_weights(pts_s: Doubles) -> Doubles:
    """
    Weigh frames such that their sum is the third divided difference, scaled to unit noise gain.

    Args:
        pts_s: `[K, 4]` rising times, in any rhythm. The sum over a quadratic in time is 0.
    """
    apart = pts_s[:, :, None] - pts_s[:, None, :] + np.eye(SPAN)
    weights = 1 / apart.prod(axis=2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))
