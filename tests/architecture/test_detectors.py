"""
Does every detector keep the manners of one? It abstains where it cannot judge, and leaves no trace.

Networks are stood in for by arithmetic on the crops; that they are asked properly is for
tests/workers/detection/detectors.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Observation
from tests.make import make_finding
from tests.make_faces import make_clip, make_track, without_landmarks, without_samples
from workers.detection import detectors
from workers.detection.attribution import read_attribution
from workers.detection.detectors.attention_map import AttentionMapper
from workers.detection.detectors.attribution import Attributor
from workers.detection.detectors.blink_rate import BlinkRate
from workers.detection.detectors.boundary_color import BoundaryColor
from workers.detection.detectors.double_edge import DoubleEdge
from workers.detection.detectors.frame_classifier import FrameClassifier
from workers.detection.detectors.landmark_flow import LandmarkFlow
from workers.detection.detectors.lip_sync import LipSync
from workers.detection.detectors.mouth_blur import MouthBlur
from workers.detection.detectors.noise_residual import NoiseResidual
from workers.detection.detectors.occlusion_flicker import OcclusionFlicker
from workers.detection.detectors.over_blur import OverBlur
from workers.detection.detectors.pixel_segmenter import PixelSegmenter
from workers.detection.detectors.pulse import Pulse
from workers.detection.detectors.temporal_smoothness import TemporalSmoothness
from workers.detection.reference import NOTHING
from workers.detection.stage import Detector, Examination, FaceClip, check_order


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
        brightness = faces.reshape(len(faces), -1).mean(axis=1, dtype=np.float32) / 255
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
    LandmarkFlow(DrawnNetwork("fake_logit")),
    TemporalSmoothness(NOTHING),
    BlinkRate(NOTHING),
    OverBlur(NOTHING),
    BoundaryColor(NOTHING),
    DoubleEdge(NOTHING),
    MouthBlur(NOTHING),
    NoiseResidual(NOTHING),
    OcclusionFlicker(NOTHING),
    Pulse(NOTHING),
    LipSync(NOTHING),
    AttentionMapper(DrawnNetwork("fake_logit")),
    Attributor(read_attribution()),
)
WITH_NETWORK: tuple[Detector, ...] = (CLASSIFIER, SEGMENTER)
NOTHING_TO_SEE: Mapping[DetectorName, AbstainReason] = {
    DetectorName.OCCLUSION_FLICKER: AbstainReason.NO_OCCLUSION,
    DetectorName.LIP_SYNC: AbstainReason.NO_SOUND,
}
"""Who finds nothing to judge by in a person who is seen well, and why."""

each = pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)


@cache
def well_seen() -> FaceClip:
    """A person who is seen well for half a minute; whoever changes a pixel of that fails."""
    clip = make_clip(make_track(frames=930))
    for array in _arrays(clip):
        array.flags.writeable = False
    return clip


@cache
def prior() -> Mapping[DetectorName, Evidence]:
    """What the classifier says of that person."""
    return {
        DetectorName.FRAME_CLASSIFIER: make_finding(
            observations=tuple(
                Observation(pts_s=s.pts_s, frame_index=s.frame_index, fake_probability=0.9)
                for s in well_seen().samples
            )
        )
    }


@cache
def examined(detector: Detector) -> Examination:
    """Return what a detector says of that person, asked once."""
    return detector.examine(well_seen(), prior())


def _arrays(clip: FaceClip) -> Iterator[NDArray[np.generic]]:
    for track in clip.tracks:
        yield from (track.frame_index, track.pts_s, track.box_px, track.landmarks_px)
        yield from (track.presence, track.is_keyframe, track.small)
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
    evidence = examined(detector).evidence

    assert evidence.detector == detector.name
    if isinstance(evidence, Abstention):
        assert evidence.reason is NOTHING_TO_SEE[detector.name], evidence
        return
    assert evidence.fake_probability is None or 0 <= evidence.fake_probability <= 1
    assert evidence.frames > 0
    assert (
        evidence.fake_probability is not None
        or evidence.cue is not None
        or evidence.answer is not None
        or evidence.measurements
    )


@each
def test_a_person_seen_in_one_frame_is_not_judged(detector: Detector) -> None:
    evidence = detector.examine(make_clip(make_track(frames=1)), prior()).evidence

    assert isinstance(evidence, Abstention), evidence
    assert evidence.detector == detector.name
    assert evidence.detail
    assert evidence.needs


@each
def test_a_face_that_was_lost_throughout_is_not_judged(detector: Detector) -> None:
    lost = without_samples(without_landmarks(well_seen()))

    assert isinstance(detector.examine(lost, prior()).evidence, Abstention)


@each
def test_a_face_in_the_dark_crashes_nobody(detector: Detector) -> None:
    track = make_track(frames=120)
    black = tuple(replace(s, crop=np.zeros_like(s.crop), sharpness=0.0) for s in track.samples)
    dark = make_clip(replace(track, samples=black, small=np.zeros_like(track.small)))

    assert detector.examine(dark, prior()).evidence.detector == detector.name


@pytest.mark.parametrize("detector", WITH_NETWORK, ids=lambda detector: detector.name)
def test_a_network_is_not_asked_of_a_person_with_no_crops(detector: Detector) -> None:
    evidence = detector.examine(without_samples(well_seen()), prior()).evidence

    assert isinstance(evidence, Abstention), evidence


@each
def test_the_same_person_gets_the_same_answer_whoever_was_examined_before(
    detector: Detector,
) -> None:
    first = examined(detector)
    detector.examine(make_clip(make_track(frames=1)), prior())
    second = detector.examine(well_seen(), prior())

    assert first.evidence == second.evidence
    for one, other in zip(first.masks, second.masks, strict=True):
        np.testing.assert_array_equal(one.probability, other.probability, strict=True)
    for map_, again in zip(first.attention, second.attention, strict=True):
        np.testing.assert_array_equal(map_.weight, again.weight, strict=True)


@pytest.mark.parametrize(
    "detector", [d for d in DETECTORS if d.needs], ids=lambda detector: detector.name
)
def test_a_detector_survives_the_silence_of_others(detector: Detector) -> None:
    silence = {
        name: Abstention(detector=name, reason=AbstainReason.CRASHED) for name in detector.needs
    }

    assert detector.examine(well_seen(), silence).evidence.detector == detector.name


@each
def test_timelines_rise_in_time_within_the_clip(detector: Detector) -> None:
    evidence = examined(detector).evidence
    if isinstance(evidence, Abstention):
        return
    track = well_seen().tracks[0]
    moments = [observation.pts_s for observation in evidence.observations]

    assert moments == sorted(moments)
    spans = [s for span in evidence.spans for s in (span.first_s, span.last_s)]
    assert all(track.pts_s[0] <= pts_s <= track.pts_s[-1] for pts_s in (*moments, *spans))
