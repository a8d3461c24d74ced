"""
In which looks at a person can pixels be compared, those of the face with those around it?

What the cues of blur, colour and noise have in common: the looks that they can use, where the face
lies in each, and how much detail of which size a picture has.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Span
from workers.detection.face_regions import (
    INNER,
    Mask,
    hull_mask,
    is_picture,
    points_in_crop,
    ring_mask,
)
from workers.detection.stage import CROP_SIDE_PX, FaceClip, FaceSample, FaceTrack, Floats

LEAST_FACE_PX = 60.0
"""As of the networks that look at single pictures; a crop triples what is smaller."""
LEAST_LOOKS = 8
LEAST_DETAIL = 7.0
"""Variance of the Laplacian, of the face or of what is around it, whichever is sharper: a face
alone may be as blurred as it likes. The limit is that of the networks."""
LEAST_LIGHT = 20.0
"""Median grey of the face, of 255; there is no texture left to compare below it. The darkest face
of our 172 clips has 43."""
LEAST_IN_PICTURE = 0.6
"""Share of the face, and of the ring around it, that lies within the frame."""

FINE, MIDDLE, COARSE = 1.0, 2.0, 4.0
"""Deviations of the Gaussians between which bands of detail lie, in pixels of the crop."""
LEAST_POWER = 0.05
"""Of a band that others are measured in, in squared grey levels; rounding leaves less there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CloseLook:
    """A look at a face that can be measured."""

    sample: FaceSample
    points_px: Floats  # [LANDMARKS, 2] the mesh, in pixels of the crop
    grey: Floats  # [CROP_SIDE_PX, CROP_SIDE_PX] in 0..255
    shows: Mask  # where the crop shows its frame
    inner: Mask  # the face, away from its outline
    ring: Mask  # what is around it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bands:
    """A picture taken apart by the size of its details, `[H, W]` each."""

    finest: Floats  # what a Gaussian of FINE takes away
    fine: Floats  # between FINE and MIDDLE
    coarse: Floats  # between MIDDLE and COARSE


def close_looks(clip: FaceClip, detector: DetectorName) -> tuple[CloseLook, ...] | Abstention:
    """
    Choose the looks at a person that can be measured, by time.

    Returns:
        `LEAST_LOOKS` or more; or an abstention, with what most of the looks lack.
    """
    # Written so that a size that is not a number counts as too small.
    if not clip.median_face_px >= LEAST_FACE_PX:
        return Abstention(
            detector=detector,
            reason=AbstainReason.FACE_TOO_SMALL,
            detail=f"the face is {clip.median_face_px:.0f} px wide and high",
            needs=f"{LEAST_FACE_PX:.0f} px or more",
        )
    if len(clip.samples) < LEAST_LOOKS:
        return Abstention(
            detector=detector,
            reason=AbstainReason.TOO_FEW_FRAMES,
            detail=f"{len(clip.samples)} looks at the face",
            needs=f"{LEAST_LOOKS} or more",
        )
    looks = [_close_look(track, sample) for track in clip.tracks for sample in track.samples]
    usable = tuple(look for look in looks if isinstance(look, CloseLook))
    if len(usable) >= LEAST_LOOKS:
        return usable
    lacking = Counter(look for look in looks if not isinstance(look, CloseLook))
    ((reason, count),) = lacking.most_common(1)
    return Abstention(
        detector=detector,
        reason=reason,
        detail=f"{len(usable)} of {len(looks)} looks can be measured; {count} {_LACKS[reason]}",
        needs=f"{LEAST_LOOKS} or more looks, {_NEEDS[reason]}",
    )


def spans_of(clip: FaceClip, looks: Sequence[CloseLook]) -> tuple[Span, ...]:
    """Return the stretches that looks rest on: from look to look, as long as none is left out."""
    used = {look.sample.frame_index for look in looks}
    spans: list[Span] = []
    for track in clip.tracks:
        run: list[float] = []
        for sample in track.samples:
            if sample.frame_index in used:
                run.append(sample.pts_s)
            elif run:
                spans.append(Span(first_s=run[0], last_s=run[-1]))
                run = []
        if run:
            spans.append(Span(first_s=run[0], last_s=run[-1]))
    return tuple(spans)


def bands(grey: Floats) -> Bands:
    """Take a picture `[H, W]` apart by the size of its details."""
    fine, middle, coarse = (cv2.GaussianBlur(grey, (0, 0), s) for s in (FINE, MIDDLE, COARSE))
    return Bands(
        finest=np.asarray(grey - fine), fine=np.asarray(fine - middle), coarse=middle - coarse
    )


def power(band: Floats, where: Mask) -> float:
    """Return the mean square of a band over some pixels; 0 where there are none."""
    return float(np.mean(np.square(band[where]))) if where.any() else 0.0


def times(part: float, whole: float) -> float:
    """Return how many times `whole` a power is; above 0 and finite, neither counts as nothing."""
    return max(part, LEAST_POWER / 100) / max(whole, LEAST_POWER)


def median_over(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the median of what is a number."""
    return float(np.nanmedian(np.asarray(values, np.float64)))


_LACKS = {
    AbstainReason.LANDMARKS_UNSTABLE: "have no landmarks",
    AbstainReason.TOO_DARK: "are too dark",
    AbstainReason.TOO_BLURRED: "are blurred, face and surroundings alike",
    AbstainReason.TOO_FEW_FRAMES: "reach beyond the frame",
}
_NEEDS = {
    AbstainReason.LANDMARKS_UNSTABLE: "with landmarks",
    AbstainReason.TOO_DARK: f"the face brighter than {LEAST_LIGHT:.0f} of 255",
    AbstainReason.TOO_BLURRED: f"face or surroundings with a sharpness of {LEAST_DETAIL:g}",
    AbstainReason.TOO_FEW_FRAMES: f"{LEAST_IN_PICTURE:.0%} of what is around the face in the frame",
}


def _close_look(track: FaceTrack, sample: FaceSample) -> CloseLook | AbstainReason:
    points = points_in_crop(track, sample)
    if not _is_a_face(points):
        return AbstainReason.LANDMARKS_UNSTABLE
    grey = cv2.cvtColor(sample.crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    face = hull_mask(points, CROP_SIDE_PX)
    if not np.median(grey[face]) >= LEAST_LIGHT:
        return AbstainReason.TOO_DARK
    shows = is_picture(sample.crop)
    inner, ring = hull_mask(points, CROP_SIDE_PX, scale=INNER), ring_mask(points, CROP_SIDE_PX)
    whole = np.count_nonzero(inner), np.count_nonzero(ring)
    inner, ring = inner & shows, ring & shows
    seen = np.count_nonzero(inner), np.count_nonzero(ring)
    if any(part < LEAST_IN_PICTURE * all_ for part, all_ in zip(seen, whole, strict=True)):
        return AbstainReason.TOO_FEW_FRAMES
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    if max(laplacian[inner].var(), laplacian[ring].var()) < LEAST_DETAIL:
        return AbstainReason.TOO_BLURRED
    return CloseLook(
        sample=sample, points_px=points, grey=grey, shows=shows, inner=inner, ring=ring
    )


def _is_a_face(points_px: Floats) -> bool:
    """Tell whether a mesh lies where a crop has its face, as large as it is there."""
    if not np.isfinite(points_px).all():
        return False
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    middle = (low + high) / 2
    return bool(
        (high - low).min() >= CROP_SIDE_PX / 4
        and (high - low).max() <= CROP_SIDE_PX
        and (np.abs(middle - CROP_SIDE_PX / 2) <= CROP_SIDE_PX / 4).all()
    )
