"""Do both detectors find the faces of real frames, and agree on where they are?"""

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from app.errors import Misconfigured, ModelUnavailable
from workers.detection import align
from workers.detection.face_detectors import FaceDetector, InsightFaceDetector, YuNet
from workers.detection.stage import Image

INTERVIEW = "videos/real/ffpp__183__c23__4d0c3f.mp4"
CLOSE_UP = "videos/real/dfdc-crop__face_5_real__a15bd8.mp4"
SCREENCAST = "videos/real/noface__no_face__852057.mp4"
WEIGHTS: dict[str, tuple[Callable[[bytes], FaceDetector], str]] = {
    "yunet": (YuNet, "yunet_s_640.onnx"),
    "insightface": (InsightFaceDetector, "scrfd_500m.onnx"),
}


def first_frame(path: Path) -> Image:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.fixture(params=WEIGHTS)
def detector(request: pytest.FixtureRequest, shared_weights: Path) -> FaceDetector:
    if request.param == "insightface":
        pytest.importorskip("insightface")
    build, name = WEIGHTS[request.param]
    return build((shared_weights / name).read_bytes())


def test_a_face_is_found_with_its_points_in_place(
    detector: FaceDetector, shared_media: Path
) -> None:
    rgb = first_frame(shared_media / INTERVIEW)

    faces = detector.find(rgb)

    assert len(faces) == 1
    (x, y, width, height), points = faces.box_px[0], faces.point_px[0]
    assert (rgb.shape[1], rgb.shape[0]) == (1280, 720)
    assert 150 < width < 350
    assert faces.score[0] > 0.7
    assert ((points > (x, y)) & (points < (x + width, y + height))).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_a_face_that_fills_the_frame_is_found(detector: FaceDetector, shared_media: Path) -> None:
    rgb = first_frame(shared_media / CLOSE_UP)

    (box,) = detector.find(rgb).box_px

    assert box[2] > 0.5 * rgb.shape[1]


def test_no_face_is_found_where_none_is(detector: FaceDetector, shared_media: Path) -> None:
    faces = detector.find(first_frame(shared_media / SCREENCAST))

    assert len(faces) == 0
    assert faces.box_px.shape == (0, 4)
    assert faces.point_px.shape == (0, 5, 2)
    assert faces.score.shape == (0,)


def test_coordinates_are_those_of_the_picture_whatever_its_size(
    detector: FaceDetector, shared_media: Path
) -> None:
    rgb = first_frame(shared_media / INTERVIEW)
    half = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)

    whole, small = detector.find(rgb), detector.find(half)

    np.testing.assert_allclose(small.box_px * 2, whole.box_px, atol=12)
    np.testing.assert_allclose(small.point_px * 2, whole.point_px, atol=8)


def test_the_two_detectors_agree(shared_weights: Path, shared_media: Path) -> None:
    pytest.importorskip("insightface")
    rgb = first_frame(shared_media / INTERVIEW)
    ours, theirs = (
        build((shared_weights / name).read_bytes()).find(rgb) for build, name in WEIGHTS.values()
    )

    assert align.overlap(ours.box_px[0], list(theirs.box_px))[0] > 0.7
    apart = np.abs(ours.point_px[0] - theirs.point_px[0]).max()
    assert apart < 0.15 * ours.box_px[0, 2]


def test_bytes_that_are_no_network_are_refused() -> None:
    with pytest.raises(ModelUnavailable):
        YuNet(b"no network")


def test_without_the_package_one_is_told_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "insightface.model_zoo", None)

    with pytest.raises(Misconfigured, match="pip install --no-deps insightface"):
        InsightFaceDetector(b"any")
