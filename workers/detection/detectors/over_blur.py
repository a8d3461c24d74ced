"""
Is the face softer than what is around it?

A replaced or re-drawn face is made at the size of its network and blended in, so that it lacks fine
detail that the hair, the ears and the collar around it have. Measured is the power of fine detail
(between Gaussians of 1 and 2 px of the crop) over that of coarse detail (2 to 4 px), in the face
away from its outline, in the same of the ring around it: blur that is the same in both, the light
and the contrast drop out. The skin of cheeks and forehead, in the whole face, is told beside it.

Abstains: for small faces and few looks; where landmarks are missing, the face is dark or reaches
out of the frame; where face and surroundings are blurred alike, or nothing around the face could be
sharp. A face that alone is blurred is what is looked for, and no reason to abstain.

How it is fooled: a shallow focus and a beauty filter soften faces, a wall behind the head that is
out of focus sharpens them by comparison, and a fake that is stored small is as soft as its
surroundings. Of 66 fake and 56 real clips (train, val and cal) a fake was softer than a real in 64
of 100 pairs: face swaps in 68, re-enactments in 71, talking heads in 38, as those are soft all
over; of clips of the same people in 79. On 27 and 12 of the test split in 57. With the smoothness
of the skin alone it was 41: the skin of talking heads is smooth (88), but a swap softens its eyes
more than its skin (30).
"""

from collections.abc import Mapping

import numpy as np

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Finding
from workers.detection.close_looks import (
    LEAST_LOOKS,
    Bands,
    CloseLook,
    bands,
    close_looks,
    median_over,
    power,
    spans_of,
    times,
)
from workers.detection.face_regions import CHEEKS, FOREHEAD, Mask, polygon_mask
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import CROP_SIDE_PX, Examination, FaceClip

SUSPICIOUS = Suspicious.LOW
TRANSFORM = Transform.LOG
"""For the reference: a ratio."""
LEAST_STRUCTURE = 1.0
"""Power of coarse detail around the face, in squared grey levels. A plain wall has less, and how
sharp a wall is cannot be told. Of our clips the plainest has 6."""


class OverBlur:
    """
    Compares how much fine detail a face has, for its coarse detail, with the same around it.

    Args:
        reference: the same ratio in real clips.
    """

    name = DetectorName.OVER_BLUR
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Measure every look that has something around the face to compare it with."""
        del prior
        looks = close_looks(clip, self.name)
        return Examination(
            evidence=looks if isinstance(looks, Abstention) else self._measure(clip, looks)
        )

    def _measure(self, clip: FaceClip, looks: tuple[CloseLook, ...]) -> Finding | Abstention:
        parts = [(look, bands(look.grey)) for look in looks]
        usable = [(k, b) for k, b in parts if power(b.coarse, k.ring) >= LEAST_STRUCTURE]
        if len(usable) < LEAST_LOOKS:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.TOO_BLURRED,
                detail=f"in {len(usable)} of {len(clip.samples)} looks there is something around "
                "the face that could be sharp",
                needs=f"{LEAST_LOOKS} or more",
            )
        value = median_over([fineness(b, k.inner) / fineness(b, k.ring) for k, b in usable])
        skin = [_skin(k) for k, _ in usable]
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name, value, "times as sharp as its surroundings", suspicious=SUSPICIOUS
            ),
            frames=len(usable),
            spans=spans_of(clip, [k for k, _ in usable]),
            measurements={
                "face_to_surroundings_times": value,
                "skin_to_face_times": median_over(
                    [
                        times(power(b.fine, s), power(b.fine, k.inner))
                        for (k, b), s in zip(usable, skin, strict=True)
                    ]
                ),
            },
            caveat=(
                "Compares detail in the face with detail around it. A shallow focus, make-up and "
                "beauty filters soften real faces in the same way."
            ),
        )


def fineness(parts: Bands, where: Mask) -> float:
    """Return how much fine detail some pixels have for their coarse detail; blur lowers it."""
    return times(power(parts.fine, where), power(parts.coarse, where))


def _skin(look: CloseLook) -> Mask:
    """Return the cheeks and the forehead."""
    polygons = [polygon_mask(look.points_px, p, CROP_SIDE_PX) for p in (*CHEEKS, FOREHEAD)]
    return np.asarray(np.logical_or.reduce(polygons) & look.shows)
