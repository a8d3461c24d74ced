"""What do all cues that compare pixels of the face with others have in common?"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, Cue, Finding
from tests.make_faces import make_clip, make_track, without_landmarks, without_samples
from tests.workers.detection.detectors.draw_heads import (
    blurred,
    draw_head,
    draw_mesh,
    draw_person,
    mirrored,
    person_of,
    relit,
)
from tests.workers.detection.real_faces import read_clip, real_follower
from workers.detection.close_looks import LEAST_FACE_PX, LEAST_LOOKS
from workers.detection.detectors.boundary_color import BoundaryColor
from workers.detection.detectors.double_edge import DoubleEdge
from workers.detection.detectors.mouth_blur import MouthBlur
from workers.detection.detectors.noise_residual import NoiseResidual
from workers.detection.detectors.over_blur import OverBlur
from workers.detection.reference import NOTHING, Reference
from workers.detection.stage import CROP_SIDE_PX, Detector, FaceClip

EVERYWHERE = np.ones((CROP_SIDE_PX, CROP_SIDE_PX), bool)
CUES = (OverBlur, BoundaryColor, DoubleEdge, MouthBlur, NoiseResidual)


@pytest.fixture(params=CUES, ids=lambda cue: cue.name)
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each cue in turn, before anything was measured of real clips."""
    make: Callable[[Reference], Detector] = request.param
    return make(NOTHING)


def cue_of(detector: Detector, clip: FaceClip) -> Cue:
    evidence = detector.examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    assert evidence.cue is not None
    return evidence.cue


def with_all_looks(picture: np.ndarray, *, looks: int = LEAST_LOOKS) -> FaceClip:
    return person_of([picture] * looks)


def off_the_edge() -> FaceClip:
    """Draw a head of which half lies beyond the frame."""
    half = np.arange(CROP_SIDE_PX)[None, :, None] < CROP_SIDE_PX / 2
    return person_of([np.where(half, draw_head(i), 0.0) for i in range(LEAST_LOOKS)])


def wandering() -> FaceClip:
    """Draw heads whose landmarks lie elsewhere."""
    return person_of(
        [draw_head(i) for i in range(LEAST_LOOKS)], meshes=[draw_mesh() + 90] * LEAST_LOOKS
    )


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (
            person_of([draw_head(0)] * LEAST_LOOKS, face_px=LEAST_FACE_PX - 1),
            AbstainReason.FACE_TOO_SMALL,
        ),
        (make_clip(make_track(frames=30, face_px=np.nan)), AbstainReason.FACE_TOO_SMALL),
        (draw_person(looks=LEAST_LOOKS - 1), AbstainReason.TOO_FEW_FRAMES),
        (make_clip(make_track(frames=1)), AbstainReason.TOO_FEW_FRAMES),
        (without_samples(draw_person()), AbstainReason.TOO_FEW_FRAMES),
        (off_the_edge(), AbstainReason.TOO_FEW_FRAMES),
        (without_landmarks(draw_person()), AbstainReason.LANDMARKS_UNSTABLE),
        (wandering(), AbstainReason.LANDMARKS_UNSTABLE),
        (relit(draw_person(), 0.0), AbstainReason.TOO_DARK),
        (relit(draw_person(), 0.08), AbstainReason.TOO_DARK),
        (
            with_all_looks(blurred(draw_head(0), EVERYWHERE, 6)),
            AbstainReason.TOO_BLURRED,
        ),
    ],
    ids=[
        "small",
        "no size",
        "few",
        "one frame",
        "no looks",
        "off the edge",
        "no landmarks",
        "landmarks elsewhere",
        "black",
        "dark",
        "blurred",
    ],
)
def test_what_cannot_be_measured_is_declined(
    detector: Detector, clip: FaceClip, reason: AbstainReason
) -> None:
    examination = detector.examine(clip, {})

    assert isinstance(examination.evidence, Abstention)
    assert examination.evidence.reason is reason
    assert examination.evidence.detail
    assert examination.evidence.needs
    assert examination.masks == ()


def test_a_finding_is_a_cue_without_a_probability(detector: Detector) -> None:
    finding = detector.examine(draw_person(), {}).evidence

    assert isinstance(finding, Finding)
    assert finding.detector is detector.name
    assert finding.fake_probability is None
    assert finding.cue is not None
    assert finding.cue.z is None
    assert finding.cue.unit
    assert finding.frames == LEAST_LOOKS
    assert finding.caveat


def test_the_same_person_gets_the_same_answer_and_is_left_as_he_was(detector: Detector) -> None:
    clip = draw_person()
    before = [s.crop.copy() for s in clip.samples]
    landmarks = clip.tracks[0].landmarks_px.copy()

    first, second = detector.examine(clip, {}), detector.examine(clip, {})

    assert first.evidence == second.evidence
    for crop, sample in zip(before, clip.samples, strict=True):
        np.testing.assert_array_equal(crop, sample.crop, strict=True)
    np.testing.assert_array_equal(landmarks, clip.tracks[0].landmarks_px, strict=True)


def test_a_mirror_changes_nothing(detector: Detector) -> None:
    clip = draw_person()

    # Masks and patches are cut at whole pixels, that is all.
    assert cue_of(detector, mirrored(clip)).value == pytest.approx(
        cue_of(detector, clip).value, rel=0.05, abs=0.05
    )


def test_a_tenth_more_light_changes_little(detector: Detector) -> None:
    clip = draw_person()

    assert cue_of(detector, relit(clip, 1.1)).value == pytest.approx(
        cue_of(detector, clip).value, rel=0.1, abs=0.15
    )


def test_half_the_light_changes_little(detector: Detector) -> None:
    clip = draw_person()
    full, half = (cue_of(detector, c).value for c in (clip, relit(clip, 0.5)))

    if isinstance(detector, BoundaryColor):
        # What is darker differs less, to the eye and to Delta E.
        assert 0.4 * full < half < full
    else:
        assert half == pytest.approx(full, rel=0.25)


def test_looks_that_cannot_be_measured_are_left_out_and_the_times_say_so(
    detector: Detector,
) -> None:
    clip = draw_person(looks=12)
    (track,) = clip.tracks
    broken = {5, 6}
    landmarks = track.landmarks_px.copy()
    for i in broken:
        landmarks[track.frame_index == track.samples[i].frame_index] = np.nan

    finding = detector.examine(
        replace(clip, tracks=(replace(track, landmarks_px=landmarks),)), {}
    ).evidence

    assert isinstance(finding, Finding)
    assert finding.frames == 10
    assert [(s.first_s, s.last_s) for s in finding.spans] == [
        (track.samples[0].pts_s, track.samples[4].pts_s),
        (track.samples[7].pts_s, track.samples[11].pts_s),
    ]


def test_looks_of_all_shots_are_measured(detector: Detector) -> None:
    clip = draw_person(looks=4)
    (track,) = clip.tracks
    later = replace(
        track,
        shot=1,
        frame_index=track.frame_index + 900,
        pts_s=track.pts_s + 30,
        samples=tuple(
            replace(s, frame_index=s.frame_index + 900, pts_s=s.pts_s + 30) for s in track.samples
        ),
    )

    finding = detector.examine(replace(clip, tracks=(track, later)), {}).evidence

    assert isinstance(finding, Finding)
    assert finding.frames == 8
    assert len(finding.spans) == 2


SWAP = "fake/deepfakes__183_253__c23__801b73.mp4"
ORIGINAL = "real/ffpp__183__c23__4d0c3f.mp4"
LIP_SYNCED = "fake/wav2lip__kim_lip_synced__5a5fc3.mp4"
SPOKEN = "real/web__kim_7s_raw__6db41e.mp4"


@pytest.fixture(scope="module")
def swap_and_original(shared_media: Path) -> tuple[FaceClip, FaceClip]:
    """Two seconds of a face swap (FaceForensics++, Deepfakes), and of what it was made of."""
    videos = shared_media / "videos"
    return _first_person(videos / SWAP), _first_person(videos / ORIGINAL)


def _first_person(path: Path) -> FaceClip:
    frames = list(read_clip(path, frames=50))
    height, width, _ = frames[0].rgb.shape
    (person, *_) = real_follower().follow(iter(frames), width_px=width, height_px=height).persons
    return person


@pytest.mark.shared
def test_every_cue_answers_of_faces_on_film(
    detector: Detector, swap_and_original: tuple[FaceClip, FaceClip]
) -> None:
    for clip in swap_and_original:
        evidence = detector.examine(clip, {}).evidence

        assert isinstance(evidence, Finding), evidence
        assert evidence.frames >= 3


@pytest.mark.shared
def test_a_swapped_face_is_softer_and_has_less_noise_than_the_original(
    swap_and_original: tuple[FaceClip, FaceClip],
) -> None:
    swap, original = swap_and_original

    for cue in (OverBlur(NOTHING), NoiseResidual(NOTHING)):
        assert cue_of(cue, swap).value < 0.9 * cue_of(cue, original).value


@pytest.mark.shared
def test_a_mouth_that_was_set_to_other_words_is_softer_than_the_original(
    shared_media: Path,
) -> None:
    """Wav2Lip, and the film that it was given."""
    synced, spoken = (_first_person(shared_media / "videos" / p) for p in (LIP_SYNCED, SPOKEN))

    assert cue_of(MouthBlur(NOTHING), synced).value < 0.8 * cue_of(MouthBlur(NOTHING), spoken).value
