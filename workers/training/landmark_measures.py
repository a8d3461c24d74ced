"""
How well does a landmark network follow its teachers, and how still does it keep?

Errors are shares of the distance between the outer corners of the eyes, beside what the two
teachers differ by on the same faces: closer than that, nobody knows where a point lies.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.nets.face_landmarks import SIDE_PX
from workers.detection import align
from workers.detection.stage import LANDMARKS, Floats
from workers.training.errors import BadDataset
from workers.training.landmark_views import MARGIN, REGIONS, moved_view, targets
from workers.training.teachers import (
    LandmarkBank,
    Teacher,
    eye_distance_px,
    eye_openness,
    region_in_bank,
)

STILL_SHIFT, STILL_TURN, STILL_SCALE = 0.06, 0.12, 0.12
"""By how much, at most, the region of a followed face is off: shares of it, and radians."""
TREMBLES = 12
TREMBLE_PX, TREMBLE_NOISE = 0.5, 2.0
"""Of a still face: by how much of a bank crop's pixel, and by how much light, frames differ."""

TREMBLING = 40
"""Faces, at most, that are looked at so often."""

Place = Callable[[NDArray[np.uint8]], Floats]
"""Gives the points `[N, P, 2]` of `[N, S, S, 3]` pictures, in their pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a network can do on faces of people that it has not learnt from."""

    faces: int
    errors: dict[str, float]  # shares of the eyes' distance, of all points and by region
    teachers_apart: dict[str, float]  # likewise, one teacher by the other
    trembling: float  # share of the eyes' distance
    teacher_trembling: float
    openness: float  # of the eyes, correlation with the teacher's within clips; NaN without any


def still_views(bank: LandmarkBank, rows: Sequence[int]) -> tuple[NDArray[np.uint8], Floats]:
    """Draw one view of each face as following it gives, `[N, S, S, 3]`, and its points."""
    pictures, points = [], []
    for row in rows:
        random = np.random.default_rng([row, 128])
        right, down, turn, scale = random.uniform(-1, 1, 4)
        region = region_in_bank(
            right=float(right) * STILL_SHIFT,
            down=float(down) * STILL_SHIFT,
            scale=math.exp(float(scale) * STILL_SCALE),
            turn_rad=float(turn) * STILL_TURN,
        )
        picture, moved = moved_view(bank.crops[row], targets(bank, row), region)
        pictures.append(picture)
        points.append(moved)
    return np.stack(pictures), np.stack(points)


def error_by_region(said_px: Floats, wanted_px: Floats) -> dict[str, float]:
    """
    Return the mean distance of points over that of the eyes, of all and of each region.

    Args:
        said_px: `[N, P, 2]`; of 468 points, there are no irises to compare.
        wanted_px: likewise.
    """
    apart = np.linalg.norm(said_px - wanted_px, axis=-1) / eye_distance_px(wanted_px)[:, None]
    found = {"error": float(apart.mean())}
    for name, points in REGIONS.items():
        if max(points) < apart.shape[1]:
            found[f"error_{name}"] = float(apart[:, list(points)].mean())
    return found


def teachers_differ(bank: LandmarkBank, rows: Sequence[int]) -> dict[str, float]:
    """Return what `error_by_region` says of one teacher by the other, on the points of both."""
    rows = list(rows)
    return error_by_region(bank.irises_px[rows][:, :LANDMARKS], bank.mesh_px[rows])


def trembling(place: Place, crops: NDArray[np.uint8], eyes_px: Floats, *, seed: int = 0) -> float:
    """
    Measure by how much points of a still face move, as a share of the eyes' distance.

    Every crop is seen `TREMBLES` times, shifted by part of a pixel and with grain, as frames of a
    face that keeps still differ.

    Args:
        place: gives points in pixels of the crops.
        crops: `[N, S, S, 3]`.
        eyes_px: `[N]` distance of the eyes in each.

    Returns:
        Root of the mean square of points about their mean place.
    """
    squares = []
    for number, (crop, eyes) in enumerate(zip(crops, eyes_px, strict=True)):
        random = np.random.default_rng([seed, number])
        shifts = random.uniform(-TREMBLE_PX, TREMBLE_PX, (TREMBLES, 2))
        seen = []
        for right, down in shifts:
            affine = np.array([[1, 0, right], [0, 1, down]])
            moved = cv2.warpAffine(np.array(crop), affine, crop.shape[1::-1])
            grain = random.normal(0, TREMBLE_NOISE, moved.shape)
            seen.append(np.clip(moved + grain, 0, 255).round().astype(np.uint8))
        points = place(np.stack(seen)) - shifts[:, None]
        squares.append(np.square(points - points.mean(axis=0)).sum(axis=-1).mean() / eyes**2)
    return float(np.sqrt(np.mean(squares)))


def openness_agrees(said_px: Floats, wanted_px: Floats, clips: Sequence[str]) -> float:
    """
    Return the correlation of how open the eyes are said to be with how open they are.

    Each clip counts about its own mean, so that narrow and wide eyes do not count as shut and open
    ones. NaN where no clip has three faces.
    """
    said, wanted = eye_openness(said_px), eye_openness(wanted_px)
    names = np.array(clips)
    x, y = [], []
    for clip in np.unique(names):
        own = names == clip
        if own.sum() >= 3:  # noqa: PLR2004 - fewer have no course
            x.append(said[own] - said[own].mean())
            y.append(wanted[own] - wanted[own].mean())
    if not x:
        return math.nan
    return float(np.corrcoef(np.concatenate(x), np.concatenate(y))[0, 1])


class Network(Protocol):
    """Gives points `[N, 478, 2]` and logits of presence `[N]` of served views."""

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Look at `[N, 128, 128, 3]`."""
        ...


def of_onnx(content: bytes) -> Network:
    """Run a served network on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def look(pictures: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        points, logits = session.run(["points", "presence_logit"], {"faces": pictures})
        return points, logits

    return look


def measure(network: Network, bank: LandmarkBank, *, split: str, teacher: Teacher) -> Measured:
    """
    Measure a served network on the people of one split, beside its teachers.

    Args:
        teacher: the mesh, to see how much it trembles itself.

    Raises:
        BadDataset: the split has no face.
    """
    rows = [r for r, p in enumerate(bank.pupils) if p.split == split and p.has_face]
    if not rows:
        raise BadDataset(f"the bank has no face of the split {split!r}")
    pictures, points = still_views(bank, rows)
    said, _ = network(pictures)
    clips = [bank.pupils[row].clip for row in rows]
    few = [rows[i] for i in np.linspace(0, len(rows) - 1, min(TREMBLING, len(rows)), dtype=int)]
    crops, eyes = bank.crops[few], eye_distance_px(bank.mesh_px[few])

    def by_network(crops: NDArray[np.uint8]) -> Floats:
        affine = region_in_bank().scaled(MARGIN).frame_from_crop(SIDE_PX)
        views = [align.warp(crop, affine, size=(SIDE_PX, SIDE_PX)) for crop in crops]
        return network(np.stack(views))[0] @ affine[:, :2].T + affine[:, 2]

    def by_teacher(crops: NDArray[np.uint8]) -> Floats:
        return np.stack([teacher.place(crop, region_in_bank()).points_px for crop in crops])

    return Measured(
        faces=len(rows),
        errors=error_by_region(said, points),
        teachers_apart=teachers_differ(bank, rows),
        trembling=trembling(by_network, crops, eyes),
        teacher_trembling=trembling(by_teacher, crops, eyes),
        openness=openness_agrees(said, points, clips),
    )
