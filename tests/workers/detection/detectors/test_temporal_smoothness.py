"""Is trembling told from moving? Drawn movements whose jerk is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, Finding
from tests.make_faces import make_clip, make_track
from tests.workers.detection.make_scenes import template
from tests.workers.detection.real_faces import read_clip, real_follower
from workers.detection.detectors.temporal_smoothness import (
    JERK,
    TemporalSmoothness,
    fake_probability,
    jerk,
)
from workers.detection.stage import LANDMARKS, LANDMARKS_WITH_IRISES, FaceClip, FaceTrack

RATE_HZ = 30.0


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


FACE = (template() * 200) @ np.array([1, 1j]) + (500 + 300j)
# Some points go up, some down: not a rigid movement.
OPENS = 10j * (np.arange(LANDMARKS_WITH_IRISES) % 3 - 1)


def sways(t: np.ndarray) -> np.ndarray:
    """Move, turn and come closer, as heads do, and speak, twice a second."""
    rigid = (1 + 0.2 * np.sin(t)) * np.exp(0.3j * np.sin(2 * t))
    return (FACE + OPENS * np.sin(4 * np.pi * t) / 10) * rigid + 60 * np.sin(3 * t)


def judged(track: FaceTrack) -> Finding:
    evidence = TemporalSmoothness().examine(make_clip(track), {}).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def refused(clip: FaceClip) -> AbstainReason:
    evidence = TemporalSmoothness().examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    assert evidence.detail
    assert evidence.needs
    return evidence.reason


def trembling(track: FaceTrack, sigma_px: float) -> FaceTrack:
    noise = np.random.default_rng(0).normal(0, sigma_px, track.landmarks_px.shape)
    return replace(track, landmarks_px=np.float32(track.landmarks_px + noise))


def test_a_head_that_sways_and_speaks_is_smooth() -> None:
    finding = judged(moving(sways))

    assert finding.measurements["median_jerk_eye_distances"] < JERK.median
    assert finding.fake_probability < 0.38


def test_a_face_that_trembles_is_not() -> None:
    smooth = moving(sways)
    values = [judged(trembling(smooth, sigma)).fake_probability for sigma in (0.0, 0.5, 2.0, 8.0)]

    assert values == sorted(values)
    assert values[-1] > 0.6


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
    assert np.median(jerk(pulled).of_points) < 0.1 * JERK.median


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

    assert second.measurements == pytest.approx(first.measurements, rel=2e-3)
    assert second.fake_probability == pytest.approx(first.fake_probability, rel=1e-3)


def test_jumps_at_keyframes_are_the_codec_s() -> None:
    def pulses(t: np.ndarray) -> np.ndarray:
        return FACE + OPENS * (np.floor(t * RATE_HZ / 10 + 1e-6) % 2)

    codec, tremble = moving(pulses, keyframes=10), moving(pulses)

    assert jerk(codec).of_points.max() < 1e-6
    assert jerk(tremble).of_points.max() > 10 * JERK.median


def test_a_video_of_keyframes_alone_is_measured_all_the_same() -> None:
    finding = judged(trembling(moving(sways, keyframes=1), 1.0))

    assert finding.frames > 290


def test_frames_without_landmarks_are_left_out_and_not_bridged() -> None:
    track = trembling(moving(sways), 0.5)
    holes = track.landmarks_px.copy()
    holes[100:110] = np.nan

    whole, torn = judged(track), judged(replace(track, landmarks_px=holes))

    assert torn.frames == whole.frames - 13
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


def test_points_that_all_coincide_give_a_number_nonetheless() -> None:
    track = make_track(frames=300)

    finding = judged(replace(track, landmarks_px=np.zeros_like(track.landmarks_px)))

    assert np.isfinite(list(finding.measurements.values())).all()


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


def test_the_probability_is_gentle_and_grows() -> None:
    values = [fake_probability(z) for z in (-1e6, -3.0, 0.0, 2.0, 5.0, 1e6)]

    assert values == sorted(values)
    assert values[0] == pytest.approx(0.35)
    assert values[3] == pytest.approx(0.5)
    assert values[-1] == pytest.approx(0.65)


@pytest.mark.shared
def test_a_real_face_trembles_as_real_faces_do(shared_media: Path) -> None:
    path = shared_media / "videos/real/ffpp__183__c23__4d0c3f.mp4"
    follower = real_follower()

    (person,) = follower.follow(read_clip(path, frames=75), width_px=1280, height_px=720).persons

    evidence = TemporalSmoothness().examine(person, {}).evidence
    assert isinstance(evidence, Finding)
    assert abs(evidence.measurements["deviations_from_real_clips"]) < 3
