"""Is trembling told from moving, flicker from light? Drawn faces whose answer is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Observation,
    Span,
)
from tests.make import make_finding
from tests.make_faces import make_clip, make_landmarks, make_track
from tests.workers.detection.real_faces import read_clip, real_follower
from workers.detection import face_regions
from workers.detection.detectors.temporal_smoothness import (
    TRANSFORM,
    TemporalSmoothness,
    flicker,
    jerk,
)
from workers.detection.reference import NOTHING, Reference, Scale
from workers.detection.stage import (
    LANDMARKS,
    LANDMARKS_WITH_IRISES,
    SMALL_SIDE_PX,
    FaceClip,
    FaceTrack,
    Image,
)

RATE_HZ = 30.0
TYPICAL_JERK = 0.00315  # of real clips, in distances between the eyes


def moving(
    move: Callable[[np.ndarray], np.ndarray],
    *,
    frames: int = 300,
    pts_s: np.ndarray | None = None,
    keyframes: int = 10**6,
) -> FaceTrack:
    """
    Build a track from complex points of an upright face, 200 px wide.

    Args:
        move: gives `[T, 478]` x + iy at `[T, 1]` seconds, from the resting face `[478]` in it.
    """
    track = make_track(frames=frames, samples=0)
    pts_s = track.pts_s if pts_s is None else pts_s
    points = move(pts_s[:, None])
    return replace(
        track,
        pts_s=pts_s,
        landmarks_px=np.stack([points.real, points.imag], axis=-1).astype(np.float32),
        is_keyframe=np.arange(frames) % keyframes == 0,
    )


FACE = make_landmarks(np.zeros(1), face_px=200)[0] @ np.array([1, 1j])
# Some points go up, some down: not a rigid movement.
OPENS = 10j * (np.arange(LANDMARKS_WITH_IRISES) % 3 - 1)


def sways(t: np.ndarray) -> np.ndarray:
    """Move, turn and come closer, as heads do, and speak, twice a second."""
    rigid = (1 + 0.2 * np.sin(t)) * np.exp(0.3j * np.sin(2 * t))
    return (FACE + OPENS * np.sin(4 * np.pi * t) / 10) * rigid + 60 * np.sin(3 * t)


def judged(track: FaceTrack, prior: Evidence | None = None) -> Finding:
    given = {} if prior is None else {prior.detector: prior}
    evidence = TemporalSmoothness(NOTHING).examine(make_clip(track), given).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def refused(clip: FaceClip) -> AbstainReason:
    evidence = TemporalSmoothness(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    assert evidence.detail
    assert evidence.needs
    return evidence.reason


def trembling(track: FaceTrack, sigma_px: float) -> FaceTrack:
    noise = np.random.default_rng(0).normal(0, sigma_px, track.landmarks_px.shape)
    return replace(track, landmarks_px=np.float32(track.landmarks_px + noise))


def test_a_head_that_sways_and_speaks_is_smooth() -> None:
    finding = judged(moving(sways))

    assert finding.measurements["median_jerk_eye_distances"] < TYPICAL_JERK


def test_a_face_that_trembles_is_not() -> None:
    smooth = moving(sways)
    values = [
        judged(trembling(smooth, sigma)).measurements["median_jerk_eye_distances"]
        for sigma in (0.0, 0.5, 2.0, 8.0)
    ]

    assert values == sorted(values)
    assert values[-1] > 10 * TYPICAL_JERK


def test_the_jerk_of_noise_is_the_noise_whatever_the_frame_rate() -> None:
    for rate_hz in (24.0, 30.0, 60.0):
        pts_s = np.arange(300) / rate_hz
        track = trembling(moving(lambda t: FACE + 0 * t, pts_s=pts_s), 2.0)

        typical = np.median(jerk(track).of_points)

        # Median length of a two-dimensional Gaussian, over the distance between the eyes.
        assert typical == pytest.approx(2.0 * 1.177 / (0.4 * 200), rel=0.05)


def test_one_swapped_frame_stands_out() -> None:
    track = moving(sways)
    order = np.arange(300)
    order[[150, 156]] = 156, 150
    swapped = replace(track, landmarks_px=track.landmarks_px[order])

    smooth, torn = judged(track).measurements, judged(swapped).measurements

    largest = "largest_jerk_eye_distances"
    assert torn[largest] > 5 * smooth[largest]
    at = jerk(swapped)
    assert at.pts_s[at.of_points.argmax()] == pytest.approx(153 / RATE_HZ, abs=7 / RATE_HZ)


def test_a_steady_pull_at_uneven_times_has_no_jerk() -> None:
    pts_s = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.06, 200))
    pulled = moving(lambda t: FACE + OPENS * (t / 10 + t**2 / 50), frames=200, pts_s=pts_s)
    frozen = moving(lambda t: FACE + 0 * t, frames=200, pts_s=pts_s)

    np.testing.assert_allclose(jerk(frozen).of_points, 0, atol=1e-6)
    assert np.median(jerk(pulled).of_points) < 0.1 * TYPICAL_JERK


def test_a_rigid_movement_has_no_jerk_however_wild() -> None:
    random = np.random.default_rng(0)
    turn = np.exp(1j * random.uniform(-0.5, 0.5, (300, 1))) * random.uniform(0.8, 1.2, (300, 1))
    shift = random.uniform(-50, 50, (300, 1))
    track = moving(lambda t: FACE * turn + shift)

    measured = jerk(track)

    np.testing.assert_allclose(measured.of_points, 0, atol=1e-5)
    assert np.median(measured.of_size) > 0.01


@pytest.mark.parametrize(
    "seen",
    [
        lambda points: points * 2,
        lambda points: (1280, 0) + points * (-1, 1),
        lambda points: points @ np.array([[0, 1], [-1, 0]]) + (700, 0),
    ],
    ids=["twice the resolution", "mirrored", "turned by a quarter"],
)
def test_how_the_video_is_seen_changes_nothing(seen: Callable[[np.ndarray], np.ndarray]) -> None:
    track = trembling(moving(sways), 0.5)
    other = replace(track, landmarks_px=np.float32(seen(track.landmarks_px.astype(float))))

    first, second = judged(track), judged(other)

    for name in ("median_jerk_eye_distances", "largest_jerk_eye_distances", "median_size_jerk"):
        assert second.measurements[name] == pytest.approx(first.measurements[name], rel=2e-3)


def test_jumps_at_keyframes_are_the_codec_s() -> None:
    def pulses(t: np.ndarray) -> np.ndarray:
        return FACE + OPENS * (np.floor(t * RATE_HZ / 10 + 1e-6) % 2)

    codec, tremble = moving(pulses, keyframes=10), moving(pulses)

    assert jerk(codec).of_points.max() < 1e-6
    assert jerk(tremble).of_points.max() > 10 * TYPICAL_JERK


def test_a_video_of_keyframes_alone_is_measured_all_the_same() -> None:
    track = trembling(moving(sways, keyframes=1), 1.0)

    assert len(jerk(track).of_points) > 290
    assert judged(track).frames > 290


def test_frames_without_landmarks_are_left_out_and_not_bridged() -> None:
    track = trembling(moving(sways), 0.5)
    holes = track.landmarks_px.copy()
    holes[100:110] = np.nan

    whole, torn = judged(track), judged(replace(track, landmarks_px=holes))

    assert len(jerk(replace(track, landmarks_px=holes)).of_points) == 297 - 13
    assert torn.measurements["largest_jerk_eye_distances"] <= (
        whole.measurements["largest_jerk_eye_distances"] * 1.01
    )


def test_many_frames_without_landmarks_are_too_many() -> None:
    track = make_track(frames=300)
    holes = track.landmarks_px.copy()
    holes[::4] = np.nan

    assert (
        refused(make_clip(replace(track, landmarks_px=holes))) == AbstainReason.LANDMARKS_UNSTABLE
    )


def test_unsure_landmarks_are_not_measured() -> None:
    track = make_track(frames=300)
    unsure = replace(track, presence=np.full(300, 0.6, np.float32))

    assert refused(make_clip(unsure)) == AbstainReason.LANDMARKS_UNSTABLE


def test_points_that_all_coincide_show_no_skin() -> None:
    track = make_track(frames=300)
    collapsed = replace(track, landmarks_px=np.zeros_like(track.landmarks_px))

    assert np.isfinite(jerk(collapsed).of_points).all()
    assert refused(make_clip(collapsed)) == AbstainReason.SKIN_NOT_VISIBLE


def test_enough_frames_time_rate_and_size_are_needed() -> None:
    short = make_track(frames=45)
    pieces = [make_track(frames=45, first_s=3.0 * n, first_frame=90 * n) for n in range(4)]
    slow = make_track(frames=60, rate_hz=12.5)
    small = make_track(frames=300, face_px=40.0)

    assert refused(make_clip(make_track(frames=20))) == AbstainReason.TOO_FEW_FRAMES
    assert refused(make_clip(short)) == AbstainReason.TRACK_TOO_SHORT
    assert refused(make_clip(*pieces)) == AbstainReason.TRACK_TOO_SHORT
    assert refused(make_clip(slow, rate_hz=12.5)) == AbstainReason.FRAME_RATE_TOO_LOW
    assert refused(make_clip(small)) == AbstainReason.FACE_TOO_SMALL


def test_eyes_that_look_about_do_not_tremble() -> None:
    still = moving(sways)
    looking = still.landmarks_px.copy()
    looking[:, LANDMARKS:] += np.random.default_rng(0).normal(0, 5, (len(looking), 1, 2))

    restless = replace(still, landmarks_px=np.float32(looking))

    assert judged(restless) == judged(still)


SIDE = SMALL_SIDE_PX
STILL = moving(lambda t: FACE + 0 * t, frames=120)
POINTS = face_regions.points_in_small(STILL.landmarks_px[0])
HULL = face_regions.hull_mask(POINTS, SIDE)
WITH_CHIN = face_regions.hull_mask(POINTS, SIDE, scale=1.1)
SKIN_RGB, WALL_RGB = (180, 130, 110), (90, 110, 120)


def pictured(
    face: np.ndarray | float = 0.0,
    around: np.ndarray | float = 0.0,
    *,
    grain: float = 1.0,
    keyframes: int = 10**6,
) -> FaceTrack:
    """
    Build a still face before a wall, with the grain of a camera.

    Args:
        face, around: what is added to the red, green and blue of each, `[120, 3]` or a number.
    """
    random = np.random.default_rng(0)
    pictures = np.where(HULL[..., None], SKIN_RGB, WALL_RGB) + np.where(
        HULL[..., None],
        np.broadcast_to(face, (120, 3))[:, None, None],
        np.broadcast_to(around, (120, 3))[:, None, None],
    )
    pictures = pictures + random.normal(0, grain, pictures.shape)
    return replace(
        STILL,
        small=np.clip(np.rint(pictures), 0, 255).astype(np.uint8),
        is_keyframe=np.arange(120) % keyframes == 0,
    )


RED_FLICKER = np.random.default_rng(1).normal(0, 3, (120, 1)) * (1, 0, 0)


def value(track: FaceTrack) -> float:
    cue = judged(track).cue
    assert cue is not None
    return cue.value


def test_a_face_that_changes_colour_from_frame_to_frame_flickers_and_a_wall_does_not() -> None:
    assert value(pictured()) == pytest.approx(1, rel=0.6)
    assert value(pictured(face=RED_FLICKER)) > 5 * value(pictured())
    assert value(pictured(around=RED_FLICKER)) < value(pictured()) / 5


def test_the_more_it_flickers_the_higher_the_value() -> None:
    values = [value(pictured(face=strength * RED_FLICKER)) for strength in (0, 0.3, 1, 3)]

    assert values == sorted(values)


def test_light_that_changes_on_everything_is_no_flicker_of_the_face() -> None:
    lamp = np.random.default_rng(2).normal(0, 3, (120, 1))

    assert value(pictured(face=lamp * SKIN_RGB / 128, around=lamp * WALL_RGB / 128)) < 3


def test_light_that_changes_steadily_is_no_flicker() -> None:
    dusk = np.linspace(0, -60, 120)[:, None] * (1, 0.8, 0.6)

    assert value(pictured(face=dusk)) == pytest.approx(value(pictured()), rel=0.3)


def test_brightness_is_told_apart_from_colour() -> None:
    lamp = np.random.default_rng(2).normal(0, 3, (120, 1)) * np.array(SKIN_RGB) / 128

    bright, plain = judged(pictured(face=lamp)), judged(pictured())

    ratio = "brightness_flicker_ratio"
    assert bright.measurements[ratio] > 5 * plain.measurements[ratio]
    assert bright.cue.value < 2 * plain.cue.value


def test_pulses_of_colour_at_keyframes_are_the_codec_s() -> None:
    pulses = 6.0 * (np.arange(120) // 10 % 2)[:, None] * (1, 0, 0)

    seen = flicker(pictured(face=pulses, grain=0, keyframes=10))
    unseen = flicker(pictured(face=pulses, grain=0))

    assert seen.colour_of_face.max() < 0.05
    assert unseen.colour_of_face.max() > 0.5


def test_the_scores_of_the_frame_classifier_are_spread_or_not_told() -> None:
    def scores(*given: float) -> Finding:
        seen = tuple(
            Observation(pts_s=n / 10, frame_index=n, fake_probability=p)
            for n, p in enumerate(given)
        )
        return replace(make_finding(DetectorName.FRAME_CLASSIFIER), observations=seen)

    spread = "frame_score_spread_logits"
    crashed = Abstention(detector=DetectorName.FRAME_CLASSIFIER, reason=AbstainReason.CRASHED)

    assert judged(pictured(), scores(*[0.3] * 8)).measurements[spread] == pytest.approx(0)
    assert judged(pictured(), scores(*[0.1, 0.9] * 4)).measurements[spread] == pytest.approx(
        np.log(9), rel=1e-3
    )
    assert spread not in judged(pictured(), scores(0.1, 0.9)).measurements
    assert spread not in judged(pictured(), crashed).measurements
    assert judged(pictured(), crashed) == judged(pictured())


def test_a_value_is_set_beside_those_of_real_clips() -> None:
    scale = Scale(median=0.0, deviation=0.5, transform=TRANSFORM, clips=40, groups=20)
    reference = Reference(version="drawn", scales={DetectorName.TEMPORAL_SMOOTHNESS: scale})

    evidence = TemporalSmoothness(reference).examine(make_clip(pictured()), {}).evidence

    assert evidence.fake_probability is None
    assert evidence.cue.z == pytest.approx(np.log(evidence.cue.value) / 0.5)
    assert "40 real clips" in evidence.cue.reference


def test_it_rests_on_the_frames_that_small_pictures_were_kept_of() -> None:
    track = pictured()

    finding = judged(replace(track, small=track.small[:60]))

    assert finding.spans == (Span(first_s=0.0, last_s=track.pts_s[59]),)
    assert finding.frames <= 60


@pytest.mark.parametrize(
    ("small", "reason"),
    [
        (np.zeros((120, SIDE, SIDE, 3), np.uint8), AbstainReason.TOO_DARK),
        (
            np.where(WITH_CHIN[..., None], pictured().small, 0),
            AbstainReason.SKIN_NOT_VISIBLE,
        ),
        (pictured().small[:2], AbstainReason.TOO_FEW_FRAMES),
        (pictured().small[:0], AbstainReason.TOO_FEW_FRAMES),
    ],
    ids=["black", "nothing around the face", "two frames", "no frame"],
)
def test_no_flicker_is_told_of_pictures_that_do_not_show_it(
    small: Image, reason: AbstainReason
) -> None:
    assert refused(make_clip(replace(STILL, small=small))) == reason


@pytest.mark.shared
def test_a_real_face_trembles_as_real_faces_do(shared_media: Path) -> None:
    path = shared_media / "videos/real/ffpp__183__c23__4d0c3f.mp4"
    follower = real_follower()

    (person,) = follower.follow(read_clip(path, frames=75), width_px=1280, height_px=720).persons

    evidence = TemporalSmoothness(NOTHING).examine(person, {}).evidence
    assert isinstance(evidence, Finding)
    assert TYPICAL_JERK / 2 < evidence.measurements["median_jerk_eye_distances"] < 2 * TYPICAL_JERK
    assert 0.1 < evidence.cue.value < 1.1  # of 53 real clips the lowest 0.14, the highest 0.94
