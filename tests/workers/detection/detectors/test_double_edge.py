"""Is a second outline beside the first told from a single one?"""

import cv2
import numpy as np
import pytest

from app.domain.evidence import AbstainReason, Abstention, Finding
from tests.workers.detection.detectors.draw_heads import (
    draw_mesh,
    grain,
    person_of,
)
from workers.detection.detectors.double_edge import DoubleEdge, profiles, second_edges
from workers.detection.face_regions import BROWS, JAW, hull_mask
from workers.detection.reference import NOTHING
from workers.detection.stage import CROP_SIDE_PX, FaceClip

MESH = draw_mesh()
LOOKS = 8
LIGHT, DARK = 180.0, 80.0
STEPS = np.arange(-10, 10.5, 0.5)


def outlined(*scales: float, between: float = 130.0) -> FaceClip:
    """Draw a light face on dark, and around it as many wider ones, each darker."""
    pictures = []
    for seed in range(LOOKS):
        picture = np.full((CROP_SIDE_PX, CROP_SIDE_PX, 3), DARK)
        for scale in sorted(scales, reverse=True):
            picture[hull_mask(MESH, CROP_SIDE_PX, scale=scale)] = between
        picture[hull_mask(MESH, CROP_SIDE_PX)] = LIGHT
        pictures.append(cv2.GaussianBlur(picture, (0, 0), 0.7) + grain(seed))
    return person_of(pictures)


def judged(clip: FaceClip) -> Finding:
    evidence = DoubleEdge(NOTHING).examine(clip, {}).evidence
    assert isinstance(evidence, Finding), evidence
    assert evidence.cue is not None
    return evidence


def value(clip: FaceClip) -> float:
    cue = judged(clip).cue
    assert cue is not None
    return cue.value


def step(*at_px: float, heights: tuple[float, ...] = (1.0, 1.0)) -> np.ndarray:
    """Draw the profile `[1, M]` of some soft steps."""
    return np.float32(
        [
            sum(
                100 * h / (1 + np.exp(-(STEPS - a) * 3))
                for a, h in zip(at_px, heights, strict=False)
            )
        ]
    )


def test_a_single_step_has_no_second() -> None:
    assert second_edges(step(0.0)) == pytest.approx([0], abs=0.01)


@pytest.mark.parametrize("height", [0.2, 0.5, 0.8])
def test_a_second_step_is_as_strong_as_it_was_drawn(height: float) -> None:
    found = second_edges(step(-2.0, 4.0, heights=(1.0, height)))

    assert found == pytest.approx([height], abs=0.03)


def test_the_other_way_round_is_the_same() -> None:
    profile = step(-2.0, 4.0, heights=(1.0, 0.5))

    np.testing.assert_allclose(second_edges(profile[:, ::-1]), second_edges(profile), rtol=1e-3)
    np.testing.assert_allclose(second_edges(-profile), second_edges(profile), rtol=1e-3)


def test_a_line_is_no_second_edge() -> None:
    there_and_back = step(-3.0, 3.0, heights=(1.0, -0.9))

    assert second_edges(there_and_back) == pytest.approx([0], abs=0.01)


def test_two_steps_that_are_nearly_one_are_one() -> None:
    assert second_edges(step(0.0, 1.5)) == pytest.approx([0], abs=0.01)


def test_a_step_out_of_reach_is_not_seen() -> None:
    assert second_edges(step(0.0, 9.5)) == pytest.approx([0], abs=0.01)


def test_profiles_without_an_edge_are_left_out() -> None:
    flat = np.concatenate([step(0.0), step(0.0) * 0.02, np.zeros_like(step(0.0))])

    assert len(second_edges(flat)) == 1
    assert len(second_edges(flat[1:])) == 0
    assert len(second_edges(flat[:0])) == 0


def test_profiles_run_across_the_line_and_stay_in_the_picture() -> None:
    x = np.tile(np.arange(CROP_SIDE_PX, dtype=np.float32), (CROP_SIDE_PX, 1))

    across = profiles(x, np.float32([[100, 50], [100, 150]]))
    outside = profiles(x, np.float32([[3, 50], [3, 150]]))

    np.testing.assert_allclose(np.sort(across, axis=1)[0], 100 + STEPS, atol=0.05)
    assert len(across) == 25
    assert len(outside) == 0


def test_a_single_outline_has_no_second_edge() -> None:
    assert value(outlined()) < 0.1


def test_a_doubled_outline_has_one() -> None:
    assert value(outlined(1.055)) > 0.6


def test_the_fainter_the_second_outline_the_lower_the_value() -> None:
    values = [value(outlined(1.055, between=b)) for b in (130.0, 110.0, 95.0)]

    assert values == sorted(values, reverse=True)
    assert values[-1] > 0.1


def test_brows_are_told_beside_the_jaw() -> None:
    def with_lines(*offsets_px: float) -> FaceClip:
        pictures = []
        for seed in range(LOOKS):
            picture = np.full((CROP_SIDE_PX, CROP_SIDE_PX, 3), DARK)
            picture[hull_mask(MESH, CROP_SIDE_PX)] = LIGHT
            for brow in BROWS:
                x0, x1 = int(MESH[brow[0], 0]), int(MESH[brow[-1], 0])
                y = MESH[brow[0], 1]
                for offset in offsets_px:
                    picture[round(y + offset) :, min(x0, x1) - 8 : max(x0, x1) + 8] -= 40
            picture[130:][hull_mask(MESH, CROP_SIDE_PX)[130:]] = LIGHT
            pictures.append(cv2.GaussianBlur(picture, (0, 0), 0.7) + grain(seed))
        return person_of(pictures)

    single, double = (judged(with_lines(*at)).measurements for at in ((0,), (-3, 3)))

    assert single["brow_second_edge_share"] < 0.15
    assert double["brow_second_edge_share"] > 0.6
    assert double["jaw_second_edge_share"] == pytest.approx(
        single["jaw_second_edge_share"], abs=0.05
    )


def test_a_jaw_that_does_not_stand_out_tells_nothing() -> None:
    flat = np.full((CROP_SIDE_PX, CROP_SIDE_PX, 3), LIGHT)
    clip = person_of([flat + grain(i) for i in range(LOOKS)])

    evidence = DoubleEdge(NOTHING).examine(clip, {}).evidence

    assert isinstance(evidence, Abstention)
    assert evidence.reason is AbstainReason.TOO_BLURRED
    assert evidence.detail == "the jaw has an edge in 0 of 8 looks"


def test_the_jaw_is_long_enough_for_its_least_profiles() -> None:
    grey = np.zeros((CROP_SIDE_PX, CROP_SIDE_PX), np.float32)

    assert len(profiles(grey, MESH[list(JAW)])) > 40
