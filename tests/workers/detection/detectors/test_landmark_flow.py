"""Is the network of moving faces shown what it was trained on, and only of the right people?"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, Finding
from tests.make_faces import make_clip, make_small, make_track, without_landmarks
from tests.make_models import make_calibration
from workers.detection.detectors.landmark_flow import MOST_FRAMES, LandmarkFlow
from workers.detection.landmark_flow import CHANNELS, WINDOW
from workers.detection.stage import FaceClip


class Restless:
    """A network that goes by how much moves: the more the more manipulated."""

    name, version, versioned_name = "restless", "1.0", "restless@1.0"
    calibration = None
    is_calibrated = False
    caveat = "movement proves nothing"
    output_names = ("fake_logit",)

    def __init__(self) -> None:
        self.seen: list[NDArray[np.float32]] = []

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        motion = inputs["motion"]
        self.seen.append(motion)
        return [np.abs(motion).mean(axis=(1, 2)) - 1]


class Garbled(Restless):
    """A network that answers NaN."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [np.full(len(inputs["motion"]), np.nan, np.float32)]


def clip_of(frames: int = 140, **options: float) -> FaceClip:
    return make_clip(make_track(frames=frames, samples=0, **options))  # type: ignore[arg-type]


def judged(clip: FaceClip) -> Finding:
    evidence = LandmarkFlow(Restless()).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    return evidence


def trembling(clip: FaceClip, px: float) -> FaceClip:
    (track,) = clip.tracks
    noise = np.random.default_rng(0).normal(0, px, track.landmarks_px.shape)
    return replace(
        clip, tracks=(replace(track, landmarks_px=np.float32(track.landmarks_px + noise)),)
    )


def test_a_face_that_trembles_is_more_suspect_to_a_network_that_goes_by_it() -> None:
    calm, restless = judged(clip_of()), judged(trembling(clip_of(), 3.0))

    assert calm.fake_probability is not None
    assert restless.fake_probability is not None
    assert calm.fake_probability < restless.fake_probability
    name = "mean_flow_beyond_the_landmarks_px"
    assert calm.measurements[name] < restless.measurements[name]


def test_a_finding_says_what_it_rests_on() -> None:
    network = Restless()
    finding = LandmarkFlow(network).examine(clip_of(), {}).evidence

    assert isinstance(finding, Finding)
    (shown,) = network.seen
    assert (shown.shape, shown.dtype) == ((3, WINDOW, CHANNELS), np.float32)
    assert finding.measurements["stretches"] == 3
    assert finding.frames == 128
    (span,) = finding.spans
    assert (span.first_s, span.last_s) == (pytest.approx(1 / 30), pytest.approx(128 / 30))
    assert finding.model == "restless@1.0"
    assert finding.caveat == "movement proves nothing"
    assert not finding.is_calibrated


def test_a_calibration_turns_log_odds_into_the_probability() -> None:
    network = Restless()
    network.calibration = make_calibration(slope=2.0, intercept=-1.0)
    network.is_calibrated = True

    finding = LandmarkFlow(network).examine(clip_of(), {}).evidence

    assert isinstance(finding, Finding)
    logit = finding.measurements["fake_logit"]
    assert finding.fake_probability == pytest.approx(1 / (1 + np.exp(-(2 * logit - 1))))
    assert finding.is_calibrated


def test_each_break_begins_a_new_stretch() -> None:
    clip = clip_of(200)
    (track,) = clip.tracks
    landmarks = track.landmarks_px.copy()
    landmarks[100] = np.nan

    finding = judged(replace(clip, tracks=(replace(track, landmarks_px=landmarks),)))

    assert len(finding.spans) == 2
    assert finding.spans[0].last_s < 100 / 30 < finding.spans[1].first_s


def test_of_somebody_seen_all_day_the_longest_tracks_are_judged() -> None:
    parts = [(590, 0.0), (70, 100.0), (300, 200.0), (280, 300.0)]
    tracks = [
        make_track(frames=n, first_s=s, first_frame=int(30 * s), shot=i, samples=0)
        for i, (n, s) in enumerate(parts)
    ]

    finding = judged(make_clip(*tracks))

    assert finding.frames <= MOST_FRAMES
    assert [span.first_s // 100 for span in finding.spans] == [0, 2]


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (clip_of(1), AbstainReason.TOO_FEW_FRAMES),
        (clip_of(WINDOW), AbstainReason.TOO_FEW_FRAMES),
        (clip_of(200, rate_hz=5.0), AbstainReason.FRAME_RATE_TOO_LOW),
        (clip_of(face_px=59.0), AbstainReason.FACE_TOO_SMALL),
        (without_landmarks(clip_of()), AbstainReason.LANDMARKS_UNSTABLE),
    ],
    ids=["one frame", "a window without the frame before", "5 fps", "tiny", "lost"],
)
def test_a_person_who_is_hardly_seen_is_not_judged(clip: FaceClip, reason: AbstainReason) -> None:
    evidence = LandmarkFlow(Restless()).examine(clip, {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is reason
    assert evidence.detail
    assert evidence.needs


def test_tracks_that_are_all_too_short_are_not_judged() -> None:
    tracks = [
        make_track(frames=50, first_s=2.0 * i, first_frame=60 * i, shot=i, samples=0)
        for i in range(3)
    ]

    evidence = LandmarkFlow(Restless()).examine(make_clip(*tracks), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_FEW_FRAMES


def test_without_small_pictures_there_is_nothing_to_judge() -> None:
    clip = clip_of()
    bare = replace(clip, tracks=(replace(clip.tracks[0], small=make_small(0)),))

    assert isinstance(LandmarkFlow(Restless()).examine(bare, {}).evidence, Abstention)


def test_black_pictures_are_not_judged() -> None:
    clip = clip_of()
    black = np.zeros_like(clip.tracks[0].small)
    dark = replace(clip, tracks=(replace(clip.tracks[0], small=black),))

    evidence = LandmarkFlow(Restless()).examine(dark, {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_DARK
    assert "0 of 255" in evidence.detail


def test_landmarks_that_fell_into_one_place_are_not_judged() -> None:
    clip = clip_of()
    (track,) = clip.tracks
    collapsed = replace(track, landmarks_px=np.full_like(track.landmarks_px, 100))

    evidence = LandmarkFlow(Restless()).examine(replace(clip, tracks=(collapsed,)), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_FEW_FRAMES


def test_a_network_that_answers_no_number_is_a_fault() -> None:
    with pytest.raises(ValueError, match="not a number"):
        LandmarkFlow(Garbled()).examine(clip_of(), {})
