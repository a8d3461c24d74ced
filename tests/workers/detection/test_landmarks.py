"""Do the landmarks come out where the face is in the frame, whichever network places them?"""

import math

import cv2
import numpy as np
import pytest

from tests.workers.detection.make_scenes import RED, RedMesh, RedNetwork, make_wall, template
from workers.detection.align import FaceRegion
from workers.detection.face_mesh import FaceMesh
from workers.detection.landmarks import BATCH, FaceLandmarks, Landmarker
from workers.detection.stage import LANDMARKS, LANDMARKS_WITH_IRISES


@pytest.fixture(params=[FaceLandmarks, FaceMesh])
def landmarker(request: pytest.FixtureRequest) -> Landmarker:
    """Our own network and its teacher, in turn."""
    if request.param is FaceMesh:
        return FaceMesh(RedMesh())
    return FaceLandmarks(RedNetwork())


def region(centre: tuple[float, float], side: float, angle: float = 0.0) -> FaceRegion:
    return FaceRegion(centre_px=centre, side_px=side, angle_rad=angle)


def test_points_lie_on_the_face_wherever_the_crop_was_taken(landmarker: Landmarker) -> None:
    rgb = make_wall(0).copy()
    cv2.rectangle(rgb, (100, 60), (179, 139), RED, -1)

    for centre, side in (((139.5, 99.5), 80.0), ((150.0, 110.0), 100.0), ((130.0, 95.0), 72.0)):
        landmarks = landmarker.place(rgb, region(centre, side))

        expected = template()[: len(landmarks.points_px)] * 79 + (100, 60)
        assert landmarks.presence > 0.99
        np.testing.assert_allclose(landmarks.points_px, expected, atol=1.5)


def test_points_come_back_turned_with_the_region(landmarker: Landmarker) -> None:
    rgb = make_wall(0).copy()
    cv2.circle(rgb, (160, 120), 40, RED, -1)

    points = landmarker.place(rgb, region((160.0, 120.0), 80.0, math.pi / 2)).points_px

    crown, chin = points[10], points[152]
    assert crown == pytest.approx((200, 120), abs=2)
    assert chin == pytest.approx((120, 120), abs=2)


def test_where_no_face_is_presence_is_low(landmarker: Landmarker) -> None:
    assert landmarker.place(make_wall(0), region((160.0, 120.0), 80.0)).presence < 0.01


def test_every_face_of_a_frame_gets_its_own_points_in_order(landmarker: Landmarker) -> None:
    rgb = make_wall(0).copy()
    cv2.rectangle(rgb, (20, 60), (79, 119), RED, -1)
    cv2.rectangle(rgb, (200, 60), (279, 139), RED, -1)
    regions = [
        region((239.5, 99.5), 80.0),
        region((140.0, 200.0), 40.0),
        region((50.0, 90.0), 60.0),
    ]

    right, nobody, left = landmarker.place_all(rgb, regions)

    assert [x.presence > 0.5 for x in (right, nobody, left)] == [True, False, True]
    assert right.points_px[152] == pytest.approx((239.5, 139), abs=2)
    assert left.points_px[152] == pytest.approx((49.5, 119), abs=2)


def test_the_faces_of_a_frame_are_asked_of_together_and_none_costs_nothing() -> None:
    network = RedNetwork()
    landmarker = FaceLandmarks(network)

    assert landmarker.place_all(make_wall(0), []) == []
    landmarker.place_all(make_wall(0), [region((160.0, 120.0), 80.0)] * (BATCH + 3))

    assert network.batches == [BATCH, 3]


def test_only_our_own_network_knows_irises() -> None:
    rgb, where = make_wall(0), region((160.0, 120.0), 80.0)

    assert FaceLandmarks(RedNetwork()).place(rgb, where).points_px.shape == (
        LANDMARKS_WITH_IRISES,
        2,
    )
    assert FaceMesh(RedMesh()).place(rgb, where).points_px.shape == (LANDMARKS, 2)
