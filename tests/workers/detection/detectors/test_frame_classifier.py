"""Does the frame classifier say of a person what its network says of the looks?"""

import numpy as np
import onnxruntime
import pytest

from app.domain.evidence import Finding
from app.settings import Settings
from models.pull import pull
from models.registry import OnnxModel, Registry
from tests.make_faces import make_clip, make_track
from tests.make_models import (
    make_broken_classifier_onnx,
    make_calibration,
    make_canary,
    make_classifier_onnx,
    make_entry,
    make_model,
)
from tests.workers.detection.detectors.make_looks import paint, with_crops
from workers.detection.detectors.frame_classifier import BATCH, FrameClassifier
from workers.kit import build_registry


def shade(level: int) -> np.ndarray:
    """Paint a crop for which the network of the tests says 16 * level / 255 - 8."""
    return paint((level, level, level))


def examine(model, crops) -> Finding:
    finding = FrameClassifier(model).examine(with_crops(crops), {}).evidence
    assert isinstance(finding, Finding)
    return finding


def test_a_person_whose_looks_all_agree_gets_their_probability(brightness):
    finding = examine(brightness, [shade(153)] * 16)  # log odds of 1.6

    assert finding.fake_probability == pytest.approx(1 / (1 + np.exp(-1.6)), abs=1e-4)
    assert finding.frames == 16


def test_brighter_is_more_suspect_as_the_network_has_it(brightness):
    by_shade = [examine(brightness, [shade(s)] * 8).fake_probability for s in (0, 100, 160, 255)]

    assert by_shade == sorted(by_shade)
    assert by_shade[0] < 0.001
    assert by_shade[-1] > 0.999


def test_every_look_is_an_observation_at_its_own_time(brightness):
    clip = with_crops([shade(8 * i) for i in range(16)])
    finding = FrameClassifier(brightness).examine(clip, {}).evidence

    assert isinstance(finding, Finding)
    assert [(s.pts_s, s.frame_index) for s in clip.samples] == [
        (o.pts_s, o.frame_index) for o in finding.observations
    ]
    expected = [1 / (1 + np.exp(8 - 16 * 8 * i / 255)) for i in range(16)]
    np.testing.assert_allclose(
        [o.fake_probability for o in finding.observations], expected, atol=1e-4
    )


def test_one_glaring_look_does_not_turn_the_opinion_and_a_quarter_shows_beside_it(brightness):
    one = examine(brightness, [shade(60)] * 15 + [shade(255)])
    quarter = examine(brightness, [shade(60)] * 12 + [shade(255)] * 4)

    assert one.fake_probability == pytest.approx(1 / (1 + np.exp(8 - 16 * 60 / 255)), abs=1e-3)
    assert quarter.fake_probability < 0.5
    assert quarter.measurements["top_quarter_fake_probability"] > 0.999


def test_a_person_with_more_looks_than_fit_a_batch_is_judged_by_all(brightness):
    crops = [shade(0)] * BATCH + [shade(255)] * BATCH + [shade(0)] * 3
    finding = examine(brightness, crops)

    assert finding.frames == 2 * BATCH + 3
    found = [o.fake_probability for o in finding.observations]
    assert [round(p) for p in found if p is not None] == [0] * BATCH + [1] * BATCH + [0] * 3


def test_a_network_that_answers_no_number_is_a_crash_and_no_opinion():
    # Its canary would have kept it out; a network may also break on one picture alone.
    content = make_broken_classifier_onnx()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    model = OnnxModel(make_entry(content), session)

    with pytest.raises(ValueError, match="not a number"):
        FrameClassifier(model).examine(make_clip(), {})


def test_a_calibration_maps_the_opinion_and_every_look_alike(tmp_path):
    calibration = make_calibration(slope=0.5, intercept=-1.0)
    model = make_model(
        tmp_path,
        make_classifier_onnx(),
        name="brightness",
        canary=make_canary("fake_logit", mean=-8.0),
        calibration=calibration,
    )

    finding = examine(model, [shade(204)] * 16)  # log odds of 4.8

    expected = 1 / (1 + np.exp(-(0.5 * 4.8 - 1.0)))
    assert finding.is_calibrated
    assert finding.fake_probability == pytest.approx(expected, abs=1e-4)
    assert finding.measurements["top_quarter_fake_probability"] == pytest.approx(expected, abs=1e-4)
    assert {round(o.fake_probability or 0, 4) for o in finding.observations} == {round(expected, 4)}


def test_the_shipped_network_judges_a_person():
    registry = build_registry(Settings(_env_file=None))

    finding = FrameClassifier(registry.load("frame_classifier")).examine(make_clip(), {}).evidence

    assert isinstance(finding, Finding)
    assert finding.frames == len(make_track().samples)
    assert finding.model == registry.entry("frame_classifier").versioned_name
    assert finding.is_calibrated
    assert finding.caveat is not None


def test_a_baseline_that_was_pulled_judges_a_person_and_is_not_calibrated(tmp_path, shared_weights):
    registry = Registry(shipped_dir=tmp_path / "none", pulled_dir=tmp_path / "pulled", threads=1)
    pull("meso4_f2f", registry=registry, mirror=shared_weights)

    finding = FrameClassifier(registry.load("meso4_f2f")).examine(make_clip(), {}).evidence

    assert isinstance(finding, Finding)
    assert finding.model == "meso4_f2f@1"
    assert not finding.is_calibrated
