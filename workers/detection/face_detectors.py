"""Where are the faces in one frame? Three networks to choose from, behind one Protocol."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from app.errors import Misconfigured, ModelUnavailable
from workers.detection.landmarks import Network
from workers.detection.stage import Floats, Image

LONGER_SIDE_PX = 640
"""To which frames are scaled, up or down. YuNet knows faces from about 10 to 300 px."""
LEAST_SCORE = 0.6
"""On 3 frames of each of 174 clips, with the landmarks' consent: from 0.5 on 7 faces more are found
that are none to the mesh, toys among them, and 10 that are."""
LEAST_YUNET_SCORE = 0.6
LEAST_SCRFD_SCORE = 0.5
MOST_OVERLAP = 0.3
"""Of two answers of the network with more in common the less sure one is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundFaces:
    """The faces of one frame, in pixels of that frame; `N` may be 0."""

    box_px: Floats  # [N, 4] x, y, width, height; may reach off the frame
    point_px: Floats  # [N, 5, 2] left and right eye, nose, left and right corner of the mouth
    score: Floats  # [N] in [0, 1]

    def __len__(self) -> int:
        return len(self.box_px)


class FaceDetector(Protocol):
    """Finds faces in a single frame."""

    def find(self, rgb: Image) -> FoundFaces:
        """Find all faces of a frame `[H, W, 3]`. Left and right are the viewer's."""
        ...


class DeepverdictDetector:
    """
    Finds faces with our own network.

    Args:
        network: takes `image` (uint8 `[1, H, W, 3]` RGB), gives for every one of its `K` anchors
            `score` (`[K]` in [0, 1]), `box` (`[K, 4]` x, y, width, height) and `points`
            (`[K, 5, 2]`), in pixels of that picture.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def find(self, rgb: Image) -> FoundFaces:
        """Find all faces; where none is, look again at half the size, for those that fill it."""
        return _find_twice(self._find_at, rgb)

    def _find_at(self, rgb: Image, longer_side_px: int) -> FoundFaces:
        small = _scaled(rgb, longer_side_px)
        outputs = self._network.run({"image": small[None]})
        answer = dict(zip(self._network.output_names, outputs, strict=True))
        score, box, points = (answer[n].astype(np.float32) for n in ("score", "box", "points"))
        # Written so that an anchor that answers with no number is dropped.
        is_sure = (score >= LEAST_SCORE) & np.isfinite(box).all(axis=1)
        is_sure &= np.isfinite(points).all(axis=(1, 2))
        score, box, points = score[is_sure], box[is_sure], points[is_sure]
        kept = np.array(
            cv2.dnn.NMSBoxes(box.tolist(), score.tolist(), LEAST_SCORE, MOST_OVERLAP), np.intp
        ).reshape(-1)
        return _in_frame(rgb, small, box=box[kept], points=points[kept], score=score[kept])


class YuNet:
    """
    Finds faces with YuNet, by way of OpenCV.

    Args:
        onnx: verified bytes of the network.

    Raises:
        ModelUnavailable: OpenCV does not take these bytes.

    Source: Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023.
    """

    def __init__(self, onnx: bytes) -> None:
        try:
            self._network = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(onnx, np.uint8),
                np.zeros(0, np.uint8),
                (LONGER_SIDE_PX, LONGER_SIDE_PX),
                score_threshold=LEAST_YUNET_SCORE,
            )
        except cv2.error as error:
            raise ModelUnavailable("OpenCV cannot read the face detector's bytes") from error

    def find(self, rgb: Image) -> FoundFaces:
        """Find all faces; where none is, look again at half the size, for those that fill it."""
        return _find_twice(self._find_at, rgb)

    def _find_at(self, rgb: Image, longer_side_px: int) -> FoundFaces:
        small = _scaled(rgb, longer_side_px)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        _, found = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        rows = np.zeros((0, 15), np.float32) if found is None else found.astype(np.float32)
        points = rows[:, 4:14].reshape(-1, 5, 2)
        return _in_frame(rgb, small, box=rows[:, :4], points=points, score=rows[:, 14])


class InsightFaceDetector:
    """
    Finds faces with SCRFD, by way of the insightface package.

    Args:
        onnx: verified bytes of the network.

    Raises:
        Misconfigured: the package is not installed.
        ModelUnavailable: the package does not take these bytes for a face detector.

    Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021.
    """

    def __init__(self, onnx: bytes) -> None:
        try:
            from insightface.model_zoo import get_model  # noqa: PLC0415  not installed for most
        except ImportError as missing:
            raise Misconfigured(
                "faces.detector is insightface, and the package cannot be imported "
                f"({missing}). Install it with `pip install --no-deps insightface` and `pip "
                "install onnx requests scikit-image scipy tqdm`, or set "
                "DEEPVERDICT_FACES__DETECTOR=deepverdict."
            ) from missing
        # The package reads a path, now and again for every new picture size.
        folder = tempfile.mkdtemp(prefix="deepverdict-")
        weakref.finalize(self, shutil.rmtree, folder)
        path = Path(folder, "scrfd.onnx")
        path.write_bytes(onnx)
        self._network = get_model(str(path), download=False, providers=["CPUExecutionProvider"])
        if getattr(self._network, "taskname", None) != "detection":
            raise ModelUnavailable("insightface does not take these bytes for a face detector")
        self._network.prepare(ctx_id=-1, det_thresh=LEAST_SCRFD_SCORE)

    def find(self, rgb: Image) -> FoundFaces:
        """Find all faces; where none is, look again at half the size, for those that fill it."""
        return _find_twice(self._find_at, rgb)

    def _find_at(self, rgb: Image, longer_side_px: int) -> FoundFaces:
        rows, points = self._network.detect(
            cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), input_size=(longer_side_px, longer_side_px)
        )
        corners = rows[:, :4].astype(np.float32)
        return FoundFaces(
            box_px=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1),
            point_px=np.asarray(points, np.float32).reshape(-1, 5, 2),
            score=rows[:, 4].astype(np.float32),
        )


def _find_twice(find_at: Callable[[Image, int], FoundFaces], rgb: Image) -> FoundFaces:
    faces = find_at(rgb, LONGER_SIDE_PX)
    return faces if len(faces) else find_at(rgb, LONGER_SIDE_PX // 2)


def _scaled(rgb: Image, longer_side_px: int) -> Image:
    """Scale a frame, up or down."""
    height, width = rgb.shape[:2]
    scale = longer_side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)


def _in_frame(
    rgb: Image, small: Image, *, box: Floats, points: Floats, score: Floats
) -> FoundFaces:
    """Turn boxes `[N, 4]` and points `[N, 5, 2]` of a scaled frame into those of the frame."""
    by = np.array([rgb.shape[1] / small.shape[1], rgb.shape[0] / small.shape[0]], np.float32)
    shift = (by - 1) / 2  # the centre of the top left pixel is (0, 0)
    scaled = box.reshape(-1, 2, 2) * by
    scaled[:, 0] += shift
    return FoundFaces(
        box_px=scaled.reshape(-1, 4),
        point_px=np.asarray(points * by + shift, np.float32),
        score=score,
    )
