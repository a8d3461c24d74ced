"""
Where in the frame does a face lie, and how does it look upright?

A `FaceRegion` is a square that is turned with the head. From it follow the affine between the
pixels of an upright crop and those of the frame, and the crop itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection.stage import CROP_MARGIN, CROP_SIDE_PX, Floats, Image

# Of MediaPipe's points. Left and right are the viewer's.
LEFT_EYE = (33, 133, 159, 145)  # outer corner, inner corner, upper lid, lower lid
RIGHT_EYE = (263, 362, 386, 374)
MOUTH = (61, 291)  # corners
NOSE_TIP = 1
STEADY = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327)
"""Corners of the eyes and the nose: what no word or laugh moves."""
_STEADY_SIDE = 6.0
"""Sides of the face, as `region_of_landmarks` has it, for one root mean square distance of the
steady points from their middle; the median over frontal faces, 5.4 to 6.7 in nine of ten."""
_STEADY_DOWN = 0.07
"""Sides of the face that its middle lies below the middle of those points."""

_CLOSE_UP = 2.0
"""A crop that shrinks the frame by more is taken from a frame that was shrunk by area before: a
bilinear warp alone would leave out pixels, and moire looks like manipulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRegion:
    """A square around a face, turned so that the face is upright in it."""

    centre_px: tuple[float, float]
    side_px: float
    angle_rad: float  # by which the face is turned clockwise in the frame

    def scaled(self, factor: float) -> "FaceRegion":
        """Return the region around the same centre, `factor` times as wide."""
        return replace(self, side_px=self.side_px * factor)

    def frame_from_crop(self, side_px: int) -> Floats:
        """Return the affine `[2, 3]` from pixels of an upright crop of `side_px` to the frame."""
        scale = self.side_px / side_px
        cos, sin = scale * math.cos(self.angle_rad), scale * math.sin(self.angle_rad)
        x, y = self.centre_px
        middle = (side_px - 1) / 2
        return np.array(
            [
                [cos, -sin, x - (cos - sin) * middle],
                [sin, cos, y - (sin + cos) * middle],
            ],
            dtype=np.float32,
        )


def region_of_points(box_px: Floats, points_px: Floats) -> FaceRegion:
    """
    Return the region of a detected face.

    Args:
        box_px: `[4]` x, y, width, height.
        points_px: `[5, 2]` left eye, right eye, nose, left and right corner of the mouth, left
            and right being the viewer's.
    """
    x, y, width, height = (float(v) for v in box_px)
    points = points_px.astype(np.float64)
    return FaceRegion(
        centre_px=(x + width / 2, y + height / 2),
        side_px=max(width, height),
        angle_rad=_angle_rad(points[0], points[1], (points[3] + points[4]) / 2),
    )


def region_of_landmarks(landmarks_px: Floats) -> FaceRegion:
    """Return the region of `[P, 2]` landmarks: the smallest turned square around them all."""
    points = landmarks_px.astype(np.float64)
    angle = _angle_rad(
        points[list(LEFT_EYE)].mean(axis=0),
        points[list(RIGHT_EYE)].mean(axis=0),
        points[list(MOUTH)].mean(axis=0),
    )
    along = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    upright = points @ along.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = (low + high) / 2 @ along
    return FaceRegion(
        centre_px=(float(x), float(y)), side_px=float((high - low).max()), angle_rad=angle
    )


def steady_region(landmarks_px: Floats) -> FaceRegion:
    """
    Return the region of `[P, 2]` landmarks by what does not move with speech.

    About as wide as that of `region_of_landmarks`, and steadier: an open mouth or a lifted brow
    changes nothing, so that what moves in such a crop moves in the face.
    """
    points = landmarks_px[list(STEADY)].astype(np.float64)
    middle = points.mean(axis=0)
    angle = _angle_rad(
        landmarks_px[list(LEFT_EYE[:2])].astype(np.float64).mean(axis=0),
        landmarks_px[list(RIGHT_EYE[:2])].astype(np.float64).mean(axis=0),
        landmarks_px[[98, 327]].astype(np.float64).mean(axis=0),
    )
    side = _STEADY_SIDE * math.sqrt(float(((points - middle) ** 2).sum(axis=1).mean()))
    down = _STEADY_DOWN * side
    return FaceRegion(
        centre_px=(
            float(middle[0]) - math.sin(angle) * down,
            float(middle[1]) + math.cos(angle) * down,
        ),
        side_px=side,
        angle_rad=angle,
    )


def region_of_crop(region: FaceRegion) -> FaceRegion:
    """Return what a face sample shows: the face fills the middle 1 / CROP_MARGIN of it."""
    return region.scaled(CROP_MARGIN)


def crop(rgb: Image, region: FaceRegion, *, side_px: int = CROP_SIDE_PX) -> Image:
    """Cut a region out of a frame, upright, `[side_px, side_px, 3]`. Black beyond the frame."""
    return warp(rgb, region.frame_from_crop(side_px), size=(side_px, side_px))


def warp(source: Image, source_from_target: Floats, *, size: tuple[int, int]) -> Image:
    """
    Draw `source` anew under a similarity or affine, averaging where it shrinks.

    Args:
        source: `[H, W]` or `[H, W, 3]`.
        source_from_target: `[2, 3]`, pixel of the result -> pixel of `source`.
        size: width and height of the result.
    """
    affine = source_from_target.astype(np.float64)
    shrink = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    if shrink > _CLOSE_UP:
        source, affine = _shrunk(source, affine, size=size, factor=math.floor(shrink))
    drawn = cv2.warpAffine(
        source, affine, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0
    )
    return np.asarray(drawn, dtype=np.uint8)


def fitted(points_px: Floats, onto_px: Floats, *, may_shear: bool = False) -> Floats:
    """
    Find what brings points `[N, 2]` closest onto others, by least squares, `[2, 3]`.

    Args:
        may_shear: any affine will do; else a similarity is wanted.
    """
    points, onto = points_px.astype(np.float64), onto_px.astype(np.float64)
    x, y = points.T
    one, none = np.ones_like(x), np.zeros_like(x)
    if may_shear:
        solved = np.linalg.lstsq(np.stack([x, y, one], axis=1), onto, rcond=None)[0]
        return np.asarray(solved.T, np.float32)
    unknowns = np.concatenate(
        [np.stack([x, -y, one, none], axis=1), np.stack([y, x, none, one], axis=1)]
    )
    a, b, right, down = np.linalg.lstsq(unknowns, onto.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, right], [b, a, down]], np.float32)


def sharpness(picture: Image) -> float:
    """Return the variance of the Laplacian of the grey picture."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def resized(picture: Image, *, longer_side_px: int) -> Image:
    """Return the picture with its longer side scaled down to this; as it is where smaller."""
    height, width = picture.shape[:2]
    scale = longer_side_px / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def in_video(affine: Floats, *, scale: float) -> Floats:
    """Turn an affine into frame pixels into one into the video's, of which a frame has `scale`."""
    turned = affine / np.float32(scale)
    turned[:, 2] += np.float32((1 / scale - 1) / 2)  # the centre of the top left pixel is (0, 0)
    return turned


def points_in_video(points_px: Floats, *, scale: float) -> Floats:
    """Turn points of the frame into points of the video, of which a frame has `scale`."""
    return (points_px + np.float32(0.5)) / np.float32(scale) - np.float32(0.5)


def frontality(landmarks_px: Floats) -> float:
    """
    Say how much of the face is turned to the camera: 1 from the front, 0 from the side.

    The tip of the nose lies midway between the outer corners of the eyes in a frontal face, and
    over one of them in a half profile.
    """
    left, right, nose = (
        landmarks_px[i].astype(np.float64) for i in (LEFT_EYE[0], RIGHT_EYE[0], NOSE_TIP)
    )
    across = right - left
    width = float(across @ across)
    if not width > 0:
        return 0.0
    share = float((nose - left) @ across) / width
    return max(0.0, 1 - abs(2 * share - 1))


def _angle_rad(
    left_eye: NDArray[np.float64], right_eye: NDArray[np.float64], mouth: NDArray[np.float64]
) -> float:
    """Tell how far a face is turned, by its eyes and by where the mouth lies under them.

    The eyes alone fall together in a profile. Adding the way down to the mouth, turned by a
    quarter, keeps the angle sound there and changes nothing in a frontal face. After Karras et
    al., "Progressive Growing of GANs", ICLR 2018, appendix C.
    """
    across = right_eye - left_eye
    down = mouth - (left_eye + right_eye) / 2
    x = across + np.array([down[1], -down[0]])
    return math.atan2(float(x[1]), float(x[0]))


def _shrunk(
    source: Image, affine: NDArray[np.float64], *, size: tuple[int, int], factor: int
) -> tuple[Image, NDArray[np.float64]]:
    """Cut out what a warp needs, shrink it by a whole factor, and adapt the affine."""
    height, width = source.shape[:2]
    corners = np.array([(x, y, 1.0) for x in (0, size[0] - 1) for y in (0, size[1] - 1)])
    reached = corners @ affine.T
    low = np.clip(np.floor(reached.min(axis=0)) - factor, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)) + factor + 1, low + 1, [width, height]).astype(int)
    high -= (high - low) % factor  # whole blocks, which OpenCV averages ten times as fast
    if (high <= low).any():
        return source, affine
    small_size = [int(side) for side in (high - low) // factor]
    part = source[low[1] : high[1], low[0] : high[0]]
    small = cv2.resize(part, small_size, interpolation=cv2.INTER_AREA)
    adapted = affine / factor
    adapted[:, 2] = (affine[:, 2] - low + 0.5) / factor - 0.5
    return np.asarray(small, dtype=np.uint8), adapted


def bounding_box(points_px: Floats) -> Floats:
    """Return the upright box `[4]` x, y, width, height around points; may reach off the frame."""
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    return np.asarray(np.concatenate([low, high - low]), dtype=np.float32)


def overlap(box_px: Floats, others_px: Sequence[Floats]) -> Floats:
    """Return the intersection over union of a box with each of `N` others, `[N]`."""
    if not others_px:
        return np.zeros(0, np.float32)
    others = np.stack(others_px).astype(np.float64)
    box = box_px.astype(np.float64)
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - common
    shares = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return np.asarray(shares, np.float32)
