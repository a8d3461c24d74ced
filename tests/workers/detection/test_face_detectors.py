"""Do all detectors find the faces of real frames, and agree on where they are?"""

from collections.abc import Callable, Mapping
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import Misconfigured, ModelUnavailable
from app.settings import Settings
from workers.detection import align
from workers.detection.face_detectors import (
    LONGER_SIDE_PX,
    DeepverdictDetector,
    FaceDetector,
    InsightFaceDetector,
    YuNet,
)
from workers.detection.stage import Floats, Image
from workers.kit import face_networks

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


class Anchors:
    """Stands in for our own network: answers the same of every picture, and keeps its size."""

    output_names = ("score", "box", "points")

    def __init__(self, *answers: tuple[float, tuple[float, ...]]) -> None:
        self.asked: list[tuple[int, ...]] = []
        self._answers = answers

    def run(self, inputs: Mapping[str, NDArray[np.uint8]]) -> list[Floats]:
        self.asked.append(inputs["image"].shape)
        box = np.array([b for _, b in self._answers], np.float32).reshape(-1, 4)
        points = np.repeat(box[:, None, :2] + box[:, None, 2:] / 2, 5, axis=1)
        return [np.array([s for s, _ in self._answers], np.float32), box, points]


@pytest.fixture(params=["deepverdict", *WEIGHTS])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    if request.param == "deepverdict":
        return face_networks(Settings(_env_file=None)).detector
    if request.param == "insightface":
        pytest.importorskip("insightface")
    build, name = WEIGHTS[request.param]
    weights: Path = request.getfixturevalue("shared_weights")
    return build((weights / name).read_bytes())


def test_the_surest_of_answers_that_overlap_is_kept() -> None:
    network = Anchors(
        (0.7, (100, 100, 60, 60)),
        (0.9, (104, 98, 60, 60)),
        (0.65, (300, 100, 40, 50)),
        (0.55, (500, 100, 60, 60)),
        (float("nan"), (400, 200, 60, 60)),
        (0.9, (400, float("inf"), 60, 60)),
    )

    faces = DeepverdictDetector(network).find(np.zeros((360, 640, 3), np.uint8))

    np.testing.assert_allclose(faces.score, [0.9, 0.65])
    np.testing.assert_allclose(faces.box_px, [(104, 98, 60, 60), (300, 100, 40, 50)])
    assert faces.point_px.shape == (2, 5, 2)


def test_answers_are_those_of_the_picture_and_not_of_the_scaled_one() -> None:
    network = Anchors((0.9, (99.5, 49.5, 60, 80)))

    faces = DeepverdictDetector(network).find(np.zeros((720, 1280, 3), np.uint8))

    assert network.asked == [(1, 360, 640, 3)]
    np.testing.assert_allclose(faces.box_px, [(199.5, 99.5, 120, 160)])
    np.testing.assert_allclose(faces.point_px[0, 0], (259.5, 179.5))


def test_where_nothing_is_found_the_picture_is_looked_at_again_at_half_the_size() -> None:
    network = Anchors()

    faces = DeepverdictDetector(network).find(np.zeros((360, 640, 3), np.uint8))

    assert [max(shape) for shape in network.asked] == [LONGER_SIDE_PX, LONGER_SIDE_PX // 2]
    assert (faces.box_px.shape, faces.point_px.shape) == ((0, 4), (0, 5, 2))


def test_a_face_is_found_with_its_points_in_place(
    detector: FaceDetector, shared_media: Path
) -> None:
    rgb = first_frame(shared_media / INTERVIEW)

    faces = detector.find(rgb)

    assert [s for s in faces.score if s > 0.6] == [faces.score[0]], "the surest comes first"
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

    np.testing.assert_allclose(small.box_px[0] * 2, whole.box_px[0], atol=12)
    np.testing.assert_allclose(small.point_px[0] * 2, whole.point_px[0], atol=8)


def test_all_detectors_agree(
    detector: FaceDetector, shared_weights: Path, shared_media: Path
) -> None:
    rgb = first_frame(shared_media / INTERVIEW)
    build, name = WEIGHTS["yunet"]
    ours, theirs = detector.find(rgb), build((shared_weights / name).read_bytes()).find(rgb)

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
