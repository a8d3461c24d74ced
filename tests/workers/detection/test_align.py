"""Do crops show the face upright, and does the way back lead to where it was?"""

import math

import cv2
import numpy as np
import pytest

from tests.workers.detection.make_scenes import template
from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.stage import CROP_MARGIN, CROP_SIDE_PX


def turned(points: np.ndarray, angle_rad: float, *, centre: tuple[float, float]) -> np.ndarray:
    """Turn points clockwise (y points down) about a centre."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return np.float32((points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre)


def checks(size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """Draw a smooth picture in which every place looks different."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    waves = np.stack([np.sin(x / 31), np.cos(y / 23), np.sin((x + y) / 47)], axis=-1)
    return np.uint8(127 + 120 * waves)


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
def test_the_region_is_turned_as_the_face_is(degrees: int) -> None:
    points = template() * 100 + 200

    region = align.region_of_landmarks(turned(points, math.radians(degrees), centre=(250.0, 250.0)))

    away = math.remainder(region.angle_rad - math.radians(degrees), math.tau)
    assert away == pytest.approx(0, abs=1e-4)
    assert region.centre_px == pytest.approx((250, 250), abs=0.01)
    assert region.side_px == pytest.approx(100, abs=0.01)


def test_a_detected_face_and_its_landmarks_agree_on_the_region() -> None:
    points = template() * 80 + (100, 60)
    five = points[[33, 263, 1, 61, 291]]
    box = np.float32([100, 60, 80, 80])

    found, placed = align.region_of_points(box, five), align.region_of_landmarks(points)

    assert found.centre_px == pytest.approx(placed.centre_px, abs=0.01)
    assert found.side_px == pytest.approx(placed.side_px, abs=0.01)
    assert found.angle_rad == pytest.approx(placed.angle_rad, abs=1e-4)


def test_a_profile_whose_eyes_coincide_still_has_an_angle() -> None:
    points = template() * 100
    points[list(align.LEFT_EYE + align.RIGHT_EYE), 0] = 30

    assert abs(align.region_of_landmarks(np.float32(points)).angle_rad) < math.radians(30)


def test_the_face_fills_the_middle_of_a_crop() -> None:
    points = turned(template() * 90 + 100, 0.4, centre=(145.0, 145.0))
    region = align.region_of_crop(align.region_of_landmarks(points))
    crop_from_frame = cv2.invertAffineTransform(region.frame_from_crop(CROP_SIDE_PX))

    in_crop = points @ crop_from_frame[:, :2].T + crop_from_frame[:, 2]

    low, high = in_crop.min(axis=0), in_crop.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, (CROP_SIDE_PX - 1) / 2, atol=0.01)
    np.testing.assert_allclose(high - low, CROP_SIDE_PX / CROP_MARGIN, atol=0.01)


@pytest.mark.parametrize("side_px", [90.0, 400.0, 1100.0])
def test_a_crop_shows_the_pixels_that_its_affine_names(side_px: float) -> None:
    picture = checks()
    region = FaceRegion(centre_px=(320.3, 240.7), side_px=side_px, angle_rad=0.3)

    crop = align.crop(picture, region, side_px=64)

    affine = region.frame_from_crop(64)
    for x, y in [(32, 32), (25, 40), (40, 25)]:
        at = affine @ np.float32([x, y, 1])
        expected = cv2.getRectSubPix(picture, (1, 1), (float(at[0]), float(at[1])))[0, 0]
        np.testing.assert_allclose(crop[y, x].astype(int), expected.astype(int), atol=14)


def test_a_crop_that_shrinks_the_frame_averages_and_makes_no_moire() -> None:
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    region = FaceRegion(centre_px=(400.0, 400.0), side_px=700.0, angle_rad=0.2)

    crop = align.crop(stripes, region, side_px=100)

    assert crop.std() < 12
    assert crop.mean() == pytest.approx(127.5, abs=3)


def test_a_crop_is_black_beyond_the_frame() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    region = FaceRegion(centre_px=(0.0, 50.0), side_px=60.0, angle_rad=0.0)

    crop = align.crop(white, region, side_px=64)

    assert crop[:, :30].max() == 0
    assert crop[:, 34:].min() == 255


def test_a_crop_wholly_beyond_the_frame_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    region = FaceRegion(centre_px=(-5000.0, -5000.0), side_px=900.0, angle_rad=0.1)

    assert align.crop(white, region, side_px=64).max() == 0


def test_points_and_affines_of_a_shrunk_frame_agree_in_the_video() -> None:
    region = FaceRegion(centre_px=(50.0, 40.0), side_px=30.0, angle_rad=0.5)
    affine = region.frame_from_crop(64)
    corner = np.float32([10, 20])
    in_frame = affine[:, :2] @ corner + affine[:, 2]

    in_video = align.in_video(affine, scale=0.25)

    np.testing.assert_allclose(
        in_video[:, :2] @ corner + in_video[:, 2],
        align.points_in_video(in_frame, scale=0.25),
        atol=1e-4,
    )


def test_a_picture_is_not_enlarged() -> None:
    picture = checks((60, 40))

    assert align.resized(picture, longer_side_px=100) is picture
    assert align.resized(picture, longer_side_px=30).shape == (20, 30, 3)


def test_a_face_turned_to_the_side_is_less_frontal() -> None:
    front = template() * 100
    side = front.copy()
    side[align.NOSE_TIP, 0] = 25

    assert align.frontality(front) == pytest.approx(1.0)
    assert align.frontality(np.float32(side)) < 0.3


def test_boxes_overlap_by_their_share_in_common() -> None:
    box = np.float32([0, 0, 10, 10])
    others = [box, np.float32([5, 0, 10, 10]), np.float32([50, 50, 4, 4]), np.float32([0, 0, 0, 0])]

    np.testing.assert_allclose(align.overlap(box, others), [1, 1 / 3, 0, 0], atol=1e-6)
    assert len(align.overlap(box, [])) == 0
