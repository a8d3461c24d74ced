"""Sets of faces for tests: drawn heads, no one's likeness, and the astronaut as pictures."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from tests.workers.training.make_bank import make_head, make_landmarks
from workers.detection.stage import Floats, Image
from workers.training.bank import BANK_SIDE_PX
from workers.training.forging.face_sets import FaceSet, SetFace, write_face_set
from workers.training.forging.views import STORED_PX
from workers.training.landmark_views import REGIONS

SCALE = STORED_PX / BANK_SIDE_PX


def make_stored(seed: int) -> Image:
    """Draw a head as a set keeps it."""
    side = (STORED_PX, STORED_PX)
    return np.asarray(cv2.resize(make_head(seed), side, interpolation=cv2.INTER_AREA), np.uint8)


def make_points(seed: int) -> Floats:
    """Place the points of `make_stored`, `[468, 2]`; those of the lids in a ring."""
    points = (make_landmarks(seed) + 0.5) * SCALE - 0.5
    around = 2 * np.pi * np.arange(16) / 16
    for lids, angle in ((REGIONS["lids"][:16], np.pi - around), (REGIONS["lids"][16:], around)):
        size = np.ptp(points[[lids[0], lids[8]]], axis=0)[0] / 2
        ring = np.stack([np.cos(angle), 0.4 * np.sin(angle)], axis=-1)
        points[list(lids)] = points[[lids[0], lids[8]]].mean(axis=0) + size * ring
    return np.asarray(points, np.float32)


def make_set_face(row: int, picture: Image, **changes: object) -> SetFace:
    """Describe a face of a set; from the front, of one video, to train on."""
    mean, spread = (v[:, 0].tolist() for v in cv2.meanStdDev(picture))
    values: dict[str, object] = {
        "row": row,
        "source": "clip.mp4",
        "source_sha256": "0" * 64,
        "name": "clip.mp4",
        "frame_index": row,
        "pts_s": row / 25,
        "face_px": 160.0,
        "sharpness": 100.0,
        "presence": 0.99,
        "turn": 0.0,
        "tilt": 0.55,
        "mouth_open": 0.05,
        "eyes_open": 0.3,
        "colour_mean": tuple(mean),
        "colour_spread": tuple(spread),
        "held_out": False,
    }
    return SetFace(**(values | changes))  # type: ignore[arg-type]


def make_face_set(
    folder: Path,
    *,
    seed: int = 0,
    count: int = 4,
    held_out: int = 1,
    embedding: Floats | None = None,
    source_sha256: str | None = None,
) -> FaceSet:
    """Write a set of drawn heads, the last ones held out."""
    faces = [make_stored(seed + n) for n in range(count)]
    sha256 = source_sha256 or f"{seed:064x}"
    return write_face_set(
        folder,
        faces=faces,
        landmarks=np.stack([make_points(seed + n) for n in range(count)]),
        rows=[
            make_set_face(n, face, held_out=n >= count - held_out, source_sha256=sha256)
            for n, face in enumerate(faces)
        ],
        sources={f"person{seed}.mp4": sha256},
        embedding=embedding,
    )


def astronaut(number: int, *, side_px: int = 320) -> Image:
    """Return the portrait, lit, turned and shifted otherwise for every number."""
    random = np.random.default_rng(number)
    portrait = _portrait()
    turn = cv2.getRotationMatrix2D((160.0, 110.0), random.uniform(-8, 8), random.uniform(0.9, 1.1))
    turn[:, 2] += random.uniform(-8, 8, 2)
    moved = cv2.warpAffine(portrait, turn, (320, 320), borderMode=cv2.BORDER_REFLECT_101)
    lit = np.clip(moved * random.uniform(0.85, 1.1), 0, 255).astype(np.uint8)
    if side_px == lit.shape[0]:
        return lit
    return np.asarray(cv2.resize(lit, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


@cache
def _portrait() -> Image:
    return np.ascontiguousarray(data.astronaut()[:320, 60:380])


def write_pictures(folder: Path, pictures: list[Image]) -> Path:
    """Write pictures into a folder, in order by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:04}.png"), picture[..., ::-1])
    return folder
