"""
Is a mouth that moves with the sound told from one that does not?

Mouths are drawn that open as a made sound gets louder, at a lag that is known; one real speaker at
the end.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding
from app.settings import Settings
from tests.make_faces import make_clip, make_track, without_landmarks
from tests.workers.detection.real_faces import follow_clip
from workers.detection.detectors.lip_sync import LIPS, LipSync, loudness, mouth_opening
from workers.detection.reference import NOTHING, Reference, Scale, Transform
from workers.detection.sound import open_sound
from workers.detection.stage import FaceClip, FaceTrack, Sound

SOUND_RATE_HZ = 16000
SECONDS = 12.0
SEED = 5


def syllables(times_s: NDArray[np.float64], *, seed: int = SEED) -> NDArray[np.float64]:
    """Draw how loud somebody speaks, `[T]` in [0, 1]: bells of all heights, four a second."""
    random = np.random.default_rng(seed)
    starts_s = np.cumsum(random.uniform(0.12, 0.4, 400)) - 2
    heights = random.uniform(0.2, 1, len(starts_s))
    bells = np.exp(-(((times_s[:, None] - starts_s) / 0.06) ** 2)) @ heights
    return np.clip(bells, 0, 1)


@cache
def speech(*, seed: int = SEED, seconds: float = SECONDS, start_s: float = 0.0) -> Sound:
    """Make noise as loud as the syllables are."""
    times_s = start_s + np.arange(round(seconds * SOUND_RATE_HZ)) / SOUND_RATE_HZ
    coarse_s = np.arange(-1, SECONDS + 1, 0.005)
    loud = np.interp(times_s, coarse_s, syllables(coarse_s, seed=seed))
    return made_of(noise(len(times_s)) * loud, start_s=start_s)


def noise(samples: int) -> NDArray[np.float64]:
    return np.random.default_rng(SEED).normal(0, 4000, samples)


def made_of(samples: NDArray[np.float64], *, start_s: float = 0.0) -> Sound:
    return Sound(
        samples=np.int16(np.clip(samples, -32000, 32000))[:, None],
        rate_hz=SOUND_RATE_HZ,
        start_s=start_s,
    )


@cache
def still(*, frames: int, rate_hz: float = 30.0, **more: float) -> FaceTrack:
    """Draw a face whose lips keep still; once, as that takes its time."""
    return make_track(frames=frames, rate_hz=rate_hz, samples=0, **more)


def speaking(track: FaceTrack, *, late_s: float = 0.0, seed: int = SEED) -> FaceTrack:
    """Let the lips part by up to an eighth of the face as the sound `late_s` later gets louder."""
    part_px = 20 * syllables(track.pts_s + late_s, seed=seed)
    points = track.landmarks_px.copy()
    for upper, lower in LIPS:
        points[:, lower] = points[:, upper]
        points[:, lower, 1] += part_px
    return replace(track, landmarks_px=points)


def person(
    *, late_s: float = 0.0, seed: int = SEED, seconds: float = SECONDS, rate_hz: float = 30.0
) -> FaceClip:
    track = still(frames=round(seconds * rate_hz), rate_hz=rate_hz)
    clip = make_clip(speaking(track, late_s=late_s, seed=seed), rate_hz=rate_hz)
    return replace(clip, sound=speech())


def found(clip: FaceClip, reference: Reference = NOTHING) -> Finding:
    evidence = LipSync(reference).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def refused(clip: FaceClip) -> Abstention:
    evidence = LipSync(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    return evidence


@pytest.mark.parametrize("late_s", [0.0, 0.3, -0.3])
def test_a_mouth_that_moves_with_the_sound_agrees_at_the_lag_that_was_given(late_s: float) -> None:
    finding = found(person(late_s=late_s))

    assert finding.cue is not None
    assert finding.cue.value > 0.8
    assert finding.measurements["lag_of_sound_s"] == pytest.approx(late_s, abs=0.03)
    assert finding.measurements["judged_s"] == pytest.approx(SECONDS, abs=0.2)
    assert finding.fake_probability is None


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_mouth_that_moves_with_another_sound_agrees_by_chance(seed: int) -> None:
    finding = found(person(seed=seed))

    assert finding.cue is not None
    assert finding.cue.value < 0.4
    assert finding.cue.value < finding.measurements["best_correlation_by_chance"] + 0.2


def test_a_sound_that_comes_a_second_late_does_not_agree() -> None:
    finding = found(person(late_s=1.2))

    assert finding.cue is not None
    assert finding.cue.value < 0.4
    assert finding.measurements["best_correlation_by_chance"] > 0.8


def test_disagreement_is_what_is_suspicious() -> None:
    scale = Scale(median=0.4, deviation=0.1, transform=Transform.NONE, clips=9, groups=9)
    reference = Reference(version="r1", scales={DetectorName.LIP_SYNC: scale})

    agreeing, other = found(person(), reference).cue, found(person(seed=11), reference).cue

    assert agreeing is not None
    assert other is not None
    assert agreeing.z is not None
    assert other.z is not None
    assert agreeing.z < 0 < other.z


def test_when_the_sound_begins_is_minded() -> None:
    clip = person()

    finding = found(replace(clip, sound=speech(start_s=1.5, seconds=SECONDS - 1.5)))

    assert finding.measurements["lag_of_sound_s"] == pytest.approx(0, abs=0.03)
    assert finding.measurements["judged_s"] < SECONDS


def test_only_stretches_with_speech_and_a_moving_mouth_are_judged() -> None:
    clip = person()

    finding = found(replace(clip, sound=speech(seconds=8)))

    assert finding.spans[0].first_s == 0
    assert finding.spans[-1].last_s == pytest.approx(9, abs=0.1)
    assert finding.frames == pytest.approx(9 * 30, abs=4)


def test_two_channels_are_heard_as_one_and_tracks_are_put_together() -> None:
    sound = speech()
    first = still(frames=180)
    second = make_track(frames=180, first_s=6.0, first_frame=180, shot=1, samples=0)
    clip = replace(
        make_clip(speaking(first), speaking(second)),
        sound=replace(sound, samples=np.repeat(sound.samples, 2, axis=1)),
    )

    finding = found(clip)

    assert finding.cue is not None
    assert finding.cue.value > 0.8
    assert len(finding.spans) == 4


def test_how_far_lips_are_apart_depends_on_neither_size_nor_turn() -> None:
    track = speaking(still(frames=60))
    turned = track.landmarks_px[..., ::-1] * np.float32([3, -3])

    assert mouth_opening(replace(track, landmarks_px=turned)) == pytest.approx(
        mouth_opening(track), abs=1e-4
    )


@pytest.mark.parametrize(
    ("samples", "is_speech"),
    [
        (noise(round(SECONDS * SOUND_RATE_HZ)), False),
        (np.zeros(round(SECONDS * SOUND_RATE_HZ)), False),
        (
            8000 * np.sin(2 * np.pi * 1000 * np.arange(SECONDS * SOUND_RATE_HZ) / SOUND_RATE_HZ),
            False,
        ),
        (speech().samples[:, 0] / 2000, False),
        (speech().samples[:, 0] / 8, True),
    ],
    ids=["noise", "silence", "a tone", "a whisper behind a wall", "a low voice"],
)
def test_what_rises_and_falls_as_syllables_do_is_speech(
    samples: NDArray[np.float64], is_speech: bool
) -> None:
    evidence = LipSync(NOTHING).examine(replace(person(), sound=made_of(samples)), {}).evidence

    assert isinstance(evidence, Finding) == is_speech
    assert is_speech or evidence.reason is AbstainReason.NO_SPEECH


def test_a_long_sound_is_measured_in_pieces_that_fit_together() -> None:
    sound = speech()

    whole = loudness(sound)
    half = loudness(replace(sound, samples=sound.samples[: len(sound.samples) // 2]))

    same = slice(100, len(half.level) - 100)
    assert half.syllables[same] == pytest.approx(whole.syllables[same])


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (replace(person(), sound=None), AbstainReason.NO_SOUND),
        (replace(person(), sound=made_of(np.zeros(0))), AbstainReason.NO_SOUND),
        (replace(person(), sound=speech(seconds=3)), AbstainReason.NO_SPEECH),
        (
            replace(make_clip(still(frames=360)), sound=speech()),
            AbstainReason.MOUTH_STILL,
        ),
        (person(seconds=4), AbstainReason.TRACK_TOO_SHORT),
        (person(seconds=1 / 30), AbstainReason.TRACK_TOO_SHORT),
        (person(rate_hz=15), AbstainReason.FRAME_RATE_TOO_LOW),
        (person(rate_hz=5), AbstainReason.FRAME_RATE_TOO_LOW),
        (without_landmarks(person()), AbstainReason.LANDMARKS_UNSTABLE),
        (
            replace(make_clip(make_track(frames=360, samples=0, face_px=40)), sound=speech()),
            AbstainReason.FACE_TOO_SMALL,
        ),
    ],
    ids=[
        "no sound",
        "an empty track",
        "a sound that ends",
        "a still mouth",
        "four seconds",
        "one frame",
        "15 frames a second",
        "5 frames a second",
        "no landmarks",
        "a tiny face",
    ],
)
def test_too_little_is_an_abstention_with_its_reason(clip: FaceClip, reason: AbstainReason) -> None:
    abstention = refused(clip)

    assert abstention.reason is reason
    assert abstention.detail
    assert abstention.needs


def test_points_that_are_lost_now_and_then_are_done_without() -> None:
    clip = person()
    points = clip.tracks[0].landmarks_px.copy()
    points[40::40] = np.nan
    holed = replace(clip, tracks=(replace(clip.tracks[0], landmarks_px=points),))

    finding = found(holed)

    assert finding.cue is not None
    assert finding.cue.value > 0.7


def test_the_same_clip_gets_the_same_answer_and_stays_as_it_is() -> None:
    clip = person()
    assert clip.sound is not None
    before = clip.tracks[0].landmarks_px.copy(), clip.sound.samples.copy()

    assert found(clip) == found(clip)
    assert np.array_equal(clip.tracks[0].landmarks_px, before[0])
    assert np.array_equal(clip.sound.samples, before[1])


@pytest.mark.shared
def test_a_real_speaker_agrees_with_his_own_voice_and_not_with_anothers(
    shared_media: Path,
) -> None:
    videos = shared_media / "videos" / "real"
    clip = follow_clip(videos / "voxceleb__driving2__d2afa2.mp4")[0]

    def correlation(other: Path) -> float:
        sound = open_sound(other, settings=Settings(_env_file=None))
        cue = found(replace(clip, sound=sound)).cue
        assert cue is not None
        return cue.value

    own = correlation(videos / "voxceleb__driving2__d2afa2.mp4")
    others = [
        correlation(videos / name)
        for name in ("hdtf__uncrop_Obama__3eb498.mp4", "web__obama1__9ecdba.mp4")
    ]

    assert own > 0.3
    assert max(others) < own
