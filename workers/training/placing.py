"""Which face of a picture is meant, where do its points lie, and how is it cut out?"""

from dataclasses import dataclass

import cv2
import numpy as np

from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.face_detectors import FoundFaces
from workers.detection.faces import LEAST_PRESENCE, LEAST_SIDE_PX
from workers.detection.stage import LANDMARKS, Floats, Image
from workers.kit import FaceNetworks

_PICTURE_MARGIN = 1.6
"""What pictures of single faces are mostly cut out with."""
_PLACED_TIMES = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedFace:
    """Where a face lies in a picture."""

    region: FaceRegion
    points_px: Floats  # [LANDMARKS, 2] in pixels of the picture
    presence: float  # in [0, 1]; how sure the landmark network is that a face is there


class FacePlacer:
    """Finds one face a picture, with its points."""

    def __init__(self, networks: FaceNetworks) -> None:
        self._finder = networks.detector
        self._mesh = networks.landmarks

    def faces(self, rgb: Image) -> FoundFaces:
        """Find every face of a picture `[H, W, 3]`."""
        return self._finder.find(rgb)

    def find(
        self, rgb: Image, before_px: Floats | None, found: FoundFaces | None = None
    ) -> PlacedFace | None:
        """
        Return the face that was there before, or else the largest; None where there is none.

        Args:
            rgb: `[H, W, 3]`.
            before_px: `[4]` box of the face in the picture before, x, y, width, height.
            found: what `faces` said of the picture; it is asked unless given.
        """
        found = self.faces(rgb) if found is None else found
        order = list(np.argsort(-found.box_px[:, 2] * found.box_px[:, 3], kind="stable"))
        if before_px is not None and len(found):
            order.sort(key=lambda i: -float(align.overlap(before_px, [found.box_px[i]])[0]))
        for i in order:
            region = align.region_of_points(found.box_px[i], found.point_px[i])
            if region.side_px < LEAST_SIDE_PX:
                continue
            if (placed := self._placed(rgb, region)) is not None:
                return placed
        return None

    def guess(self, rgb: Image) -> PlacedFace | None:
        """Look where the face is in a picture that was cut out around one: in the middle."""
        height, width = rgb.shape[:2]
        middle = FaceRegion(
            centre_px=((width - 1) / 2, (height - 1) / 2),
            side_px=min(width, height) / _PICTURE_MARGIN,
            angle_rad=0.0,
        )
        return self._placed(rgb, middle)

    def _placed(self, rgb: Image, region: FaceRegion) -> PlacedFace | None:
        """Place the points, and once more from where they are: as a face is followed."""
        placed: PlacedFace | None = None
        for _ in range(_PLACED_TIMES):
            landmarks = self._mesh.place(rgb, region)
            if landmarks.presence < LEAST_PRESENCE or not np.isfinite(landmarks.points_px).all():
                return None
            region = align.region_of_landmarks(landmarks.points_px)
            placed = PlacedFace(
                region=region,
                points_px=landmarks.points_px[:LANDMARKS],
                presence=landmarks.presence,
            )
        return placed


def cut_out(
    rgb: Image, region: FaceRegion, *, side_px: int, border: int = cv2.BORDER_CONSTANT
) -> Image:
    """
    Cut a region out of a picture, upright, `[side_px, side_px, 3]`.

    Args:
        border: what lies beyond the picture, in OpenCV's words; black unless told otherwise.
    """
    if border == cv2.BORDER_CONSTANT:
        return align.crop(rgb, region, side_px=side_px)
    # A picture that was cut close has no surroundings; black ones would mark it as a still.
    pad = int(region.side_px / 2)
    padded = cv2.copyMakeBorder(rgb, pad, pad, pad, pad, border)
    x, y = region.centre_px
    moved = FaceRegion(
        centre_px=(x + pad, y + pad), side_px=region.side_px, angle_rad=region.angle_rad
    )
    return align.crop(np.asarray(padded, np.uint8), moved, side_px=side_px)


def points_in_crop(points_px: Floats, region: FaceRegion, *, side_px: int) -> Floats:
    """Turn points `[P, 2]` of a picture into points of a region that was cut out of it."""
    inverse = cv2.invertAffineTransform(region.frame_from_crop(side_px))
    return np.asarray(points_px @ inverse[:, :2].T + inverse[:, 2], np.float32)
