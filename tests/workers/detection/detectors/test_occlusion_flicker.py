"""Is what passes before a face found, and its outline told steady from wavering? Drawn bars."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding
from tests.make_faces import make_clip, make_landmarks, make_track
from workers.detection import face_regions
from workers.detection.detectors.occlusion_flicker import (
    TRANSFORM,
    OcclusionFlicker,
    instability,
    occlusions,
)
from workers.detection.reference import NOTHING, Reference, Scale
from workers.detection.stage import SMALL_SIDE_PX, FaceClip, FaceTrack

SIDE = SMALL_SIDE_PX
FRAMES = 120
HULL = face_regions.hull_mask(face_regions.points_in_small(make_landmarks(np.zeros(1))[0]), SIDE)
SKIN_RGB, WALL_RGB, BAR_RGB = (180, 130, 110), (90, 110, 120), (40, 60, 140)
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


@cache
def still() -> FaceTrack:
    """Build a face before a wall that holds still, with the grain of a camera."""
    random = np.random.default_rng(0)
    pictures = np.where(HULL[..., None], SKIN_RGB, WALL_RGB) + random.normal(
        0, 2, (FRAMES, SIDE, SIDE, 1)
    )
    return replace(
        make_track(frames=FRAMES, samples=0), small=np.rint(pictures).clip(0, 255).astype(np.uint8)
    )


def passed(
    *,
    wavers: float = 0.0,
    first: int = 50,
    last: int = 80,
    width: int = 20,
    speed: float = 1.0,
    rgb: tuple[int, int, int] = BAR_RGB,
) -> FaceTrack:
    """
    Let a bar pass before the face.

    Args:
        wavers: share of it that is painted over with skin, in blocks, anew in every frame.
    """
    random = np.random.default_rng(1)
    pictures = still().small.copy()
    for i in range(first, last):
        left = SIDE / 3 + speed * (i - first)
        bar = np.abs(COLUMNS - left - width / 2) <= width / 2
        painted = np.kron(random.random((8, 8)) < wavers, np.ones((12, 12))) > 0
        pictures[i][bar & ~(painted & HULL)] = rgb
    return replace(still(), small=pictures)


def judged(track: FaceTrack) -> Finding:
    evidence = OcclusionFlicker(NOTHING).examine(make_clip(track), {}).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def refused(clip: FaceClip) -> AbstainReason:
    evidence = OcclusionFlicker(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    assert evidence.detail
    assert evidence.needs
    return evidence.reason


def test_a_bar_that_passes_is_found_when_and_where_it_does() -> None:
    (found,) = occlusions(passed(first=50, last=80))

    assert (found.first, found.last) == (50, 79)
    assert found.area > 0.1
    assert np.argwhere(found.covered[0])[:, 1].mean() < np.argwhere(found.covered[-1])[:, 1].mean()
    finding = judged(passed(first=50, last=80))
    (span,) = finding.spans
    assert (span.first_s, span.last_s) == pytest.approx((50 / 30, 79 / 30))
    assert finding.frames == 30
    assert finding.measurements["occlusions"] == 1


def test_a_steady_outline_is_told_from_one_that_wavers() -> None:
    values = [judged(passed(wavers=share)).cue.value for share in (0.0, 0.2, 0.4)]

    assert values == sorted(values)
    assert values[0] < 0.2
    assert values[-1] > 2 * values[0]


def test_where_nothing_passed_there_is_nothing_to_say() -> None:
    assert refused(make_clip(still())) == AbstainReason.NO_OCCLUSION


def test_light_a_mouth_and_eyes_that_change_cover_nothing() -> None:
    level = 1 + 0.3 * np.sin(np.arange(FRAMES) / 7)[:, None, None, None]
    lit = np.rint(still().small * level).clip(0, 255).astype(np.uint8)
    points = face_regions.points_in_small(still().landmarks_px[0])
    moving = face_regions.hull_mask(points[list(face_regions.MOUTH)], SIDE, scale=1.2)
    for eye in face_regions.EYES:
        moving |= face_regions.hull_mask(points[list(eye)], SIDE, scale=1.3)
    speaking = still().small.copy()
    speaking[50:80, moving] = (60, 20, 20)

    assert refused(make_clip(replace(still(), small=lit))) == AbstainReason.NO_OCCLUSION
    assert refused(make_clip(replace(still(), small=speaking))) == AbstainReason.NO_OCCLUSION


def test_what_is_seen_for_a_moment_or_rests_before_the_face_is_not_said_to_pass() -> None:
    assert refused(make_clip(passed(first=50, last=53))) == AbstainReason.NO_OCCLUSION
    assert refused(make_clip(passed(first=0, last=FRAMES, speed=0))) == AbstainReason.NO_OCCLUSION


def test_a_wall_that_shows_beside_a_face_as_it_turns_is_no_occlusion() -> None:
    track = still()
    points, pictures = track.landmarks_px.copy(), track.small.copy()
    nearer = make_landmarks(track.pts_s)[50:80]
    middle = nearer.mean(axis=1, keepdims=True)
    far = nearer[..., 0] > middle[..., 0] + 0.12 * 160
    points[50:80, :, 0] = np.where(
        far,
        middle[..., 0] + 0.12 * 160 + (nearer[..., 0] - middle[..., 0] - 19) / 3,
        nearer[..., 0],
    )
    shown = face_regions.hull_mask(face_regions.points_in_small(points[60]), SIDE)
    pictures[50:80, HULL & ~shown] = WALL_RGB

    turned = replace(track, landmarks_px=points, small=pictures)

    assert refused(make_clip(turned)) == AbstainReason.NO_OCCLUSION


def test_a_mask_that_only_moves_is_steady_and_one_that_jumps_about_is_not() -> None:
    def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
        return np.hypot(COLUMNS - x, ROWS - y) < radius

    moving = np.stack([disc(20 + 3 * n, 30 + 2 * n, 8) for n in range(8)])
    growing = np.stack([disc(40, 40, 8 + 4 * (n % 2)) for n in range(8)])

    np.testing.assert_allclose(instability(moving), 0)
    np.testing.assert_allclose(instability(growing), 1 - (8 / 12) ** 2, atol=0.05)
    assert len(instability(moving[:1])) == 0


def test_a_value_is_set_beside_those_of_real_clips() -> None:
    scale = Scale(median=0.1, deviation=0.05, transform=TRANSFORM, clips=9, groups=8)
    reference = Reference(version="drawn", scales={DetectorName.OCCLUSION_FLICKER: scale})

    evidence = OcclusionFlicker(reference).examine(make_clip(passed(wavers=0.4)), {}).evidence

    assert evidence.fake_probability is None
    assert evidence.cue.z == pytest.approx(min(8, (evidence.cue.value - 0.1) / 0.05))


def test_enough_time_rate_size_light_and_points_are_needed() -> None:
    track = passed()
    lost = replace(track, landmarks_px=np.full_like(track.landmarks_px, np.nan))
    slow = replace(track, pts_s=track.pts_s * 6)

    assert refused(make_clip(make_track(frames=1))) == AbstainReason.TRACK_TOO_SHORT
    assert refused(make_clip(make_track(frames=50))) == AbstainReason.TRACK_TOO_SHORT
    assert refused(make_clip(replace(track, small=track.small[:0]))) == (
        AbstainReason.TRACK_TOO_SHORT
    )
    assert refused(make_clip(slow)) == AbstainReason.FRAME_RATE_TOO_LOW
    assert refused(make_clip(make_track(frames=FRAMES, face_px=40.0))) == (
        AbstainReason.FACE_TOO_SMALL
    )
    assert refused(make_clip(replace(track, small=np.zeros_like(track.small)))) == (
        AbstainReason.TOO_DARK
    )
    assert refused(make_clip(lost)) == AbstainReason.LANDMARKS_UNSTABLE


def test_a_head_that_never_comes_back_to_a_pose_cannot_be_compared() -> None:
    track = still()
    points = track.landmarks_px.copy()
    points += np.random.default_rng(0).normal(0, 30, points.shape).astype(np.float32)

    assert (
        refused(make_clip(replace(track, landmarks_px=points))) == AbstainReason.LANDMARKS_UNSTABLE
    )
