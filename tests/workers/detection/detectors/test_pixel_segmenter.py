"""Does the pixel segmenter look where it should, and mark what its network marks?"""

import numpy as np
import pytest

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Evidence,
    Finding,
    Observation,
)
from app.settings import Settings
from tests.workers.detection.detectors.make_looks import paint, with_crops
from workers.detection.detectors.pixel_segmenter import MAX_LOOKS, PixelSegmenter, most_telling
from workers.detection.stage import FaceClip, FaceSample
from workers.kit import build_registry

RED, BLACK = (255, 0, 0), (0, 0, 0)


def opinion_on(looks: tuple[FaceSample, ...], probabilities: list[float]) -> Finding:
    return Finding(
        detector=DetectorName.FRAME_CLASSIFIER,
        fake_probability=0.5,
        frames=len(looks),
        observations=tuple(
            Observation(pts_s=s.pts_s, frame_index=s.frame_index, fake_probability=p)
            for s, p in zip(looks, probabilities, strict=True)
        ),
    )


ABSTAINED = Abstention(detector=DetectorName.FRAME_CLASSIFIER, reason=AbstainReason.MODEL_MISSING)


def examine(model, clip: FaceClip, prior: Evidence | None = None):
    given = {} if prior is None else {DetectorName.FRAME_CLASSIFIER: prior}
    return PixelSegmenter(model).examine(clip, given)


def test_it_looks_where_the_frame_classifier_was_most_suspicious():
    looks = with_crops([paint(RED)] * 16).samples
    suspect = {1, 4, 5, 7, 9, 12, 14, 15}
    opinion = opinion_on(looks, [0.9 if i in suspect else 0.2 for i in range(16)])

    assert most_telling(looks, opinion) == tuple(looks[i] for i in sorted(suspect))


@pytest.mark.parametrize("prior", [None, ABSTAINED], ids=["nobody asked", "abstained"])
def test_without_an_opinion_to_go_by_it_looks_evenly(prior):
    looks = with_crops([paint(RED)] * 16).samples

    assert most_telling(looks, prior) == looks[1::2]


def test_with_an_opinion_on_too_few_looks_it_fills_up_evenly():
    looks = with_crops([paint(RED)] * 16).samples

    chosen = most_telling(looks, opinion_on(looks[:3], [0.9, 0.8, 0.7]))

    assert len(chosen) == MAX_LOOKS
    assert set(looks[:3]) <= set(chosen)
    assert [s.pts_s for s in chosen] == sorted(s.pts_s for s in chosen)


@pytest.mark.parametrize("count", [1, 3, MAX_LOOKS, MAX_LOOKS + 1, 50])
def test_it_never_takes_a_look_twice_nor_more_than_it_may(count):
    looks = with_crops([paint(RED)] * count).samples

    chosen = most_telling(looks, None)

    assert len({s.frame_index for s in chosen}) == len(chosen) == min(count, MAX_LOOKS)


def test_a_mask_has_the_marked_rows_and_their_area(redness):
    examination = examine(redness, with_crops([paint(RED, rows=64)] * 8))

    assert len(examination.masks) == 8
    mask = examination.masks[0]
    assert (mask.probability.shape, mask.probability.dtype) == ((256, 256), np.float32)
    np.testing.assert_array_equal(mask.probability[:64], 1.0)
    np.testing.assert_array_equal(mask.probability[64:], 0.0)
    assert mask.area == 0.25
    assert isinstance(examination.evidence, Finding)
    assert examination.evidence.measurements["mean_fake_area"] == 0.25


def test_the_opinion_and_the_areas_follow_the_looks(redness):
    finding = examine(redness, with_crops([paint(RED)] * 4 + [paint(BLACK)] * 4)).evidence

    assert isinstance(finding, Finding)
    assert [o.fake_area for o in finding.observations] == [1.0] * 4 + [0.0] * 4
    assert [o.fake_probability for o in finding.observations] == [1.0] * 4 + [0.0] * 4
    assert finding.fake_probability == pytest.approx(0.5)
    assert finding.measurements["largest_fake_area"] == 1.0
    assert finding.measurements["looks_with_a_mask"] == 4


def test_masks_belong_to_the_looks_that_were_observed(redness):
    examination = examine(redness, with_crops([paint(RED)] * 20))

    assert isinstance(examination.evidence, Finding)
    assert [m.sample.frame_index for m in examination.masks] == [
        o.frame_index for o in examination.evidence.observations
    ]


def test_the_shipped_network_marks_nothing_on_a_blank_wall():
    registry = build_registry(Settings(_env_file=None))

    examination = examine(registry.load("fake_segmenter"), with_crops([paint((128, 128, 128))] * 8))

    assert isinstance(examination.evidence, Finding)
    assert examination.evidence.model == registry.entry("fake_segmenter").versioned_name
    assert examination.evidence.measurements["mean_fake_area"] < 0.05
