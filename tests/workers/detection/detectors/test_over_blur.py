"""Is a face that was softened told from one that was not?"""

import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding
from tests.workers.detection.detectors.draw_heads import (
    blurred,
    draw_head,
    draw_mesh,
    person_of,
)
from workers.detection.detectors.over_blur import TRANSFORM, OverBlur
from workers.detection.face_regions import CHEEKS, FOREHEAD, hull_mask, polygon_mask
from workers.detection.reference import NOTHING, Reference, Scale
from workers.detection.stage import CROP_SIDE_PX, FaceClip

INSIDE = hull_mask(draw_mesh(), CROP_SIDE_PX)
OUTSIDE = ~INSIDE
LOOKS = 8


def softened(where: np.ndarray, by_px: float) -> FaceClip:
    return person_of([blurred(draw_head(i), where, by_px) for i in range(LOOKS)])


def judged(clip: FaceClip, reference: Reference = NOTHING) -> Finding:
    evidence = OverBlur(reference).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    assert evidence.cue is not None
    return evidence


def value(clip: FaceClip) -> float:
    cue = judged(clip).cue
    assert cue is not None
    return cue.value


def test_a_head_that_is_as_sharp_all_over_has_a_ratio_of_one() -> None:
    assert value(softened(INSIDE, 0)) == pytest.approx(1, abs=0.1)


def test_the_more_a_face_is_softened_the_lower_the_ratio() -> None:
    values = [value(softened(INSIDE, by_px)) for by_px in (0, 0.6, 1, 1.5, 2, 3)]

    assert values == sorted(values, reverse=True)
    assert values[0] > 1.1 * values[1] > 1.3 * values[2]


def test_soft_surroundings_make_a_face_sharp_by_comparison() -> None:
    assert value(softened(OUTSIDE, 1)) > 1.3


def test_a_blur_of_the_whole_picture_drops_out() -> None:
    assert value(softened(INSIDE | OUTSIDE, 0.8)) == pytest.approx(1, abs=0.1)


def test_a_face_that_alone_has_no_detail_left_is_judged() -> None:
    assert value(softened(INSIDE, 8)) < 0.5


def test_a_soft_face_is_suspicious_and_a_sharp_one_is_not() -> None:
    scale = Scale(median=0.0, deviation=0.2, transform=TRANSFORM, clips=50, groups=20)
    reference = Reference(version="drawn", scales={DetectorName.OVER_BLUR: scale})

    soft, sharp = (judged(softened(part, 1), reference).cue for part in (INSIDE, OUTSIDE))

    assert soft is not None
    assert sharp is not None
    assert soft.z is not None
    assert sharp.z is not None
    assert soft.z > 1.5
    assert sharp.z < -1.5


def test_smooth_skin_is_told_beside_it() -> None:
    mesh = draw_mesh()
    skin = np.logical_or.reduce([polygon_mask(mesh, p, CROP_SIDE_PX) for p in (*CHEEKS, FOREHEAD)])

    rough, smooth = (
        judged(softened(skin, by_px)).measurements["skin_to_face_times"] for by_px in (0, 1.5)
    )

    assert rough == pytest.approx(1, abs=0.15)
    assert smooth < 0.4 * rough


def test_nothing_is_said_of_a_face_before_a_plain_wall() -> None:
    walls = [np.where(INSIDE[..., None], draw_head(i), 120.0) for i in range(LOOKS)]

    evidence = OverBlur(NOTHING).examine(person_of(walls), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_BLURRED
    assert "in 0 of 8 looks there is something around the face" in evidence.detail


def test_nothing_is_said_of_a_face_that_is_as_blurred_as_all_around_it() -> None:
    evidence = OverBlur(NOTHING).examine(softened(INSIDE | OUTSIDE, 5), {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_BLURRED
