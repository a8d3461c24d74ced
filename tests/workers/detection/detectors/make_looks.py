"""Persons whose looks have a colour or a sharpness of our choosing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.make_faces import make_clip, make_track
from workers.detection.stage import CROP_SIDE_PX, FaceClip, FaceSample


def paint(rgb: tuple[int, int, int], *, rows: int = CROP_SIDE_PX) -> np.ndarray:
    """Paint the upper rows of a black crop."""
    crop = np.zeros((CROP_SIDE_PX, CROP_SIDE_PX, 3), np.uint8)
    crop[:rows] = rgb
    return crop


def with_crops(crops: Sequence[np.ndarray], *, face_px: float = 160.0) -> FaceClip:
    """Build a person who was looked at as often as there are crops."""
    clip = make_clip(make_track(samples=len(crops), face_px=face_px))
    looks = clip.tracks[0].samples
    return with_samples(clip, [replace(s, crop=c) for s, c in zip(looks, crops, strict=True)])


def with_samples(clip: FaceClip, samples: Sequence[FaceSample]) -> FaceClip:
    """Replace the looks of a person of one track."""
    (track,) = clip.tracks
    return replace(clip, tracks=(replace(track, samples=tuple(samples)),))
