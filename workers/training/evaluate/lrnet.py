"""
Does LRNet, from the way 68 points of the face move, take a clip for manipulated?

Sun, Han, Hua, Ruan & Jia, "Improving the Efficiency and Robustness of Deepfakes Detection through
Precise Geometric Features", CVPR 2021. Points are found in every frame of a face that is cut out
at 1.2 times its size and drawn 400 px wide; optical flow from one frame to the next says where
each should be, and a Kalman filter weighs the two. One recurrent network reads 60 positions,
another the 59 differences, and their probabilities are averaged.

Other than the authors', points come from the face mesh here, by the 68 of its points that lie
nearest to theirs.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.errors import ModelUnavailable
from workers.detection import align
from workers.detection.detectors import aggregation
from workers.detection.stage import Floats, Frame, Image
from workers.training.bank import FaceBank
from workers.training.evaluate.metrics import Array
from workers.training.evaluate.videos import frames_between
from workers.training.teachers import Teacher

FILES = ("lrnet_g1.pth", "lrnet_g2.pth")
"""Weights of the network over positions and of that over differences."""
MESH = "mediapipe_face_mesh_468.onnx"
BLOCK = 60
MAX_FRAMES = 61
"""One block and the frame after, which the authors ask for."""
POINTS = 68
SIDE_PX = 400
MARGIN = 1.2
STILL_PX = 1.42
"""Movements of the cut-out below this are taken for jitter."""
STRAY_PX = 2.0
"""How far flow forth and back may miss where it began."""
PROCESS_VARIANCE = 0.3
LEAST_PRESENCE = 0.5

MESH_OF_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""Jaw, brows, nose, eyes, outer and inner lips."""


class _Recurrent(nn.Module):
    """Reads `[N, T, 136]` and gives the probability of each class, `[N, 2]`: real, fake."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        hidden = state["hidden_state"]
        self.start = nn.Parameter(hidden)  # [2, 1, 32]
        units = hidden.shape[2]
        self.gru = nn.GRU(2 * POINTS, units, batch_first=True, bidirectional=True)
        self.widen = nn.Linear(2 * units, state["dense.1.fn.net.0.bias"].shape[0])
        self.narrow = nn.Linear(self.widen.out_features, 2 * units)
        self.head = nn.Linear(2 * units, 2)
        named = {"gru.": self.gru, "dense.1.fn.net.0.": self.widen,
                 "dense.1.fn.net.3.": self.narrow, "dense.3.": self.head}  # fmt: skip
        for prefix, layer in named.items():
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            layer.load_state_dict(own)

    def forward(self, x: Tensor) -> Tensor:
        _, hidden = self.gru(x, self.start.repeat(1, len(x), 1))
        both = torch.cat(list(hidden), dim=1)
        both = both + self.narrow(torch.relu(self.widen(both)))
        return torch.softmax(self.head(both), dim=1)


class LrNet:
    """
    The two networks.

    Args:
        folder: holds `FILES`.

    Raises:
        ModelUnavailable: a file is not there, or is not what its name says.
    """

    def __init__(self, folder: Path) -> None:
        try:
            states = [
                torch.load(folder / file, weights_only=True, map_location="cpu") for file in FILES
            ]
            self._positions, self._differences = (_Recurrent(state).eval() for state in states)
        except (OSError, KeyError, RuntimeError) as wrong:
            raise ModelUnavailable(f"no LRNet in {folder}: {wrong}") from wrong

    def fake_probability(self, points: Floats) -> float | None:
        """
        Judge a face that was followed.

        Args:
            points: `[T, 68, 2]` as `calibrated` gives them.

        Returns:
            The mean over blocks of 60 frames; None where there is not one.
        """
        starts = range(0, len(points) - BLOCK, BLOCK)
        if not starts:
            return None
        blocks = torch.tensor(
            np.stack([points[at : at + BLOCK].reshape(BLOCK, -1) for at in starts]),
            dtype=torch.float32,
        )
        with torch.inference_mode():
            both = self._positions(blocks) + self._differences(blocks.diff(dim=1))
        return float(both[:, 1].mean() / 2)


def clip_probability(
    network: LrNet, mesh: Teacher, bank: FaceBank, clip: str, root: Path
) -> float | None:
    """
    Follow the face of a clip from its first look on, and judge it.

    Returns:
        None where it cannot be followed for a block of frames.
    """
    face = bank.rows[bank.by_clip[clip][0]]
    affine = np.asarray(face.frame_from_crop, dtype=np.float32).reshape(2, 3)
    points = np.asarray(bank.landmarks[face.row]) @ affine[:, :2].T + affine[:, 2]
    last = face.frame_index + MAX_FRAMES - 1
    frames = list(frames_between(root / face.path, face.frame_index, last))
    if len(frames) <= BLOCK:
        return None
    followed = _follow(mesh, frames, points)
    return network.fake_probability(calibrated([frame.rgb for frame in frames], followed))


def logit(probability: float) -> float:
    """Return the log odds, within bounds."""
    return float(aggregation.logit(np.array([probability]))[0])


def calibrated(frames: Sequence[Image], points_px: Floats) -> Floats:
    """
    Smooth points by optical flow and a Kalman filter; `[T, 68, 2]` in the cut-out, -1 to 1.

    Args:
        frames: T pictures.
        points_px: `[T, 68, 2]`.
    """
    size = int(np.ptp(points_px, axis=1).max(axis=1).mean() * MARGIN) // 2 * 2
    cut_outs, found = [], []
    centre: Array | None = None
    for frame, points in zip(frames, points_px, strict=True):
        middle = (points.min(axis=0) + points.max(axis=0)) // 2
        if centre is None or np.linalg.norm(middle - centre) >= STILL_PX:
            centre = middle.astype(np.float64)
        corner = centre - size // 2
        to_frame = np.array(
            [[size / SIDE_PX, 0, corner[0]], [0, size / SIDE_PX, corner[1]]], np.float32
        )
        drawn = align.warp(frame, to_frame, size=(SIDE_PX, SIDE_PX))
        cut_outs.append(np.asarray(cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY), np.uint8))
        found.append(np.rint((points - corner) * SIDE_PX / size).astype(np.float32))
    smooth = _filtered(cut_outs, found)
    half = SIDE_PX / 2
    return np.asarray((np.stack(smooth) - half) / half, dtype=np.float32)


def _filtered(pictures: Sequence[NDArray[np.uint8]], found: Sequence[Floats]) -> list[Floats]:
    smooth = [found[0]]
    variance = np.zeros(POINTS)
    for at in range(1, len(found)):
        start, target = smooth[-1], found[at]
        before, now = pictures[at - 1], pictures[at]
        forth, ok_forth = _flow(before, now, start, target)
        back, ok_back = _flow(now, before, forth, start)
        forth, back = np.rint(forth), np.rint(back)
        is_kept = (np.linalg.norm(back - start, axis=1) <= STRAY_PX) & ok_forth & ok_back
        seen = np.linalg.norm(target - found[at - 1], axis=1)
        expected = np.linalg.norm(forth - start, axis=1)
        noise = seen / np.where(expected == 0, 1, expected)
        variance = variance + PROCESS_VARIANCE * is_kept
        total = variance + noise
        gain = np.divide(variance, total, out=np.zeros(POINTS), where=total > 0)
        merged = forth + gain[:, None] * (target - forth)
        smooth.append(np.where(is_kept[:, None], merged, target).astype(np.float32))
        variance = np.where(is_kept, (1 - gain) * variance, variance)
    return smooth


def _flow(
    first: NDArray[np.uint8], second: NDArray[np.uint8], start: Floats, guess: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        np.ascontiguousarray(start, np.float32),
        np.array(guess, np.float32),
        winSize=(15, 15),
        maxLevel=3,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, np.float32), np.asarray(status[:, 0] > 0)


def _follow(mesh: Teacher, frames: Sequence[Frame], points_px: Floats) -> Floats:
    """Place the mesh in every frame from where it was before; `[T, 68, 2]`."""
    followed = []
    for frame in frames:
        placed = mesh.place(frame.rgb, align.region_of_landmarks(points_px))
        # Where the face is lost for a frame it is held, as the authors do.
        if placed.presence >= LEAST_PRESENCE and np.isfinite(placed.points_px).all():
            points_px = placed.points_px[: len(points_px)]
        followed.append(points_px[list(MESH_OF_68)])
    return np.stack(followed).astype(np.float32)
