"""
Does every detector keep the manners of one? It abstains where it cannot judge, and leaves no trace.

Networks are stood in for by arithmetic on the crops; that they are asked properly is for
tests/workers/detection/detectors.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Finding
from tests.make import make_finding
from tests.make_faces import make_clip, make_track, without_landmarks, without_samples
from workers.detection import detectors
from workers.detection.detectors.blink_rate import BlinkRate
from workers.detection.detectors.frame_classifier import FrameClassifier
from workers.detection.detectors.pixel_segmenter import PixelSegmenter
from workers.detection.detectors.temporal_smoothness import TemporalSmoothness
from workers.detection.reference import NOTHING
from workers.detection.stage import Detector, FaceClip, check_order


class DrawnNetwork:
    """A network that thinks the brighter a crop the more manipulated it is."""

    name = "drawn"
    version = "1.0"
    versioned_name = "drawn@1.0"
    calibration = None
    is_calibrated = False
    caveat = None

    def __init__(self, *output_names: str) -> None:
        self.output_names = output_names

    def run(self, inputs: Mapping[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        (faces,) = inputs.values()
        brightness = faces.mean(axis=(1, 2, 3), dtype=np.float32) / 255
        answers = {
            "fake_logit": 20 * (brightness - 0.5),
            "fake_probability": brightness,
            "mask": faces.mean(axis=-1, dtype=np.float32) / 255,
        }
        return [answers[name] for name in self.output_names]


CLASSIFIER = FrameClassifier(DrawnNetwork("fake_logit"))
SEGMENTER = PixelSegmenter(DrawnNetwork("fake_probability", "mask"))
DETECTORS: tuple[Detector, ...] = (
    CLASSIFIER,
    SEGMENTER,
    TemporalSmoothness(NOTHING),
    BlinkRate(NOTHING),
)
WITH_NETWORK: tuple[Detector, ...] = (CLASSIFIER, SEGMENTER)
PRIOR: Mapping[DetectorName, Evidence] = {DetectorName.FRAME_CLASSIFIER: make_finding()}

each = pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)


def _arrays(clip: FaceClip) -> Iterator[NDArray[np.generic]]:
    for track in clip.tracks:
        yield from (track.frame_index, track.pts_s, track.box_px, track.landmarks_px)
        yield from (track.presence, track.is_keyframe)
        for sample in track.samples:
            yield from (sample.crop, sample.frame_from_crop, sample.thumbnail)


def test_every_question_and_every_file_of_detectors_is_examined_here() -> None:
    in_files = {
        kind
        for module in pkgutil.iter_modules(detectors.__path__, f"{detectors.__name__}.")
        for kind in vars(importlib.import_module(module.name)).values()
        if isinstance(kind, type) and kind.__module__ == module.name and hasattr(kind, "examine")
    }

    assert {type(detector) for detector in DETECTORS} == in_files
    assert {detector.name for detector in DETECTORS} == set(DetectorName)
    check_order(DETECTORS)


@each
def test_a_person_who_is_well_seen_is_judged(detector: Detector) -> None:
    evidence = detector.examine(make_clip(), PRIOR).evidence

    assert isinstance(evidence, Finding), evidence
    assert evidence.detector == detector.name
    assert evidence.cue or evidence.answer or 0 <= evidence.fake_probability <= 1
    assert evidence.frames > 0


@each
def test_a_person_seen_in_one_frame_is_not_judged(detector: Detector) -> None:
    evidence = detector.examine(make_clip(make_track(frames=1)), PRIOR).evidence

    assert isinstance(evidence, Abstention), evidence
    assert evidence.detector == detector.name
    assert evidence.detail
    assert evidence.needs


@each
def test_a_face_that_was_lost_throughout_is_not_judged(detector: Detector) -> None:
    lost = without_samples(without_landmarks(make_clip()))

    assert isinstance(detector.examine(lost, PRIOR).evidence, Abstention)


@pytest.mark.parametrize("detector", WITH_NETWORK, ids=lambda detector: detector.name)
def test_a_network_is_not_asked_of_a_person_with_no_crops(detector: Detector) -> None:
    evidence = detector.examine(without_samples(make_clip()), PRIOR).evidence

    assert isinstance(evidence, Abstention), evidence


@each
def test_nothing_that_a_detector_is_given_is_changed(detector: Detector) -> None:
    clip = make_clip()
    before = [array.copy() for array in _arrays(clip)]
    for array in _arrays(clip):
        array.flags.writeable = False

    detector.examine(clip, PRIOR)

    for was, now in zip(before, _arrays(clip), strict=True):
        np.testing.assert_array_equal(now, was, strict=True)


@each
def test_the_same_person_gets_the_same_answer_twice(detector: Detector) -> None:
    first, second = (detector.examine(make_clip(), PRIOR) for _ in range(2))

    assert first.evidence == second.evidence
    for one, other in zip(first.masks, second.masks, strict=True):
        np.testing.assert_array_equal(one.probability, other.probability, strict=True)


@each
def test_an_answer_does_not_depend_on_who_was_examined_before(detector: Detector) -> None:
    alone = detector.examine(make_clip(), PRIOR).evidence
    detector.examine(make_clip(make_track(frames=1)), PRIOR)
    detector.examine(without_landmarks(make_clip()), PRIOR)

    assert detector.examine(make_clip(), PRIOR).evidence == alone


@each
def test_a_detector_can_do_without_the_evidence_of_others(detector: Detector) -> None:
    silence = {
        name: Abstention(detector=name, reason=AbstainReason.CRASHED) for name in detector.needs
    }

    assert isinstance(detector.examine(make_clip(), silence).evidence, Finding)


@each
def test_timelines_rise_in_time_within_the_clip(detector: Detector) -> None:
    clip = make_clip()
    evidence = detector.examine(clip, PRIOR).evidence
    assert isinstance(evidence, Finding)
    moments = [observation.pts_s for observation in evidence.observations]

    assert moments == sorted(moments)
    assert all(clip.tracks[0].pts_s[0] <= pts_s <= clip.tracks[-1].pts_s[-1] for pts_s in moments)
