"""
What does a forger see of a face, and what is kept of it to train on?

The forger sees a little more than the region of the face. What is kept is wider, so that a face can
be turned, shifted and scaled without running into a border. Both are squares around the same
middle, upright as the head is.
"""

import cv2
import numpy as np

from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.stage import Floats, Image
from workers.training.placing import cut_out, points_in_crop

VIEW_MARGIN = 1.12
"""Side of what the forger sees, over that of the face's region."""
STORED_PX = 256
STORED_MARGIN = 1.6
"""Side of what is kept, likewise. The view is then the middle 179 px of 256: what Lu's faceswap-GAN
v2.2 trains on, which takes 160 to 198 px of the middle of 256."""
STORED_VIEW_PX = STORED_PX * VIEW_MARGIN / STORED_MARGIN
_MIDDLE = (STORED_PX - 1) / 2


def view_region(region: FaceRegion) -> FaceRegion:
    """Return what the forger sees, given the face's region (`align.region_of_landmarks`)."""
    return region.scaled(VIEW_MARGIN)


def stored_region(region: FaceRegion) -> FaceRegion:
    """Return what is kept, given the face's region."""
    return region.scaled(STORED_MARGIN)


def view_in_stored() -> FaceRegion:
    """Return where the view lies in a kept picture."""
    return FaceRegion(centre_px=(_MIDDLE, _MIDDLE), side_px=STORED_VIEW_PX, angle_rad=0.0)


def stored_picture(rgb: Image, region: FaceRegion) -> Image:
    """
    Cut out what is kept, `[STORED_PX, STORED_PX, 3]`; what lies beyond the frame is mirrored.

    Args:
        rgb: `[H, W, 3]`, the frame.
        region: of the face.
    """
    wide = stored_region(region)
    reaches_off = share_off_frame(rgb, wide) > 0
    border = cv2.BORDER_REFLECT_101 if reaches_off else cv2.BORDER_CONSTANT
    return cut_out(rgb, wide, side_px=STORED_PX, border=border)


def stored_points(points_px: Floats, region: FaceRegion) -> Floats:
    """Turn points `[P, 2]` of the frame into points of the kept picture."""
    return points_in_crop(points_px, stored_region(region), side_px=STORED_PX)


def view_of_stored(stored: Image, side_px: int) -> Image:
    """Return what the forger sees of a kept picture, `[side_px, side_px, 3]`, as swapping does."""
    return align.crop(np.asarray(stored), view_in_stored(), side_px=side_px)


def points_in_view(stored_points_px: Floats, side_px: int) -> Floats:
    """Turn points `[P, 2]` of a kept picture into points of its view."""
    return points_in_crop(stored_points_px, view_in_stored(), side_px=side_px)


def share_off_frame(rgb: Image, region: FaceRegion) -> float:
    """Return how far a region reaches beyond the frame at most, as a share of its side."""
    affine = region.frame_from_crop(2)
    corners = np.array([(x, y, 1.0) for x in (-0.5, 1.5) for y in (-0.5, 1.5)]) @ affine.T
    height, width = rgb.shape[:2]
    beyond = np.maximum(-0.5 - corners, corners - np.array([width - 0.5, height - 0.5]))
    return max(0.0, float(beyond.max()) / region.side_px)
