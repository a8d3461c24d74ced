"""Is a mouth that is softer than the eyes told from one that is as sharp?"""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding
from tests.workers.detection.detectors.draw_heads import (
    blurred,
    draw_head,
    draw_mesh,
    person_of,
)
from workers.detection.detectors.mouth_blur import (
    LEAST_OPENING,
    LOWER_LIP,
    MouthBlur,
    opening,
    slope,
)
from workers.detection.face_regions import EYES, MOUTH, polygon_mask
from workers.detection.reference import NOTHING, Reference, Scale, Transform
from workers.detection.stage import CROP_SIDE_PX, FaceClip

LOOKS = 8
OPEN, SHUT = 0.08, 0.002


def around(*polygons: tuple[int, ...], opened: float = OPEN) -> np.ndarray:
    mesh = draw_mesh(opening=opened)
    mask = np.logical_or.reduce([polygon_mask(mesh, p, CROP_SIDE_PX) for p in polygons])
    return cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)


def softened(where: np.ndarray, by_px: float, *, opened: float = OPEN) -> FaceClip:
    return person_of(
        [blurred(draw_head(i), where, by_px) for i in range(LOOKS)],
        meshes=[draw_mesh(opening=opened)] * LOOKS,
    )


def opening_to(openings: Sequence[float]) -> FaceClip:
    return person_of(
        [draw_head(i) for i in range(len(openings))],
        meshes=[draw_mesh(opening=o) for o in openings],
    )


def judged(clip: FaceClip, reference: Reference = NOTHING) -> Finding:
    evidence = MouthBlur(reference).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    assert evidence.cue is not None
    return evidence


def value(clip: FaceClip) -> float:
    cue = judged(clip).cue
    assert cue is not None
    return cue.value


def test_a_mouth_that_is_as_sharp_as_the_eyes_has_a_ratio_of_one() -> None:
    assert value(softened(around(MOUTH), 0)) == pytest.approx(1, abs=0.15)


def test_the_softer_the_mouth_the_lower_the_ratio() -> None:
    values = [value(softened(around(MOUTH), by_px)) for by_px in (0, 0.6, 1, 1.5, 2.5)]

    assert values == sorted(values, reverse=True)
    assert values[2] < 0.7 * values[0]


def test_soft_eyes_make_a_mouth_sharp_by_comparison() -> None:
    assert value(softened(around(*EYES), 1)) > 1.4


def test_a_soft_mouth_is_suspicious() -> None:
    scale = Scale(median=0.0, deviation=0.3, transform=Transform.LOG, clips=50, groups=20)
    reference = Reference(version="drawn", scales={DetectorName.MOUTH_BLUR: scale})

    cue = judged(softened(around(MOUTH), 1.5), reference).cue

    assert cue is not None
    assert cue.z is not None
    assert cue.z > 2


def test_the_lower_lip_is_told_beside_it() -> None:
    mesh = draw_mesh(opening=OPEN)
    lip = polygon_mask(mesh, LOWER_LIP, CROP_SIDE_PX)

    sharp, soft = (judged(softened(lip, by_px)).measurements for by_px in (0, 2))

    assert sharp["lower_lip_to_eyes_times"] == pytest.approx(1, abs=0.2)
    assert soft["lower_lip_to_eyes_times"] < 0.4


def test_only_looks_with_an_open_mouth_are_measured() -> None:
    finding = judged(opening_to([OPEN, SHUT] * 8))

    assert finding.frames == 8
    assert finding.measurements["median_opening_face_heights"] == pytest.approx(OPEN, abs=0.001)


def test_a_mouth_that_hardly_opens_tells_nothing() -> None:
    evidence = MouthBlur(NOTHING).examine(opening_to([OPEN] * 2 + [SHUT] * 14), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.MOUTH_STILL
    assert evidence.detail == "the mouth is open in 2 of 16 looks"


def test_three_open_looks_are_enough() -> None:
    assert judged(opening_to([OPEN] * 3 + [SHUT] * 13)).frames == 3


def test_the_opening_has_no_unit() -> None:
    mesh = draw_mesh(opening=OPEN)

    assert opening(mesh) == pytest.approx(OPEN, abs=0.001)
    assert opening(mesh * 3) == pytest.approx(OPEN, abs=0.001)
    assert opening(draw_mesh(opening=SHUT)) < LEAST_OPENING


def test_a_slope_is_how_much_values_rise() -> None:
    assert slope([0.0, 0.1, 0.2], np.array([1.0, 1.5, 2.0])) == pytest.approx(5)
    assert slope([0.1, 0.1], np.array([1.0, 2.0])) == 0
