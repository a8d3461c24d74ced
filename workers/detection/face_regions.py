"""
Which pixels of a picture of a face show what? Masks and polygons from landmarks.

Points are those of the mesh (`stage.LANDMARKS`), in pixels of the picture that a mask is wanted
for. Left and right are the viewer's.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection import align
from workers.detection.stage import (
    LANDMARKS,
    SMALL_MARGIN,
    SMALL_SIDE_PX,
    FaceSample,
    FaceTrack,
    Floats,
    Image,
)

Mask = NDArray[np.bool_]

INNER = 0.85
"""Scale of the mesh's hull within which only face is seen, away from any seam."""
RING = (1.15, 1.30)
"""Scales of the hull between which the surroundings lie."""
LEAST_ENERGY = 1e-3

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The outline of the face, from the top of the forehead clockwise."""
JAW = (
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
)
"""The lower part of it, from ear to ear over the chin."""
CHEEKS = ((117, 118, 101, 36, 205, 187, 123), (346, 347, 330, 266, 425, 411, 352))
"""Skin under each eye, beside the nose; no lip moves it much."""
FOREHEAD = (109, 10, 338, 337, 336, 9, 107, 108)
CHIN = (182, 406, 377, 152, 148)
MOUTH = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
"""The outline of the lips."""
EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
"""Corner, two of the upper lid, corner, two of the lower lid."""
BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))


def points_in_crop(track: FaceTrack, sample: FaceSample) -> Floats:
    """Return the mesh `[LANDMARKS, 2]` of the frame that a sample shows, in pixels of its crop."""
    (at,) = np.flatnonzero(track.frame_index == sample.frame_index)
    points = track.landmarks_px[at, :LANDMARKS].astype(np.float64)
    affine = cv2.invertAffineTransform(sample.frame_from_crop.astype(np.float64))
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], np.float32)


def points_in_small(landmarks_px: Floats) -> Floats:
    """Return the mesh `[LANDMARKS, 2]` of a frame in pixels of the small picture of it."""
    points = landmarks_px[:LANDMARKS]
    region = align.steady_region(points).scaled(SMALL_MARGIN)
    affine = cv2.invertAffineTransform(region.frame_from_crop(SMALL_SIDE_PX).astype(np.float64))
    return np.asarray(points.astype(np.float64) @ affine[:, :2].T + affine[:, 2], np.float32)


def hull_mask(landmarks_px: Floats, side_px: int, *, scale: float = 1.0) -> Mask:
    """Return the pixels within the hull of points `[P, 2]`, scaled about its middle."""
    hull = cv2.convexHull(landmarks_px.astype(np.float32))[:, 0]
    middle = (hull.min(axis=0) + hull.max(axis=0)) / 2
    return _filled((hull - middle) * scale + middle, side_px)


def ring_mask(landmarks_px: Floats, side_px: int) -> Mask:
    """Return the surroundings of a face: between the hull scaled by the two of `RING`."""
    near, far = (hull_mask(landmarks_px, side_px, scale=scale) for scale in RING)
    return far & ~near


def polygon_mask(landmarks_px: Floats, corners: tuple[int, ...], side_px: int) -> Mask:
    """Return the pixels within the polygon of some points of the mesh."""
    return _filled(landmarks_px[list(corners)], side_px)


def is_picture(crop: Image) -> Mask:
    """Return where a crop shows its frame; beyond it is black, with a margin for the seam."""
    shows = (cv2.inRange(crop, np.zeros(3), np.zeros(3)) == 0).astype(np.uint8)
    # Black hair is no border: only black that is wider than the holes of noise counts.
    shows = np.asarray(
        cv2.morphologyEx(shows, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)), np.uint8
    )
    return np.asarray(cv2.erode(shows, np.ones((5, 5), np.uint8)) > 0)


def energy(picture: Image, where: Mask) -> float:
    """Return the variance of the Laplacian of the grey picture over the given pixels."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)[where]
    return max(float(laplacian.var()) if laplacian.size else 0.0, LEAST_ENERGY)


def _filled(corners_px: Floats, side_px: int) -> Mask:
    drawn = np.zeros((side_px, side_px), np.uint8)
    cv2.fillPoly(drawn, [np.rint(corners_px).astype(np.int32)], 1)
    return drawn.astype(bool)
