"""
Is there enough of a person to ask a network that looks at single pictures?

The limits were measured with the frame classifier on 173 clips (n = 691 looks, every figure is the
chance that a fake clip scores above a real one):

- face size: crops were scaled down and up again. 0.71 untouched, 0.67 at a face of 98 px, 0.60 at
  61 px, 0.51 at 49 px, 0.41 at 36 px. Below `MIN_FACE_PX` the answer is a coin's, then worse;
- blur: crops were blurred with a Gaussian. 0.71 untouched, 0.69 at 1 px, 0.58 at 1.5 px (median
  sharpness 6.9), 0.44 at 2 px (4.3). `MIN_SHARPNESS` is where it is lost. Of the untouched looks
  1 in 60 is below it;
- no face at all: in one film a stuffed toy is followed for one to two seconds at a time. How sure
  the landmark network is that a face is there falls, in the least sure tenth of the frames, to
  0.992 at most in 21 such stretches; it is 0.997 at least on the face longest in view of 171 clips.
"""

import numpy as np

from app.domain.evidence import AbstainReason, Abstention, DetectorName
from workers.detection.stage import FaceClip, FaceSample

MIN_FACE_PX = 60.0
MIN_SHARPNESS = 7.0
"""Variance of the Laplacian of the grey crop."""
MIN_PRESENCE = 0.995
"""In nine of ten frames; of faces that are large enough, since small ones are never so sure."""
UNSURE_SHARE = 0.1
MIN_LOOKS = 8
"""With 8 to 16 looks a person most of the accuracy of 32 is kept; with fewer one odd look rules."""


def usable_looks(clip: FaceClip, detector: DetectorName) -> tuple[FaceSample, ...] | Abstention:
    """Choose the looks that are sharp enough, by time; an abstention where too few are left."""
    # Written so that a size or sharpness that is not a number counts as too small.
    if not clip.median_face_px >= MIN_FACE_PX:
        return Abstention(
            detector=detector,
            reason=AbstainReason.FACE_TOO_SMALL,
            detail=f"the face is {clip.median_face_px:.0f} px wide and high",
            needs=f"{MIN_FACE_PX:.0f} px or more",
        )
    presence = np.concatenate([t.presence for t in clip.tracks])
    least = float(np.quantile(presence, UNSURE_SHARE))
    if not least >= MIN_PRESENCE:
        return Abstention(
            detector=detector,
            reason=AbstainReason.NOT_SURELY_A_FACE,
            detail=f"a face is there with a probability of {least:.3f} where it is least sure: "
            "a toy, a picture of one, or a face turned away may look so",
            needs=f"{MIN_PRESENCE:g} in {1 - UNSURE_SHARE:.0%} of the frames",
        )
    if len(clip.samples) < MIN_LOOKS:
        return Abstention(
            detector=detector,
            reason=AbstainReason.TOO_FEW_FRAMES,
            detail=f"{len(clip.samples)} looks at the face",
            needs=f"{MIN_LOOKS} or more",
        )
    sharp = tuple(s for s in clip.samples if s.sharpness >= MIN_SHARPNESS)
    if len(sharp) < MIN_LOOKS:
        return Abstention(
            detector=detector,
            reason=AbstainReason.TOO_BLURRED,
            detail=f"{len(sharp)} of {len(clip.samples)} looks are sharp enough",
            needs=f"{MIN_LOOKS} or more with a sharpness of {MIN_SHARPNESS:g}",
        )
    return sharp
