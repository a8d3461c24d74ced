"""Do the landmarks come out where the face is in the frame?"""

import math

import cv2
import numpy as np
import pytest

from tests.workers.detection.make_scenes import RED, RedNetwork, make_wall, template
from workers.detection.align import FaceRegion
from workers.detection.face_mesh import FaceMesh

MESH = FaceMesh(RedNetwork())


def test_points_lie_on_the_face_wherever_the_crop_was_taken() -> None:
    rgb = make_wall(0).copy()
    cv2.rectangle(rgb, (100, 60), (179, 139), RED, -1)

    for centre, side in (((139.5, 99.5), 80.0), ((150.0, 110.0), 100.0), ((130.0, 95.0), 72.0)):
        region = FaceRegion(centre_px=centre, side_px=side, angle_rad=0.0)
        landmarks = MESH.place(rgb, region)

        assert landmarks.presence > 0.99
        np.testing.assert_allclose(landmarks.points_px, template() * 79 + (100, 60), atol=1.5)


def test_points_come_back_turned_with_the_region() -> None:
    rgb = make_wall(0).copy()
    cv2.circle(rgb, (160, 120), 40, RED, -1)
    region = FaceRegion(centre_px=(160.0, 120.0), side_px=80.0, angle_rad=math.pi / 2)

    points = MESH.place(rgb, region).points_px

    crown, chin = points[10], points[152]
    assert crown == pytest.approx((200, 120), abs=2)
    assert chin == pytest.approx((120, 120), abs=2)


def test_where_no_face_is_presence_is_low() -> None:
    region = FaceRegion(centre_px=(160.0, 120.0), side_px=80.0, angle_rad=0.0)

    assert MESH.place(make_wall(0), region).presence < 0.01
