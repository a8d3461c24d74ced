"""Banks for tests: heads drawn from numbers, no one's likeness, with landmarks where they are."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from tests.make_faces import EYES
from workers.detection.stage import LANDMARKS, Floats, Image
from workers.training.bank import BANK_SIDE_PX, Face, FaceBank, write_bank
from workers.training.synth import Look

FACE_PX = 197
SHARPER_FAKE = 9
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_BROWS = (70, 63, 105, 66, 107, 46, 53, 300, 293, 334, 296, 336, 276, 283)


def make_look(seed: int) -> Look:
    """Draw a head of coloured noise of its own, and its `[468, 2]` landmarks."""
    return Look(picture=make_head(seed), landmarks_px=make_landmarks(seed))


def make_landmarks(seed: int) -> Floats:
    """Place oval, brows, eyes and lips about where they are; the rest over the face."""
    random = np.random.default_rng([seed, 1])
    order = np.arange(LANDMARKS)
    radius = 0.42 * np.sqrt((order + 0.5) / LANDMARKS)
    angle = order * np.pi * (3 - np.sqrt(5))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    for indices, middle, size in (
        (_OVAL, (0, 0), (0.42, 0.5)),
        (_LIPS, (0, 0.25), (0.15, 0.06)),
        (EYES[0], (-0.2, -0.12), (0.08, 0.03)),
        (EYES[1], (0.2, -0.12), (0.08, 0.03)),
    ):
        turn = -np.pi / 2 + 2 * np.pi * np.arange(len(indices)) / len(indices)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        points[list(indices)] = np.array(middle) + np.array(size) * ring
    points[list(_BROWS)] = np.stack(
        [np.linspace(-0.3, 0.3, len(_BROWS)), np.full(len(_BROWS), -0.24)], axis=-1
    )
    points += random.normal(0, 0.004, points.shape)
    return np.asarray(points * FACE_PX + (BANK_SIDE_PX - 1) / 2, np.float32)


@cache
def make_head(seed: int) -> Image:
    """Draw a head before a wall, both with detail of every size."""
    random = np.random.default_rng([seed, 2])
    picture = np.zeros((BANK_SIDE_PX, BANK_SIDE_PX, 3), np.float32)
    for knots, height in ((5, 40), (20, 25), (80, 20), (BANK_SIDE_PX, 8)):
        grains = random.normal(0, height, (knots, knots, 3)).astype(np.float32)
        picture += cv2.resize(grains, picture.shape[:2], interpolation=cv2.INTER_CUBIC)
    where = np.zeros(picture.shape[:2], np.uint8)
    oval = make_landmarks(seed)[list(_OVAL)]
    cv2.fillPoly(where, [np.rint(oval).astype(np.int32)], (1,))
    skin = np.array([190, 150, 120]) + random.normal(0, 12, 3)
    picture += np.where(where[..., None] > 0, skin, [70, 90, 110])
    return np.clip(picture, 0, 255).astype(np.uint8)


def make_face(row: int, *, label: str = "real", group: str = "", **more: object) -> Face:
    """Describe one face of a bank; a clip of its own in a group of its own unless told."""
    path = str(more.pop("path", f"clip{row}.mp4"))
    values = {
        "row": row,
        "clip": path,
        "kind": "video",
        "label": label,
        "method": "camera" if label == "real" else "swap",
        "family": "real" if label == "real" else "faceswap",
        "group": group or f"group{row}",
        "dataset": "set",
        "quality": "",
        "split": "train",
        "path": path,
        "frame_index": 0,
        "pts_s": 0.0,
        "face_px": float(FACE_PX),
        "sharpness": 100.0,
        **more,
    }
    return Face(**values)  # type: ignore[arg-type]


def make_bank(folder: Path) -> FaceBank:
    """Write a bank of six clips, two stills, four softer fakes, and `SHARPER_FAKE`."""
    faces = [make_head(seed) for seed in range(8)]
    rows = [make_face(row) for row in range(6)]
    rows += [make_face(row, kind="picture", path=f"{row}.jpg", dataset="stills") for row in (6, 7)]
    masks = [np.zeros((BANK_SIDE_PX, BANK_SIDE_PX), np.uint8) for _ in rows]
    for pair in (0, 1, 2, 3, 4):
        row = len(rows)
        mask = np.zeros((BANK_SIDE_PX, BANK_SIDE_PX), np.uint8)
        cv2.circle(mask, (160, 160), 70, (255,), -1)
        soft = cv2.GaussianBlur(faces[pair], (0, 0), 1.5).astype(np.float32)
        changed = 2 * faces[pair].astype(np.float32) - soft if row == SHARPER_FAKE else soft
        fake = np.where(mask[..., None] > 0, changed.clip(0, 255), faces[pair]).astype(np.uint8)
        rows.append(make_face(row, label="fake", group=rows[pair].group, pair=pair, has_mask=True))
        faces.append(fake)
        masks.append(mask)
    return write_bank(
        folder,
        faces=np.stack(faces),
        landmarks=np.stack([make_landmarks(row % 8) for row in range(len(rows))]),
        masks=np.stack(masks),
        rows=rows,
        manifest_sha256="0" * 64,
    )
