"""Face banks for tests: drawn ovals with a little texture, no one's likeness."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.training.bank import BANK_SIDE_PX, Face, FaceBank, write_bank
from workers.training.evaluate.scores import ClipScore

LOOKS = 8
MIDDLE = BANK_SIDE_PX / 2


def make_face(row: int, **changes: object) -> Face:
    """Make a row of a real clip that is fit to be judged."""
    values: dict[str, object] = {
        "row": row,
        "clip": "a.mp4",
        "kind": "video",
        "label": "real",
        "method": "phone",
        "family": "real",
        "group": "anna",
        "dataset": "phone",
        "quality": "",
        "split": "test",
        "path": "a.mp4",
        "frame_index": row,
        "pts_s": row / 4,
        "face_px": 200.0,
        "sharpness": 50.0,
        "frame_from_crop": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    }
    return Face(**(values | changes))  # type: ignore[arg-type]


def make_landmarks(radius_px: float = 90.0) -> NDArray[np.float32]:
    """Lay 468 points on a circle around the middle of the crop."""
    turn = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    points = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius_px + MIDDLE
    return points.astype(np.float32)


def make_picture(brightness: int, *, seed: int = 0, blur_px: float = 0.0) -> NDArray[np.uint8]:
    """Draw noise around a brightness."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(brightness, 25, (BANK_SIDE_PX, BANK_SIDE_PX, 3))
    if blur_px:
        picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    return np.clip(picture, 0, 255).astype(np.uint8)


def make_bank(
    folder: Path,
    rows: Sequence[Face],
    picture_of: Callable[[Face], NDArray[np.uint8]],
    *,
    masks: NDArray[np.uint8] | None = None,
) -> FaceBank:
    """Write a bank of these rows."""
    side = BANK_SIDE_PX
    return write_bank(
        folder,
        faces=np.stack([picture_of(face) for face in rows]),
        landmarks=np.stack([make_landmarks()] * len(rows)),
        masks=np.zeros((len(rows), side, side), np.uint8) if masks is None else masks,
        rows=rows,
        manifest_sha256="0" * 64,
    )


def make_score(clip: str, *, logit: float, **changes: object) -> ClipScore:
    """Make the score of a real clip."""
    values: dict[str, object] = {
        "clip": clip,
        "label": "real",
        "method": "phone",
        "family": "real",
        "group": clip,
        "dataset": "phone",
        "quality": "",
        "logit": logit,
        "frames": LOOKS,
    }
    return ClipScore(**(values | changes))  # type: ignore[arg-type]
