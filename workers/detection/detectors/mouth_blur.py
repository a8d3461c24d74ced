"""
Is an open mouth softer than the eyes?

Generators that set a mouth in motion paint teeth as one pale bar, and lips without their creases,
under eyes that they left as they were. Measured is the power of fine detail (between Gaussians of 1
and 2 px of the crop) between the lips and along their inner edge, in that of the eyes with their
lids; the median over the looks with an open mouth. The lower lip, and how the detail rises as the
mouth opens, are told beside it.

Abstains: for small faces and few looks; where landmarks are missing, the face is dark, blurred with
all around it or reaches out of the frame; where the mouth is open in hardly any look.

How it is fooled: a face swap softens the eyes as well, so that it shows nothing. Closed teeth, a
beard, a microphone and lipstick change it, and so do glasses over the eyes. Of 65 fake and 54 real
clips (train, val and cal) the mouth of a fake was softer than that of a real in 59 of 100 pairs:
face swaps in 54, re-enactments in 66, talking heads in 66, and both lip-synced clips in 92; of
clips of the same people in 61. On 27 and 12 of the test split, which has no lip-synced clip, in 40:
worse than a coin, so little is certain.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Finding
from workers.detection.close_looks import (
    CloseLook,
    bands,
    close_looks,
    median_over,
    power,
    spans_of,
    times,
)
from workers.detection.face_regions import EYES, Mask, polygon_mask
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import CROP_SIDE_PX, Examination, FaceClip, Floats

SUSPICIOUS = Suspicious.LOW
TRANSFORM = Transform.LOG
"""For the reference: a ratio."""

INNER_MOUTH = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
"""What is between the lips: the teeth, where they show."""
LOWER_LIP = (
    *(61, 78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 291),
    *(375, 321, 405, 314, 17, 84, 181, 91, 146),
)
UPPER_MIDDLE, LOWER_MIDDLE = 13, 14
"""Inner edges of the lips."""
TOP, BOTTOM = 10, 152
"""Of the mesh."""
LIP_EDGE_PX = 5
LID_EDGE_PX = 9
"""The mouth is taken with the edges of the lips, the eyes with their lids: so much wider in all."""
LEAST_OPENING = 0.02
"""Of the height of the face, 3 to 4 px of a crop: below it there is nothing between the lips."""
LEAST_SPREAD = 1e-6
"""Sum of squares of the openings about their mean; with less there is no slope."""
LEAST_OPEN_LOOKS = 3
"""With one or two, a single odd look rules. Of real clips one in 30 has fewer."""


class MouthBlur:
    """
    Compares the fine detail of an open mouth with that of the eyes.

    Args:
        reference: the same ratio in real clips.
    """

    name = DetectorName.MOUTH_BLUR
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Measure the looks with an open mouth."""
        del prior
        looks = close_looks(clip, self.name)
        return Examination(
            evidence=looks if isinstance(looks, Abstention) else self._measure(clip, looks)
        )

    def _measure(self, clip: FaceClip, looks: tuple[CloseLook, ...]) -> Finding | Abstention:
        opened = [look for look in looks if opening(look.points_px) >= LEAST_OPENING]
        if len(opened) < LEAST_OPEN_LOOKS:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.MOUTH_STILL,
                detail=f"the mouth is open in {len(opened)} of {len(looks)} looks",
                needs=f"{LEAST_OPEN_LOOKS} or more, open by {LEAST_OPENING:.0%} of the face",
            )
        mouths, lips = zip(*(_ratios(look) for look in opened), strict=True)
        openings = [opening(look.points_px) for look in opened]
        value = median_over(mouths)
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name, value, "times as detailed as the eyes", suspicious=SUSPICIOUS
            ),
            frames=len(opened),
            spans=spans_of(clip, opened),
            measurements={
                "mouth_to_eyes_times": value,
                "lower_lip_to_eyes_times": median_over(lips),
                "median_opening_face_heights": median_over(openings),
                "rise_per_face_height": slope(openings, np.log(mouths)),
            },
            caveat=(
                "Compares detail in the open mouth with detail in the eyes. It tells little of "
                "replaced faces, whose eyes are soft as well."
            ),
        )


def opening(points_px: Floats) -> float:
    """Return how far the lips are apart, in heights of the face."""
    apart = np.linalg.norm(points_px[UPPER_MIDDLE] - points_px[LOWER_MIDDLE])
    return float(apart / np.linalg.norm(points_px[TOP] - points_px[BOTTOM]))


def slope(openings: list[float], values: Floats) -> float:
    """Return how steeply values rise with the opening; 0 where all are open alike."""
    apart = np.asarray(openings) - np.mean(openings)
    spread = float(apart @ apart)
    return float(apart @ (values - values.mean())) / spread if spread > LEAST_SPREAD else 0.0


def _ratios(look: CloseLook) -> tuple[float, float]:
    """Return the fine detail of the mouth and of the lower lip, in those of the eyes."""
    fine = bands(look.grey).fine
    eyes = _widened(_polygons(look, EYES), LID_EDGE_PX)
    mouth = _widened(_polygons(look, (INNER_MOUTH,)), LIP_EDGE_PX)
    lip = _polygons(look, (LOWER_LIP,))
    detail = power(fine, eyes & look.shows)
    parts = (power(fine, part & look.shows) for part in (mouth, lip))
    first, second = (times(part, detail) for part in parts)
    return first, second


def _polygons(look: CloseLook, polygons: tuple[tuple[int, ...], ...]) -> Mask:
    masks = [polygon_mask(look.points_px, polygon, CROP_SIDE_PX) for polygon in polygons]
    return np.asarray(np.logical_or.reduce(masks))


def _widened(mask: Mask, by_px: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((by_px, by_px), np.uint8)).astype(bool)
