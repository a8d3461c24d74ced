"""
How sharp is a face, by itself, beside its surroundings, and beside the face it was made from?

What networks learn first of forgeries is that they are soft. So the plainest measures of softness
stand beside every network, and fakes that are sharper than their source are judged apart.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection.stage import Floats, Image
from workers.training.bank import FaceBank

INNER = 0.85
"""Scale of the mesh's hull within which only face is seen, away from any seam."""
RING = (1.15, 1.30)
"""Scales of the hull between which the surroundings lie."""
LEAST_ENERGY = 1e-3

Mask = NDArray[np.bool_]


def hull_mask(landmarks: Floats, side_px: int, *, scale: float = 1.0) -> Mask:
    """Return the pixels within the hull of the points `[468, 2]`, scaled about its middle."""
    hull = cv2.convexHull(landmarks.astype(np.float32))[:, 0]
    middle = (hull.min(axis=0) + hull.max(axis=0)) / 2
    corners = np.rint((hull - middle) * scale + middle).astype(np.int32)
    mask = np.zeros((side_px, side_px), np.uint8)
    cv2.fillConvexPoly(mask, corners, 1)
    return mask.astype(bool)


def energy(picture: Image, where: Mask) -> float:
    """Return the variance of the Laplacian of the grey picture over the given pixels."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)[where]
    return max(float(laplacian.var()) if laplacian.size else 0.0, LEAST_ENERGY)


def face_blur(bank: FaceBank, row: int) -> float:
    """Return how soft the inner face is: minus the log of its energy."""
    picture, inner = _inner(bank, row)
    return -float(np.log(energy(picture, inner)))


def face_blur_ratio(bank: FaceBank, row: int) -> float:
    """Return how much softer the inner face is than its surroundings: minus the log ratio."""
    picture, inner = _inner(bank, row)
    points = np.asarray(bank.landmarks[row])
    near, far = (hull_mask(points, len(picture), scale=scale) for scale in RING)
    return float(np.log(energy(picture, far & ~near)) - np.log(energy(picture, inner)))


def sharper_by(bank: FaceBank, row: int) -> float:
    """
    Return the log ratio of the energy of a fake's inner face to that of the face it was made from.

    Above 0 the fake is the sharper one. The look must have a `pair`.
    """
    pair = bank.rows[row].pair
    if pair < 0:
        raise ValueError(f"row {row} has no real face to compare with")
    picture, inner = _inner(bank, row)
    source = np.asarray(bank.faces[pair])
    return float(np.log(energy(picture, inner)) - np.log(energy(source, inner)))


def _inner(bank: FaceBank, row: int) -> tuple[Image, Mask]:
    picture = np.asarray(bank.faces[row])
    return picture, hull_mask(np.asarray(bank.landmarks[row]), len(picture), scale=INNER)
