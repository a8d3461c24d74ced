"""Banks of landmarks for tests: drawn faces of which every point is known."""

from pathlib import Path

import cv2
import numpy as np

from workers.detection.stage import LANDMARKS, Floats, Image
from workers.training.teachers import (
    BANK_MARGIN,
    BANK_SIDE_PX,
    LANDMARKS_WITH_IRISES,
    LandmarkBank,
    Pupil,
    write_landmark_bank,
)

FACE_PX = BANK_SIDE_PX / BANK_MARGIN
MIDDLE_PX = (BANK_SIDE_PX - 1) / 2
TEACHERS_APART_PX = 1.5


KNOWN = {(33, 263): (0.3, -0.2), (133, 362): (0.1, -0.2), (61, 291): (0.2, 0.25)}
"""Points of the corners of eyes and mouth, left and right, and where the right ones lie."""


def pairs() -> list[tuple[int, int]]:
    """List all points as pairs, left and right."""
    taken = {n for pair in KNOWN for n in pair}
    others = [n for n in range(LANDMARKS_WITH_IRISES) if n not in taken]
    return [*KNOWN, *zip(others[0::2], others[1::2], strict=True)]


def mean_face() -> Floats:
    """Lay pairs of points on both sides of the middle."""
    grid = np.stack(np.meshgrid(np.linspace(0.03, 0.5, 15), np.linspace(-0.5, 0.5, 16)), -1)
    free = list(grid.reshape(-1, 2))
    face = np.empty((LANDMARKS_WITH_IRISES, 2))
    for left, right in pairs():
        place = KNOWN.get((left, right), (0.5, 0.5))
        nearest = int(np.argmin([np.linalg.norm(spot - place) for spot in free]))
        face[right] = free.pop(nearest)
        face[left] = face[right] * [-1, 1]
    return (face * FACE_PX + MIDDLE_PX).astype(np.float32)


def make_landmark_bank(
    folder: Path, *, faces: int = 12, places: int = 4, manifest_sha256: str = "5" * 64
) -> LandmarkBank:
    """Write a bank of drawn faces, and of places without any; every third one is for `val`."""
    random = np.random.default_rng(1)
    mirror = list(range(LANDMARKS_WITH_IRISES))
    for left, right in pairs():
        mirror[left], mirror[right] = right, left
    mesh, crops, pupils = [], [], []
    for number in range(faces + places):
        has_face = number < faces
        points = mean_face() + random.normal(0, 0.2, (LANDMARKS_WITH_IRISES, 2))
        points += random.normal(0, 2, 2)
        mesh.append(np.float32(points if has_face else points * 0))
        crops.append(_drawn(mesh[-1] if has_face else None, random))
        pupils.append(
            Pupil(
                path=f"{number}.png",
                clip=f"clip-{number % 4}",
                group=f"group-{number % 3}",
                split="val" if number % 3 == 0 else "train",
                frame_index=0,
                face_px=FACE_PX if has_face else 30.0,
                has_face=has_face,
                openness=0.3 if has_face else 0.0,
                disagreement=0.0,
            )
        )
    points_px = np.stack(mesh)
    irises_px = points_px + np.float32([TEACHERS_APART_PX, 0])
    return write_landmark_bank(
        folder,
        crops=np.stack(crops),
        mesh_px=points_px[:, :LANDMARKS],
        irises_px=irises_px,
        pupils=pupils,
        mirror=mirror,
        manifest_sha256=manifest_sha256,
    )


def _drawn(points_px: Floats | None, random: np.random.Generator) -> Image:
    crop = random.integers(20, 60, (BANK_SIDE_PX, BANK_SIDE_PX, 3), dtype=np.uint8)
    if points_px is not None:
        for x, y in points_px[::6]:
            cv2.circle(crop, (round(float(x)), round(float(y))), 2, (230, 180, 160), -1)
    return crop
