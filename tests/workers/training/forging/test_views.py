"""Is what a forger sees of a kept picture what it sees of the frame?"""

import cv2
import numpy as np
import pytest

from tests.workers.training.forging.make_sets import astronaut
from workers.detection import align
from workers.detection.align import FaceRegion
from workers.training.forging.views import (
    STORED_MARGIN,
    STORED_PX,
    VIEW_MARGIN,
    points_in_view,
    share_off_frame,
    stored_picture,
    stored_points,
    view_of_stored,
    view_region,
)

REGION = FaceRegion(centre_px=(161.0, 117.0), side_px=96.0, angle_rad=0.15)


def test_the_view_of_a_kept_picture_is_that_of_the_frame():
    frame = np.asarray(cv2.GaussianBlur(astronaut(0), (0, 0), 1.5), np.uint8)

    kept = view_of_stored(stored_picture(frame, REGION), 64)

    direct = align.crop(frame, view_region(REGION), side_px=64)
    assert np.abs(kept.astype(float) - direct).mean() < 1.5


def test_points_follow_from_frame_to_kept_picture_to_view():
    points = np.float32([[161, 117], [190, 120], [150, 90]])

    in_view = points_in_view(stored_points(points, REGION), 64)

    inverse = cv2.invertAffineTransform(view_region(REGION).frame_from_crop(64))
    assert in_view == pytest.approx(points @ inverse[:, :2].T + inverse[:, 2], abs=0.01)
    assert in_view[0] == pytest.approx([31.5, 31.5], abs=0.01)


def test_the_view_is_the_middle_of_what_is_kept():
    assert pytest.approx(0.7) == VIEW_MARGIN / STORED_MARGIN


def test_what_lies_beyond_the_frame_is_mirrored():
    frame = np.full((200, 200, 3), 150, np.uint8)
    at_corner = FaceRegion(centre_px=(30.0, 30.0), side_px=80.0, angle_rad=0.0)

    kept = stored_picture(frame, at_corner)

    assert kept.shape == (STORED_PX, STORED_PX, 3)
    assert kept.min() == 150


@pytest.mark.parametrize(
    ("centre_px", "off_px"),
    [((50.0, 50.0), 0), ((29.5, 69.5), 0), ((20.0, 50.0), 9.5), ((50.0, 79.0), 9.5)],
)
def test_how_far_a_region_reaches_off_the_frame(centre_px, off_px):
    region = FaceRegion(centre_px=centre_px, side_px=60.0, angle_rad=0.0)

    share = share_off_frame(np.zeros((100, 100, 3), np.uint8), region)

    assert share == pytest.approx(off_px / 60, abs=1e-5)
