"""Are blinks counted as they happen? Drawn lids first, then eyes on film."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding, Span
from tests.make_faces import EYES, make_clip, make_track
from tests.workers.detection.real_faces import follow_clip
from workers.detection.detectors.blink_rate import (
    Blink,
    BlinkRate,
    blinks,
    eye_aspect_ratio,
    openness,
)
from workers.detection.reference import NOTHING, Reference, Scale, Transform
from workers.detection.stage import FaceClip, Floats

BLINK_S = 0.22


def even(rate_hz: float, *, seconds: float = 60.0) -> NDArray[np.float64]:
    return np.arange(round(seconds * rate_hz)) / rate_hz


def uneven(rate_hz: float, *, seconds: float = 60.0) -> NDArray[np.float64]:
    """Time frames as a phone does: every gap another one, by up to a half."""
    random = np.random.default_rng(0)
    gaps = random.uniform(0.5, 1.5, round(seconds * rate_hz)) / rate_hz
    return np.cumsum(gaps) * seconds / gaps.sum()


def lids(pts_s: NDArray[np.float64], *, per_min: float, noise: float = 0.0) -> Floats:
    """Draw how open an eye is that shuts and opens again in BLINK_S, so many times a minute."""
    phase_s = np.mod(pts_s - 1.0, 60 / per_min)
    shut = np.where(phase_s < BLINK_S, np.sin(np.pi * phase_s / BLINK_S) ** 2, 0.0)
    random = np.random.default_rng(1)
    return np.float32(0.3 - 0.24 * shut + random.normal(0, noise, len(pts_s)))


@pytest.mark.parametrize("noise", [0.0, 0.008])
@pytest.mark.parametrize(
    "pts_s",
    [even(15), even(24), even(30), even(60), uneven(15), uneven(30)],
    ids=["15", "24", "30", "60", "uneven 15", "uneven 30"],
)
def test_seventeen_blinks_a_minute_are_counted(pts_s: NDArray[np.float64], noise: float) -> None:
    found = blinks(pts_s, lids(pts_s, per_min=17, noise=noise))

    assert len(found) == pytest.approx(17, abs=1)
    assert np.median([b.duration_s for b in found]) == pytest.approx(BLINK_S, abs=0.09)


def test_blinks_are_where_they_were_drawn() -> None:
    pts_s = even(30, seconds=10)

    starts = [b.start_s for b in blinks(pts_s, lids(pts_s, per_min=20))]

    np.testing.assert_allclose(starts, [1, 4, 7], atol=0.1)


def test_steady_eyes_do_not_blink() -> None:
    pts_s = even(30)
    random = np.random.default_rng(2)

    assert blinks(pts_s, np.float32(0.3 + random.normal(0, 0.012, len(pts_s)))) == ()


def test_a_slow_change_of_the_eyes_is_no_blink() -> None:
    pts_s = even(30)

    assert blinks(pts_s, np.float32(0.25 + 0.06 * np.sin(2 * np.pi * pts_s / 8))) == ()


def test_eyes_that_rest_are_no_blink() -> None:
    pts_s = even(30, seconds=20)
    rest = np.where((pts_s > 8) & (pts_s < 10), 0.05, 0.3)

    assert blinks(pts_s, np.float32(rest)) == ()


def test_a_flutter_is_one_blink() -> None:
    pts_s = even(60, seconds=10)
    shut = np.where((pts_s > 5) & (pts_s < 5.3), 0.06, 0.3)
    shut[(pts_s > 5.1) & (pts_s < 5.15)] = 0.23

    assert len(blinks(pts_s, np.float32(shut))) == 1


def test_a_blink_that_goes_out_of_view_is_not_counted() -> None:
    pts_s = even(30, seconds=10)
    open_ = lids(pts_s, per_min=6)
    gone = (pts_s > 1.1) & (pts_s < 1.5)

    assert len(blinks(pts_s, open_)) == 1
    assert blinks(pts_s, np.where(gone, np.nan, open_).astype(np.float32)) == ()


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_a_handful_of_frames_holds_no_blink(frames: int) -> None:
    assert blinks(np.arange(frames) / 30, np.full(frames, 0.3, np.float32)) == ()


def test_only_nan_holds_no_blink() -> None:
    assert blinks(even(30), np.full(1800, np.nan, np.float32)) == ()


def test_the_aspect_ratio_is_height_over_width() -> None:
    eye = np.float32([[(0, 0), (1, -1), (2, -1), (3, 0), (2, 1), (1, 1)]])

    np.testing.assert_allclose(eye_aspect_ratio(eye), [2 / 3])
    np.testing.assert_allclose(eye_aspect_ratio(eye * 7 + 5), [2 / 3], rtol=1e-6)
    assert np.isnan(eye_aspect_ratio(np.zeros((1, 6, 2), np.float32))).all()
    with pytest.raises(ValueError, match=r"want \[T, 6, 2\], got \[1, 5, 2\]"):
        eye_aspect_ratio(eye[:, :5])


REFERENCE = Reference(
    version="drawn",
    scales={
        DetectorName.BLINK_RATE: Scale(
            median=17.0, deviation=8.0, transform=Transform.NONE, clips=9, groups=5
        )
    },
)


def judged(clip: FaceClip, reference: Reference = REFERENCE) -> Finding:
    evidence = BlinkRate(reference).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def refused(clip: FaceClip) -> AbstainReason:
    evidence = BlinkRate(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    assert "30 s of track at 20 fps" in evidence.needs
    return evidence.reason


@pytest.mark.parametrize("rate_hz", [24.0, 30.0])
def test_a_person_who_blinks_as_people_do_is_not_suspect(rate_hz: float) -> None:
    finding = judged(make_clip(rate_hz=rate_hz))

    assert finding.measurements["blinks_per_min"] == pytest.approx(17, abs=1)
    assert finding.measurements["median_blink_s"] == pytest.approx(0.25, abs=0.09)
    assert finding.measurements["median_blink_depth"] > 0.6
    assert finding.measurements["deep_blinks_share"] == 1
    assert finding.cue is not None
    assert finding.cue.value == finding.measurements["blinks_per_min"]
    assert finding.cue.unit == "blinks a minute"
    assert abs(finding.cue.z) < 0.2
    assert "9 real clips" in finding.cue.reference


def with_lids(frames: int, openness: Floats) -> FaceClip:
    """Build a person whose eyes are so far open, as a share of how they are drawn."""
    track = make_track(frames=frames, samples=0)
    points = track.landmarks_px.copy()
    shut = openness[:, None] * 0.3 / 2 * 0.2 * 160
    for eye in EYES:
        middle = points[:, [eye[0], eye[3]], 1].mean(axis=1, keepdims=True)
        points[:, eye[1:3], 1] = middle - shut
        points[:, eye[4:6], 1] = middle + shut
    return make_clip(replace(track, landmarks_px=points))


def test_a_person_who_never_blinks_is_suspect_and_says_nothing_of_a_blink() -> None:
    finding = judged(with_lids(1800, np.ones(1800, np.float32)))

    assert finding.measurements["blinks"] == 0
    assert "median_blink_s" not in finding.measurements
    assert finding.cue.value == 0
    assert finding.cue.z == pytest.approx(17 / 8)


def test_a_person_who_blinks_all_the_time_is_not_suspect() -> None:
    phase = np.arange(1800) % 25
    finding = judged(with_lids(1800, np.where(phase < 5, 0.2, 1.0).astype(np.float32)))

    assert finding.cue.value > 60
    assert finding.cue.z < -2


def test_blinks_that_never_shut_the_eye_are_told_from_whole_ones() -> None:
    phase = np.arange(1800) % 100
    half = judged(with_lids(1800, np.where(phase < 6, 0.6, 1.0).astype(np.float32)))
    whole = judged(with_lids(1800, np.where(phase < 6, 0.1, 1.0).astype(np.float32)))

    assert half.cue.value == pytest.approx(whole.cue.value)
    assert half.measurements["median_blink_depth"] == pytest.approx(0.4, abs=0.01)
    assert half.measurements["deep_blinks_share"] == 0
    assert whole.measurements["median_blink_depth"] == pytest.approx(0.9, abs=0.01)
    assert whole.measurements["deep_blinks_share"] == 1


def test_without_a_reference_the_rate_is_told_and_not_how_strange_it_is() -> None:
    finding = judged(make_clip(), NOTHING)

    assert finding.cue.value == pytest.approx(17, abs=1)
    assert finding.cue.z is None


def test_no_blink_in_eight_seconds_cannot_be_evaluated() -> None:
    evidence = BlinkRate(REFERENCE).examine(with_lids(240, np.ones(240, np.float32)), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TRACK_TOO_SHORT
    assert evidence.detail.startswith("the face was followed for 8.0 s")
    assert "need not blink" in evidence.detail


def test_twice_the_resolution_or_a_mirror_image_blinks_as_often() -> None:
    clip = make_clip()
    (track,) = clip.tracks
    twice = make_clip(replace(track, landmarks_px=track.landmarks_px * 2))
    mirrored = make_clip(
        replace(track, landmarks_px=(1280, 0) + np.float32([-1, 1]) * track.landmarks_px)
    )

    first = judged(clip).measurements

    assert judged(twice).measurements == pytest.approx(first, rel=1e-4)
    assert judged(mirrored).measurements == pytest.approx(first, rel=1e-4)


def test_tracks_are_counted_one_by_one() -> None:
    halves = make_clip(
        make_track(frames=900), make_track(frames=900, first_s=32.0, first_frame=960)
    )

    finding = judged(halves)

    assert finding.measurements["eyes_in_view_s"] == pytest.approx(60, abs=0.1)
    assert finding.measurements["blinks_per_min"] == pytest.approx(17, abs=1.5)
    first, second = halves.tracks
    assert finding.spans == (
        Span(first_s=first.pts_s[0], last_s=first.pts_s[-1]),
        Span(first_s=second.pts_s[0], last_s=second.pts_s[-1]),
    )


def test_half_a_minute_is_needed() -> None:
    assert refused(make_clip(make_track(frames=870))) == AbstainReason.TRACK_TOO_SHORT


def test_twenty_frames_a_second_are_needed() -> None:
    slow = make_clip(make_track(frames=600, rate_hz=15.0), rate_hz=15.0)

    assert refused(slow) == AbstainReason.FRAME_RATE_TOO_LOW


def test_both_eyes_must_be_in_view_for_most_of_the_time() -> None:
    clip = make_clip()
    (track,) = clip.tracks
    presence = np.where(np.arange(len(track.pts_s)) % 2, 0.99, 0.1).astype(np.float32)
    far = make_clip(make_track(frames=1800, face_px=40.0))

    assert refused(make_clip(replace(track, presence=presence))) == AbstainReason.EYES_NOT_VISIBLE
    assert refused(far) == AbstainReason.EYES_NOT_VISIBLE


def found_on_film(shared_media: Path, name: str) -> list[Blink]:
    (person, *_) = follow_clip(shared_media / "videos/real" / f"{name}.mp4")
    return [b for t in person.tracks for b in blinks(t.pts_s, openness(t))]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "counted"),  # by eye, on strips of every second frame
    [
        ("blinktest__blink04__67924e", [3.95, 7.05, 10.05]),
        ("blinktest__blinking_4__d5e709", [1.75, 3.8, 6.8, 9.0]),
        ("blinktest__sec5__0fac1a", [1.15, 3.15]),
    ],
)
def test_blinks_on_film_are_counted_as_by_eye(
    name: str, counted: list[float], shared_media: Path
) -> None:
    found = found_on_film(shared_media, name)

    assert len(found) == len(counted)
    for blink, middle_s in zip(found, counted, strict=True):
        assert blink.start_s - 0.1 < middle_s < blink.end_s + 0.1


@pytest.mark.shared
def test_nine_in_ten_blinks_of_people_who_talk_are_found_and_hardly_one_that_is_none(
    shared_media: Path,
) -> None:
    told = {  # frames by eye, on strips of every second one, before anything was counted
        "hdtf__pose_source1__e970c7": (25, [13, 28, 37, 59, 83, 99, 112, 131, 152, 180, 211, 227]),
        "web__kim_7s_raw__6db41e": (30, [32, 136, 176]),
    }
    hits = misses = wrong = 0
    for name, (rate_hz, frames) in told.items():
        left = [frame / rate_hz for frame in frames]
        for blink in found_on_film(shared_media, name):
            met = [t for t in left if blink.start_s - 0.1 <= t <= blink.end_s + 0.1]
            left = [t for t in left if t not in met[:1]]
            hits += bool(met)
            wrong += not met
        misses += len(left)

    assert 2 * hits / (2 * hits + misses + wrong) >= 0.93


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "counted"),  # by eye on every frame; the table of the cuts has one in each
    [("person1_05", 1), ("person1_01", 0), ("person3_01", 0), ("person4_01", 0), ("person7_05", 0)],
)
def test_a_blink_in_less_than_a_second_of_film_is_counted_where_there_is_one(
    name: str, counted: int, shared_media: Path
) -> None:
    (person, *_) = follow_clip(shared_media / "blinks" / f"eyeblink8_{name}.mp4")

    assert sum(len(blinks(t.pts_s, openness(t))) for t in person.tracks) == counted
