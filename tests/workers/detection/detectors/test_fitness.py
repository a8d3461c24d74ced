"""Do both detectors that look at single pictures decline what they cannot judge, and say why?"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, Finding
from models.registry import OnnxModel
from tests.make_faces import make_clip, make_track
from tests.workers.detection.detectors.make_looks import paint, with_crops, with_samples
from workers.detection.detectors.fitness import MIN_FACE_PX, MIN_LOOKS, MIN_SHARPNESS
from workers.detection.detectors.frame_classifier import FrameClassifier
from workers.detection.detectors.pixel_segmenter import PixelSegmenter
from workers.detection.stage import Detector, FaceClip

Make = Callable[[OnnxModel], Detector]


@pytest.fixture(params=[FrameClassifier, PixelSegmenter])
def make(request: pytest.FixtureRequest) -> Make:
    """Each detector in turn."""
    chosen: Make = request.param
    return chosen


@pytest.fixture
def detector(make: Make, brightness: OnnxModel, redness: OnnxModel) -> Detector:
    """Each detector in turn, with a network."""
    return make(brightness if make is FrameClassifier else redness)


def looks_of(sharpness: list[float]) -> FaceClip:
    clip = make_clip(make_track(samples=len(sharpness)))
    return with_samples(
        clip, [replace(s, sharpness=v) for s, v in zip(clip.samples, sharpness, strict=True)]
    )


def seen_with(presence: np.ndarray) -> FaceClip:
    """A person of whom the landmark network was so sure, frame by frame."""
    return make_clip(replace(make_track(), presence=np.float32(presence)))


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (
            with_crops([paint((9, 9, 9))] * 16, face_px=MIN_FACE_PX - 1),
            AbstainReason.FACE_TOO_SMALL,
        ),
        (make_clip(make_track(face_px=np.nan)), AbstainReason.FACE_TOO_SMALL),
        (with_crops([paint((9, 9, 9))] * (MIN_LOOKS - 1)), AbstainReason.TOO_FEW_FRAMES),
        (make_clip(make_track(samples=0)), AbstainReason.TOO_FEW_FRAMES),
        (make_clip(make_track(frames=1)), AbstainReason.TOO_FEW_FRAMES),
        (looks_of([MIN_SHARPNESS - 0.1] * 16), AbstainReason.TOO_BLURRED),
        (looks_of([float("nan")] * 16), AbstainReason.TOO_BLURRED),
        (seen_with(np.linspace(0.9, 1, 600)), AbstainReason.NOT_SURELY_A_FACE),
        (seen_with(np.full(600, np.nan)), AbstainReason.NOT_SURELY_A_FACE),
        (looks_of([MIN_SHARPNESS] * (MIN_LOOKS - 1) + [1.0] * 9), AbstainReason.TOO_BLURRED),
    ],
    ids=[
        *("small", "no size", "few", "no looks", "one frame", "blurred", "no sharpness"),
        *("hardly a face", "no presence", "mixed"),
    ],
)
def test_what_cannot_be_judged_is_declined(detector, clip, reason):
    examination = detector.examine(clip, {})

    assert isinstance(examination.evidence, Abstention)
    assert examination.evidence.reason is reason
    assert examination.evidence.needs
    assert examination.masks == ()


def test_just_enough_is_enough(detector):
    few = with_crops([paint((9, 9, 9))] * MIN_LOOKS, face_px=MIN_FACE_PX)
    mixed = looks_of([1.0] * 8 + [MIN_SHARPNESS] * MIN_LOOKS)

    for clip in (few, mixed):
        finding = detector.examine(clip, {}).evidence

        assert isinstance(finding, Finding)
        assert finding.frames == MIN_LOOKS


def test_blurred_looks_are_left_out_of_the_opinion(detector):
    clip = looks_of([1.0, 800.0] * 8)

    finding = detector.examine(clip, {}).evidence

    sharp = {s.frame_index for s in clip.samples if s.sharpness > MIN_SHARPNESS}
    assert isinstance(finding, Finding)
    assert {o.frame_index for o in finding.observations} == sharp


def test_a_finding_carries_the_networks_name_and_caveat(detector):
    finding = detector.examine(make_clip(), {}).evidence

    assert isinstance(finding, Finding)
    assert finding.model in ("brightness@1.0", "redness@1.0")
    assert finding.caveat in ("brightness proves nothing", "redness proves nothing")
    assert not finding.is_calibrated


def test_the_same_person_gets_the_same_answer_and_is_left_as_he_was(detector):
    clip = make_clip()
    before = [s.crop.copy() for s in clip.samples]

    first, second = detector.examine(clip, {}), detector.examine(clip, {})

    assert first.evidence == second.evidence
    for one, other in zip(first.masks, second.masks, strict=True):
        np.testing.assert_array_equal(one.probability, other.probability, strict=True)
    for crop, sample in zip(before, clip.samples, strict=True):
        np.testing.assert_array_equal(crop, sample.crop, strict=True)


def test_looks_of_all_shots_are_judged(detector):
    clip = make_clip(
        make_track(samples=4), make_track(samples=4, first_s=30, first_frame=900, shot=1)
    )

    finding = detector.examine(clip, {}).evidence

    assert isinstance(finding, Finding)
    assert finding.frames == MIN_LOOKS
    assert sorted(o.pts_s for o in finding.observations) == [o.pts_s for o in finding.observations]


def test_no_detector_imports_the_runtime():
    folder = Path(__file__).parents[4] / "workers" / "detection" / "detectors"

    importers = [p.name for p in folder.glob("*.py") if "import onnxruntime" in p.read_text()]

    assert importers == []
