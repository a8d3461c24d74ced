"""Is a pulse found where one was drawn, and in one region alone told from one in all?"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding, Span
from tests.make_faces import make_clip, make_landmarks, make_track
from workers.detection import face_regions
from workers.detection.detectors.pulse import TRANSFORM, Pulse, measure, pulse_signal
from workers.detection.reference import NOTHING, Reference, Scale
from workers.detection.stage import SMALL_SIDE_PX, FaceClip, FaceTrack

SIDE = SMALL_SIDE_PX
SKIN_RGB = np.array((180.0, 130.0, 110.0))
POINTS = face_regions.points_in_small(make_landmarks(np.zeros(1))[0])
LEFT = np.broadcast_to(np.arange(SIDE) < SIDE / 2, (SIDE, SIDE))
SKIN = np.logical_or.reduce(
    [
        face_regions.polygon_mask(POINTS, corners, SIDE)
        for corners in (*face_regions.CHEEKS, face_regions.FOREHEAD)
    ]
)
"""What a pulse is looked for in; only this is drawn."""

Beat = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def beats(hz: float, *, size: float = 0.8) -> Beat:
    """Give green a rhythm, so many steps of 255 high."""
    return lambda t: size * np.sin(2 * np.pi * hz * t)[:, None] * (0, -1, 0)


def nothing(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.zeros((len(t), 3))


@cache
def still(frames: int, rate_hz: float) -> FaceTrack:
    return make_track(frames=frames, rate_hz=rate_hz, samples=0)


def grain(*shape: int) -> NDArray[np.float64]:
    """Draw the noise of a camera."""
    return np.random.default_rng(shape).normal(0, 1.5, (*shape, 3))


def drawn(
    left: Beat = nothing,
    right: Beat = nothing,
    *,
    frames: int = 360,
    rate_hz: float = 30.0,
    pts_s: NDArray[np.float64] | None = None,
    level: float = 1.0,
) -> FaceTrack:
    """Build a face that holds still, with a pulse in its left and its right half."""
    track = still(frames, rate_hz)
    pts_s = track.pts_s if pts_s is None else pts_s
    small = np.zeros((frames, SIDE, SIDE, 3), np.uint8)
    for half, pulse in ((SKIN & LEFT, left), (SKIN & ~LEFT, right)):
        drawn = level * SKIN_RGB + pulse(pts_s)[:, None] + grain(frames, int(half.sum()))
        small[:, half] = np.clip(np.rint(drawn), 0, 255)
    return replace(track, pts_s=pts_s, small=small)


def judged(track: FaceTrack) -> Finding:
    evidence = Pulse(NOTHING).examine(make_clip(track), {}).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def refused(clip: FaceClip) -> AbstainReason:
    evidence = Pulse(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    assert evidence.detail
    assert evidence.needs
    return evidence.reason


@pytest.mark.parametrize(("hz", "rate_hz"), [(1.2, 30.0), (1.2, 25.0), (2.1, 30.0)])
def test_a_face_that_pulses_gives_its_rate_and_pulses_everywhere(hz: float, rate_hz: float) -> None:
    finding = judged(drawn(beats(hz), beats(hz), rate_hz=rate_hz))

    assert finding.measurements["strongest_rhythm_per_min"] == pytest.approx(60 * hz, abs=2)
    assert finding.measurements["pulse_snr_db"] > 6
    assert finding.cue.value > 0.8


def test_frames_at_uneven_times_give_the_same_rate() -> None:
    gaps = np.random.default_rng(3).uniform(0.5, 1.5, 360)
    pts_s = np.cumsum(gaps) / gaps.sum() * 12

    finding = judged(drawn(beats(1.2), beats(1.2), pts_s=pts_s))

    assert finding.measurements["strongest_rhythm_per_min"] == pytest.approx(72, abs=2)
    assert finding.cue.value > 0.8


def test_noise_pulses_nowhere_alike() -> None:
    finding = judged(drawn())

    assert abs(finding.cue.value) < 0.3
    assert finding.measurements["pulse_snr_db"] < 2


def test_a_pulse_in_one_half_of_the_face_is_no_pulse_of_the_face() -> None:
    half = judged(drawn(left=beats(1.2)))
    other = judged(drawn(left=beats(1.2), right=beats(1.7)))

    assert half.measurements["pulse_coherence_of_cheeks"] < 0.3
    assert other.measurements["pulse_coherence_of_cheeks"] < 0.3
    assert max(half.cue.value, other.cue.value) < 0.6


def test_light_that_goes_up_and_down_is_no_pulse() -> None:
    lamp = lambda t: 4 * np.sin(2 * np.pi * 1.2 * t)[:, None] * SKIN_RGB / 128  # noqa: E731

    finding = judged(drawn(lamp, lamp))

    assert abs(finding.cue.value) < 0.3


def test_the_signal_of_a_lamp_is_zero_and_that_of_blood_is_not() -> None:
    t = np.arange(300) / 30
    wave = 0.01 * np.sin(2 * np.pi * 1.2 * t)[:, None, None]
    lamp = SKIN_RGB * (1 + wave)
    blood = SKIN_RGB * (1 + wave * (0, -1, 0))

    assert np.abs(pulse_signal(lamp, 30)).max() < 1e-3 * np.abs(pulse_signal(blood, 30)).max()


def test_a_rhythm_of_keyframes_is_the_codec_s() -> None:
    jumps = lambda t: (np.arange(len(t)) // 20 % 2)[:, None] * np.array((0, 2.0, 0))  # noqa: E731
    track = drawn(jumps, jumps)
    is_keyframe = np.arange(360) % 20 == 0

    codec, face = (replace(track, is_keyframe=k) for k in (is_keyframe, np.zeros(360, bool)))

    assert judged(face).cue.value > 0.8
    assert judged(codec).cue.value < 0.5


def test_flat_colours_have_no_pulse_and_no_nan() -> None:
    seen = measure(np.full((300, 3, 3), 100.0), 30)

    assert (seen.coherence, seen.of_cheeks) == (0, 0)
    assert np.isfinite(seen.snr_db)
    assert np.isfinite(measure(np.zeros((300, 3, 3)), 30).snr_db)


def test_a_value_is_set_beside_those_of_real_clips_and_low_is_suspicious() -> None:
    scale = Scale(median=0.5, deviation=0.25, transform=TRANSFORM, clips=40, groups=20)
    reference = Reference(version="drawn", scales={DetectorName.PULSE: scale})

    cue = Pulse(reference).examine(make_clip(drawn()), {}).evidence.cue

    assert cue.z == pytest.approx((0.5 - cue.value) / 0.25)
    assert cue.z > 0


def test_it_rests_on_the_frames_that_small_pictures_were_kept_of() -> None:
    track = drawn(beats(1.2), beats(1.2), frames=360)

    finding = judged(replace(track, small=track.small[:310]))

    assert finding.spans == (Span(first_s=0.0, last_s=track.pts_s[309]),)
    assert finding.frames == 310
    assert finding.fake_probability is None
    assert "Weak" in finding.caveat


def test_ten_seconds_at_twenty_frames_a_second_of_a_large_face_are_needed() -> None:
    assert refused(make_clip(make_track(frames=1))) == AbstainReason.TRACK_TOO_SHORT
    assert refused(make_clip(make_track(frames=280))) == AbstainReason.TRACK_TOO_SHORT
    assert (
        refused(make_clip(make_track(frames=60, rate_hz=5.0))) == AbstainReason.FRAME_RATE_TOO_LOW
    )
    assert refused(make_clip(make_track(frames=310, face_px=40.0))) == AbstainReason.FACE_TOO_SMALL
    assert isinstance(judged(drawn(frames=300)), Finding)


def test_a_head_that_turns_is_not_measured() -> None:
    track = drawn()
    turning = track.landmarks_px.copy()
    nose = [168, 6, 197, 195, 5, 4, 1, 2, 98, 327]
    turning[:, nose, 0] += 30 * np.sin(np.arange(360) / 20)[:, None]

    assert (
        refused(make_clip(replace(track, landmarks_px=turning))) == AbstainReason.LANDMARKS_UNSTABLE
    )


def test_a_face_without_points_in_the_dark_or_frozen_is_not_measured() -> None:
    track = drawn()
    lost = replace(track, landmarks_px=np.full_like(track.landmarks_px, np.nan))
    frozen = replace(track, small=np.repeat(track.small[::3], 3, axis=0))
    black = replace(track, small=np.zeros_like(track.small))

    assert refused(make_clip(lost)) == AbstainReason.LANDMARKS_UNSTABLE
    assert refused(make_clip(drawn(level=0.1))) == AbstainReason.TOO_DARK
    assert refused(make_clip(black)) == AbstainReason.TOO_DARK
    assert refused(make_clip(frozen)) == AbstainReason.TOO_COMPRESSED
