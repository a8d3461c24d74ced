"""Is a forged face laid into a frame so that its share of each pixel is exactly known?"""

import math
from typing import NamedTuple

import numpy as np
import pytest

from tests.workers.training.swapping.make_swap import HEIGHT, WIDTH, make_points, make_scene
from workers.detection.align import FaceRegion
from workers.detection.stage import Image
from workers.training.swapping.choices import Compositing, draw
from workers.training.swapping.compose import LEVELS, lay_in

VIEW = FaceRegion(centre_px=(130.0, 95.0), side_px=120.0, angle_rad=0.2)
SIDE = 64
PLAIN = Compositing(
    mask_shape="oval", uses_forged_mask=False, blur=0.03, colour="none", visible_mark=False
)
ALL_SEEN = np.full((SIDE, SIDE), 255, np.uint8)


class Composite(NamedTuple):
    frame: Image
    alpha: np.ndarray


def laid(
    choices: Compositing = PLAIN,
    *,
    face: Image | None = None,
    mask: np.ndarray = ALL_SEEN,
    view: FaceRegion = VIEW,
    frame: Image | None = None,
    forged_points: np.ndarray | None = None,
) -> tuple[Image, Composite]:
    frame = make_scene(0) if frame is None else frame
    face = make_scene(5, size=(SIDE, SIDE)) if face is None else face
    out, levels = lay_in(
        frame,
        view,
        face,
        mask,
        make_points(view),
        choices=choices,
        forged_landmarks_px=forged_points,
    )
    return frame, Composite(out, levels.astype(np.float32) / np.float32(LEVELS))


def green() -> Image:
    return np.full((SIDE, SIDE, 3), (20, 200, 60), np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_pixels_outside_of_the_alpha_are_not_touched_by_any_choice(seed: int) -> None:
    points = make_points(FaceRegion(centre_px=(33, 31), side_px=62, angle_rad=0.0))
    frame, (out, alpha) = laid(draw(seed), forged_points=points)

    np.testing.assert_array_equal(out[alpha == 0], frame[alpha == 0])
    assert 0.01 < (alpha > 0).mean() < 0.5
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    np.testing.assert_allclose(alpha * LEVELS, np.rint(alpha * LEVELS), atol=1e-4)


@pytest.mark.parametrize("shape", ["oval", "ellipse", "whole", "rectangle", "inner"])
def test_a_frame_is_alpha_of_the_face_and_the_rest_of_the_frame(shape: str) -> None:
    choices = PLAIN.model_copy(update={"mask_shape": shape, "opacity": 0.9})
    frame, (out, alpha) = laid(choices, face=green())

    wanted = alpha[..., None] * green()[0, 0] + (1 - alpha[..., None]) * frame
    assert np.abs(out - wanted).max() <= 0.51


def test_what_a_poisson_blend_lays_in_has_an_exact_alpha_as_well() -> None:
    choices = PLAIN.model_copy(update={"blend": "poisson"})
    half = choices.model_copy(update={"opacity": 0.5})
    frame, (out, alpha) = laid(choices)
    _, (out_half, alpha_half) = laid(half)

    # Where the whole blend is seen, half of it lies midway between the frame and it.
    inside = alpha == 1
    np.testing.assert_allclose(alpha_half[inside], 0.5, atol=0.003)
    midway = (frame[inside].astype(float) + out[inside]) / 2
    assert np.abs(out_half[inside] - midway).mean() < 2.5


def test_a_poisson_blend_keeps_the_face_and_takes_the_colours_around_it() -> None:
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    face = (make_scene(5, size=(SIDE, SIDE)) // 4 + 150).astype(np.uint8)
    poisson = PLAIN.model_copy(update={"blend": "poisson"})

    _, (out, alpha) = laid(poisson, frame=frame, face=face)
    _, (feathered, _) = laid(frame=frame, face=face)

    inside = alpha == 1
    assert abs(out[inside].mean() - 90) < 25
    assert feathered[inside].mean() > 150
    assert np.corrcoef(out[inside].ravel(), feathered[inside].ravel())[0, 1] > 0.5


def test_the_same_arguments_give_the_same() -> None:
    choices = draw(3).model_copy(update={"wobble": 0.02})

    np.testing.assert_array_equal(laid(choices)[1].frame, laid(choices)[1].frame)
    other = choices.model_copy(update={"wobble_seed": choices.wobble_seed + 1})
    assert not np.array_equal(laid(choices)[1].alpha, laid(other)[1].alpha)


def test_a_mask_grows_shrinks_and_fades_as_told() -> None:
    def area(**changes: float) -> float:
        return float(laid(PLAIN.model_copy(update=changes))[1].alpha.sum())

    assert area(grow=0.05) > 1.1 * area()
    assert area(grow=-0.05) < 0.9 * area()
    assert area(opacity=0.5) == pytest.approx(0.5 * area(), rel=0.02)
    soft, hard = (laid(PLAIN.model_copy(update={"blur": b}))[1].alpha for b in (0.08, 0.005))
    between = [((a > 0.05) & (a < 0.95)).sum() for a in (soft, hard)]
    assert between[0] > 3 * between[1]


def test_the_forgers_own_mask_decides_where_it_is_asked() -> None:
    mask = ALL_SEEN.copy()
    mask[: SIDE // 2] = 0
    upright = FaceRegion(centre_px=(130, 95), side_px=120, angle_rad=0.0)
    own = PLAIN.model_copy(update={"uses_forged_mask": True, "blur": 0.005})

    _, (_, alpha) = laid(own, mask=mask, view=upright)

    assert alpha[:92].max() == 0
    assert alpha[98:].max() == 1


def test_nothing_is_laid_beyond_what_the_forger_saw() -> None:
    choices = Compositing(mask_shape="whole", grow=0.12, blur=0.15, visible_mark=False)

    _, (_, alpha) = laid(choices)

    y, x = np.nonzero(alpha)
    reach = np.hypot(x - 130, y - 95).max()
    assert reach <= VIEW.side_px / math.sqrt(2) + 1


def test_a_face_half_out_of_the_frame_is_laid_where_the_frame_is() -> None:
    at_edge = FaceRegion(centre_px=(WIDTH - 20.0, 10.0), side_px=120.0, angle_rad=0.1)
    beyond = FaceRegion(centre_px=(-300.0, 10.0), side_px=120.0, angle_rad=0.1)

    frame, (out, alpha) = laid(view=at_edge)
    assert alpha.max() == 1
    assert not np.array_equal(out, frame)
    frame, (out, alpha) = laid(view=beyond)
    assert alpha.max() == 0
    np.testing.assert_array_equal(out, frame)


@pytest.mark.parametrize("way", ["similarity", "smooth"])
def test_a_warp_brings_the_forged_landmarks_onto_the_frames(way: str) -> None:
    # A face forged 6 px too far to the right, in a view without turn or scale.
    view = FaceRegion(centre_px=(130.5, 95.5), side_px=SIDE, angle_rad=0.0)
    spot = green()
    spot[28:36, 34:42] = (250, 0, 0)
    points = make_points(FaceRegion(centre_px=(31.5, 31.5), side_px=SIDE, angle_rad=0.0))
    warped = PLAIN.model_copy(update={"landmark_warp": way, "landmark_warp_amount": 1.0})
    forged_points = points + np.float32([6, 0])
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)

    def centre_of_spot(out: Image) -> float:
        red = (out[..., 0].astype(int) - out[..., 1]) > 150
        return float(np.nonzero(red)[1].mean())

    _, (as_forged, _) = laid(face=spot, view=view, frame=grey)
    _, (moved, _) = laid(warped, face=spot, view=view, frame=grey, forged_points=forged_points)
    half = warped.model_copy(update={"landmark_warp_amount": 0.5})
    _, (half_moved, _) = laid(half, face=spot, view=view, frame=grey, forged_points=forged_points)

    assert centre_of_spot(moved) - centre_of_spot(as_forged) == pytest.approx(-6, abs=0.8)
    assert centre_of_spot(half_moved) - centre_of_spot(as_forged) == pytest.approx(-3, abs=0.8)


def test_sharpening_and_softening_change_the_detail() -> None:
    def detail(sharpen: float) -> float:
        _, (out, alpha) = laid(PLAIN.model_copy(update={"sharpen": sharpen}))
        return float(np.abs(np.diff(out.astype(int), axis=1))[alpha[:, 1:] == 1].mean())

    assert detail(-1.0) < detail(0.0) < detail(1.0)
