"""
Scenes without anybody: red squares on a patterned wall, and networks that take them for faces.

The landmark networks see the square next to the middle of the crop that they are given, so where
they put the points depends on where they are told to look, as with the real ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection import face_mesh, landmarks
from workers.detection.face_detectors import FoundFaces
from workers.detection.faces import FaceFollower, Linker
from workers.detection.landmarks import FaceLandmarks
from workers.detection.stage import LANDMARKS, LANDMARKS_WITH_IRISES, Frame, Image

RED = (230, 20, 20)
SIZE = (320, 240)
RATE_HZ = 25.0
Square = tuple[float, float, float]  # left, top, side


def make_wall(seed: int, *, size: tuple[int, int] = SIZE) -> Image:
    """Draw a wall of soft blue and green spots; each seed another one."""
    random = np.random.default_rng(seed)
    width, height = size
    base = random.integers(0, 200, (height // 20, width // 20, 3), dtype=np.uint8)
    base[..., 0] //= 4
    return cv2.resize(base, size, interpolation=cv2.INTER_CUBIC)


def make_frames(
    where: Callable[[int], Sequence[Square]],
    *,
    frames: int,
    wall: Callable[[int], Image] = lambda n: make_wall(0),
    scale: float = 1.0,
    rate_hz: float = RATE_HZ,
) -> Iterator[Frame]:
    """Draw so many frames; `where` tells the squares of each."""
    for n in range(frames):
        rgb = wall(n).copy()
        for left, top, side in where(n):
            low, high = (round(left), round(top)), (round(left + side) - 1, round(top + side) - 1)
            cv2.rectangle(rgb, low, high, RED, -1)
        yield Frame(index=n, pts_s=n / rate_hz, rgb=rgb, scale=scale, is_keyframe=n % 50 == 0)


def squares(rgb: Image) -> list[tuple[int, int, int, int]]:
    """Return x, y, width and height of everything red."""
    red, green, blue = (rgb[..., c].astype(int) for c in range(3))
    is_red = ((red > 150) & (green < 110) & (blue < 110)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(is_red)
    return [tuple(int(v) for v in s[:4]) for s in stats[1:] if s[4] >= 16]


class RedFinder:
    """A face detector that knows nothing but red; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, rgb: Image) -> FoundFaces:
        self.asked += 1
        boxes = np.array(squares(rgb), np.float32).reshape(-1, 4)
        inside = np.array([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)])
        points = boxes[:, None, :2] + np.float32(inside) * boxes[:, None, 2:]
        return FoundFaces(box_px=boxes, point_px=points, score=np.full(len(boxes), 0.9, np.float32))


class RedNetwork:
    """Stands in for our landmark network: its points fill the red square in each crop."""

    output_names = (landmarks.POINTS, landmarks.PRESENCE)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        faces = inputs[landmarks.INPUT]
        self.batches.append(len(faces))
        seen = [_points(picture) for picture in faces]
        logits = [-9.0 if points is None else 9.0 for points in seen]
        nowhere = np.zeros((LANDMARKS_WITH_IRISES, 2), np.float32)
        return [np.stack([nowhere if p is None else p for p in seen]), np.float32(logits)]


class RedMesh:
    """Stands in for the ONNX of the MediaPipe face mesh, likewise."""

    output_names = (face_mesh.POINTS, face_mesh.PRESENCE)

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        picture = np.rint(inputs[face_mesh.INPUT][0].transpose(1, 2, 0) * 255).astype(np.uint8)
        seen = _points(picture)
        points = np.zeros((LANDMARKS, 3), np.float32)
        if seen is not None:
            points[:, :2] = seen[:LANDMARKS]
        logit = np.full((1, 1, 1, 1), -9.0 if seen is None else 9.0, np.float32)
        return [points.reshape(1, 1, 1, -1), logit]


def _points(picture: Image) -> NDArray[np.float32] | None:
    """Fill the red square next to the middle with points; None where nothing is red."""
    side = picture.shape[0]
    seen = squares(picture)
    if not seen:
        return None
    x, y, width, height = min(
        seen, key=lambda s: np.hypot(s[0] + s[2] / 2 - side / 2, s[1] + s[3] / 2 - side / 2)
    )
    return np.float32(template() * (width - 1, height - 1) + (x, y))


def template() -> NDArray[np.float32]:
    """Return landmarks `[478, 2]` of an upright face that fills the unit square."""
    random = np.random.default_rng(0)
    points = random.uniform(0.1, 0.9, (LANDMARKS, 2))
    for index, place in {10: (0.5, 0), 152: (0.5, 1), 234: (0, 0.5), 454: (1, 0.5)}.items():
        points[index] = place
    points[[33, 133, 159, 145]] = (0.2, 0.35), (0.4, 0.35), (0.3, 0.32), (0.3, 0.38)
    points[[263, 362, 386, 374]] = (0.8, 0.35), (0.6, 0.35), (0.7, 0.32), (0.7, 0.38)
    points[[61, 291, 1]] = (0.35, 0.75), (0.65, 0.75), (0.5, 0.55)
    irises = np.repeat([(0.3, 0.35), (0.7, 0.35)], 5, axis=0)
    return np.float32(np.concatenate([points, irises]))


def make_follower(
    finder: RedFinder | None = None,
    *,
    detect_every: int = 10,
    samples_per_person: int = 16,
    max_persons: int = 4,
    linker: Linker | None = None,
) -> FaceFollower:
    """Build a follower of red squares."""
    return FaceFollower(
        finder or RedFinder(),
        FaceLandmarks(RedNetwork()),
        detect_every=detect_every,
        samples_per_person=samples_per_person,
        max_persons=max_persons,
        linker=linker,
    )
