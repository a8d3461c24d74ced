"""Is what the face does told apart from what the head does, and from what the pixels do?"""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.make_faces import make_track
from workers.detection.align import steady_region
from workers.detection.landmark_flow import (
    CHANNELS,
    MIRRORED,
    MOST,
    MOST_WINDOWS,
    POINTS,
    RATE_HZ,
    WINDOW,
    Motion,
    motion_of,
    starts_of,
    thinned,
    window,
    windows_of,
)
from workers.detection.stage import SMALL_MARGIN, SMALL_SIDE_PX, FaceTrack

FRAMES = 8


def texture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (SMALL_SIDE_PX, SMALL_SIDE_PX, 3))
    return cv2.GaussianBlur(noise.astype(np.uint8), (0, 0), 2.0)


def still(frames: int = FRAMES) -> FaceTrack:
    """A face that does nothing at all, in a picture that does neither."""
    track = make_track(frames=frames, samples=0)
    return replace(
        track,
        landmarks_px=np.repeat(track.landmarks_px[:1], frames, axis=0),
        small=np.repeat(texture()[None], frames, axis=0),
    )


def test_where_nothing_moves_nothing_is_told() -> None:
    motion = motion_of(still())

    np.testing.assert_allclose(motion.place, 0, atol=1e-5)
    np.testing.assert_allclose(motion.stray, 0, atol=0.02)
    np.testing.assert_allclose(motion.error, 0, atol=0.2)
    assert motion.is_whole.tolist() == [False] + [True] * (FRAMES - 1)


def test_what_the_head_does_is_left_out() -> None:
    track = still()
    turn = np.exp(1j * np.linspace(0, 0.8, FRAMES)) * np.linspace(1, 1.5, FRAMES)
    points = track.landmarks_px[..., 0] + 1j * track.landmarks_px[..., 1]
    moved = points * turn[:, None] + np.linspace(0, 300, FRAMES)[:, None]
    nodding = replace(
        track, landmarks_px=np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)
    )

    np.testing.assert_allclose(motion_of(nodding).place, 0, atol=1e-4)
    np.testing.assert_allclose(motion_of(nodding).stray, 0, atol=0.05)


def test_a_lip_that_moves_is_told_in_distances_between_the_eyes() -> None:
    track = still()
    landmarks = track.landmarks_px.copy()
    eyes_px = np.linalg.norm(landmarks[0, 33] - landmarks[0, 263])
    landmarks[3, 17, 1] += 0.1 * eyes_px

    place = motion_of(replace(track, landmarks_px=landmarks)).place
    lip = POINTS.index(17)

    assert place[3, lip, 1] - place[2, lip, 1] == pytest.approx(0.1, abs=0.01)
    assert np.abs(np.delete(place, lip, axis=1)).max() < 0.02


def test_pixels_that_move_without_their_landmarks_are_told() -> None:
    track = still()
    small = track.small.copy()
    small[4:] = np.roll(small[4:], 2, axis=2)  # two pixels to the right, and it stays there

    motion = motion_of(replace(track, small=small))

    assert np.median(motion.stray[4, :, 0]) == pytest.approx(2, abs=0.3)
    assert np.median(motion.stray[4, :, 1]) == pytest.approx(0, abs=0.1)
    np.testing.assert_allclose(motion.stray[5:], 0, atol=0.02)


def test_landmarks_that_move_without_their_pixels_are_told_the_other_way() -> None:
    track = still()
    landmarks = track.landmarks_px.copy()
    region = steady_region(landmarks[0]).scaled(SMALL_MARGIN)
    landmarks[4, 17, 1] += 3 * region.side_px / SMALL_SIDE_PX  # three pixels of the small picture

    motion = motion_of(replace(track, landmarks_px=landmarks))

    lip = POINTS.index(17)
    assert motion.stray[4, lip, 1] == pytest.approx(-3, abs=0.1)
    assert motion.stray[5, lip, 1] == pytest.approx(3, abs=0.1)


def test_a_picture_that_is_another_one_cannot_be_explained_by_flow() -> None:
    track = still()
    small = track.small.copy()
    small[4] = np.random.default_rng(1).integers(0, 256, small[4].shape)

    motion = motion_of(replace(track, small=small))

    assert motion.error[4].min() > 10 * max(motion.error[3].max(), 0.1)


def test_a_mirror_mirrors_what_is_told() -> None:
    track = make_track(frames=FRAMES, samples=0)
    rng = np.random.default_rng(2)
    landmarks = track.landmarks_px + rng.normal(0, 1, track.landmarks_px.shape)
    flipped = landmarks.copy()
    for point, other in zip(POINTS, MIRRORED, strict=True):
        flipped[:, point] = landmarks[:, other] * (-1, 1)
    order = [POINTS.index(point) for point in MIRRORED]

    seen = motion_of(replace(track, landmarks_px=np.float32(landmarks))).place
    mirrored = motion_of(replace(track, landmarks_px=np.float32(flipped))).place

    np.testing.assert_allclose(mirrored, seen[:, order] * np.float32([-1, 1]), atol=1e-4)


def test_lost_landmarks_break_a_stretch_and_leave_no_number_that_is_none() -> None:
    track = still(20)
    landmarks = track.landmarks_px.copy()
    landmarks[7] = np.nan

    motion = motion_of(replace(track, landmarks_px=landmarks))

    assert np.flatnonzero(~motion.is_whole).tolist() == [0, 7, 8]
    assert np.isfinite(motion.place).all()
    assert np.isfinite(motion.stray).all()


def moving(frames: int, rate_hz: float, *, broken_at: int | None = None) -> Motion:
    rng = np.random.default_rng(frames)
    is_whole = np.arange(frames) > 0
    if broken_at is not None:
        is_whole[broken_at] = False
    return Motion(
        pts_s=np.arange(frames) / rate_hz,
        place=np.float32(rng.normal(0, 0.02, (frames, len(POINTS), 2))),
        stray=np.float32(rng.normal(0, 0.3, (frames, len(POINTS), 2))),
        error=np.float32(rng.uniform(1, 4, (frames, 2))),
        is_whole=is_whole,
    )


def test_a_fast_video_is_thinned_and_its_flow_adds_up() -> None:
    motion = moving(100, 60.0)

    thin = thinned(motion)

    assert thin is not None
    assert len(thin.pts_s) == 50
    np.testing.assert_array_equal(thin.place, motion.place[::2])
    np.testing.assert_allclose(thin.stray[3], motion.stray[5] + motion.stray[6], rtol=1e-5)


@pytest.mark.parametrize("rate_hz", [RATE_HZ[0], 25.0, RATE_HZ[1]])
def test_a_usual_rate_is_left_as_it_is(rate_hz: float) -> None:
    motion = moving(80, rate_hz * 1.0001 if rate_hz < 20 else rate_hz * 0.9999)

    assert thinned(motion) is motion


@pytest.mark.parametrize("frames", [0, 1])
def test_a_slow_video_and_a_single_frame_cannot_be_judged(frames: int) -> None:
    assert thinned(moving(80, 5.0)) is None
    assert thinned(moving(frames, 30.0)) is None


def test_windows_lie_where_every_frame_is_whole() -> None:
    assert starts_of(moving(WINDOW, 30.0)) == []
    assert starts_of(moving(WINDOW + 1, 30.0)) == [1]
    assert starts_of(moving(200, 30.0)) == [1, 33, 65, 97, 129]
    assert starts_of(moving(200, 30.0, broken_at=100)) == [1, 33, 101, 133]


def test_of_a_long_track_windows_are_taken_evenly() -> None:
    assert len(windows_of(moving(1000, 30.0))) == MOST_WINDOWS


def test_a_window_has_bounded_numbers_whatever_the_face_does() -> None:
    motion = moving(80, 30.0)
    wild = replace(motion, place=motion.place * 1e4)

    shown = window(wild, 3)

    assert (shown.shape, shown.dtype) == ((WINDOW, CHANNELS), np.float32)
    assert np.abs(shown).max() == MOST


def test_whose_face_it_is_does_not_matter_to_a_window() -> None:
    motion = moving(80, 30.0)
    other = replace(motion, place=motion.place + np.float32(0.05))

    np.testing.assert_allclose(window(motion, 3), window(other, 3), atol=1e-3)
