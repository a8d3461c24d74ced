"""Is a step of colour at the outline of a face measured as it was drawn?"""

import cv2
import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Finding
from tests.workers.detection.detectors.draw_heads import (
    draw_mesh,
    grain,
    person_of,
)
from workers.detection.color_difference import delta_e
from workers.detection.detectors.boundary_color import BoundaryColor
from workers.detection.face_regions import hull_mask
from workers.detection.reference import NOTHING, Reference, Scale, Transform
from workers.detection.stage import CROP_SIDE_PX, FaceClip

INSIDE = hull_mask(draw_mesh(), CROP_SIDE_PX)
SKIN_LAB = (68.0, 16.0, 22.0)
LOOKS = 8


def in_rgb(lab: tuple[float, float, float]) -> np.ndarray:
    return cv2.cvtColor(np.float32([[lab]]), cv2.COLOR_LAB2RGB)[0, 0].astype(float) * 255


def stepping(
    lab: tuple[float, float, float], *, slope: float = 0.0, light: float = 1.0
) -> FaceClip:
    """Draw skin of one colour in the face, of another around it; a slope darkens it rightwards."""
    skin = np.where(INSIDE[..., None], in_rgb(SKIN_LAB), in_rgb(lab))
    shade = 1 - slope * np.linspace(0, 1, CROP_SIDE_PX)[None, :, None]
    return person_of([light * skin * shade + grain(i) for i in range(LOOKS)])


def judged(clip: FaceClip, reference: Reference = NOTHING) -> Finding:
    evidence = BoundaryColor(reference).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    assert evidence.cue is not None
    return evidence


def refused(clip: FaceClip) -> Abstention:
    evidence = BoundaryColor(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Abstention), evidence
    return evidence


@pytest.mark.parametrize(
    "other",
    [(68.0, 16.0, 22.0), (68.0, 20.0, 22.0), (64.0, 16.0, 27.0), (60.0, 12.0, 20.0)],
    ids=["none", "redder", "yellower", "darker"],
)
def test_a_step_is_as_large_as_it_was_drawn(other: tuple[float, float, float]) -> None:
    drawn = float(delta_e(np.array(SKIN_LAB), np.array(other)))

    finding = judged(stepping(other))

    assert finding.cue is not None
    assert finding.cue.unit == "Delta E 2000"
    assert finding.cue.value == pytest.approx(drawn, abs=0.5)
    assert finding.measurements["step_within_delta_e"] == pytest.approx(0, abs=0.5)
    assert finding.measurements["outline_with_skin_share"] == 1


def test_light_from_the_side_is_no_step() -> None:
    finding = judged(stepping(SKIN_LAB, slope=0.6))

    assert finding.cue is not None
    assert finding.measurements["step_at_border_delta_e"] > 1.2
    assert finding.cue.value < 0.5


def test_a_large_step_is_suspicious() -> None:
    scale = Scale(median=-2.0, deviation=3.0, transform=Transform.NONE, clips=50, groups=20)
    reference = Reference(version="drawn", scales={DetectorName.BOUNDARY_COLOR: scale})

    cue = judged(stepping((60.0, 12.0, 20.0)), reference).cue

    assert cue is not None
    assert cue.z is not None
    assert cue.z > 2


@pytest.mark.parametrize(
    "other", [(20.0, 4.0, 6.0), (60.0, -30.0, 30.0)], ids=["black hair", "a green wall"]
)
def test_what_is_no_skin_is_compared_with_none(other: tuple[float, float, float]) -> None:
    refusal = refused(stepping(other))

    assert refusal.reason is AbstainReason.SKIN_NOT_VISIBLE
    assert refusal.detail == "skin shows on both sides of the outline in 0 of 8 looks"


def test_skin_on_one_side_of_the_outline_is_enough() -> None:
    left = np.arange(CROP_SIDE_PX)[None, :, None] < CROP_SIDE_PX / 2
    around = np.where(left, in_rgb((60.0, 12.0, 20.0)), (0.0, 90.0, 0.0))
    half = np.where(INSIDE[..., None], in_rgb(SKIN_LAB), around)

    finding = judged(person_of([half + grain(i) for i in range(LOOKS)]))

    drawn = float(delta_e(np.array(SKIN_LAB), np.array((60.0, 12.0, 20.0))))
    assert finding.cue is not None
    assert finding.cue.value == pytest.approx(drawn, abs=0.5)
    assert finding.measurements["outline_with_skin_share"] == pytest.approx(0.5, abs=0.1)


def test_cheeks_in_the_dark_tell_no_colour() -> None:
    refusal = refused(stepping(SKIN_LAB, light=0.18))

    assert refusal.reason is AbstainReason.TOO_DARK
