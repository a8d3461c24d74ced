"""
Is the noise of the face another one than that around it?

The noise of a camera lies over the whole frame; what a network paints has none, or other noise.
Measured is the variance of what is left after a high-pass filter of steganalysis (SRM), in the face
over the ring around it, on slopes as steep: an edge leaves a residual that is no noise. Pixels at
the edges of a codec's blocks are left out where the crop lets them be told. How much more noise
there is across than along, face against ring, is told beside it.

Abstains: for small faces and few looks; where landmarks are missing, the face is dark, blurred with
all around it or reaches out of the frame; where the codec left less than rounding to whole grey
levels alone would, or face and ring have no slopes in common.

How it is fooled: nearly every clip that was sent through the web has hardly more noise than
rounding leaves (1.5 times, in the median), and then the codec is compared, which gives the face
more bits than the wall. Skin is finer than hair, and a denoiser of a phone knows faces. Of 59 fake
and 52 real clips (train, val and cal) a fake had less noise in the face than a real in 57 of 100
pairs: face swaps in 62, re-enactments in 46, talking heads in 49; of clips of the same people in
78. On 26 and 11 of the test split in 52.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Finding
from workers.detection.close_looks import (
    LEAST_LOOKS,
    MIDDLE,
    CloseLook,
    close_looks,
    median_over,
    spans_of,
)
from workers.detection.face_regions import Mask
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import CROP_SIDE_PX, Examination, FaceClip, FaceSample

SUSPICIOUS = Suspicious.LOW
TRANSFORM = Transform.LOG
"""For the reference: a ratio."""

RESIDUAL = (
    np.array(
        [
            [-1, 2, -2, 2, -1],
            [2, -6, 8, -6, 2],
            [-2, 8, -12, 8, -2],
            [2, -6, 8, -6, 2],
            [-1, 2, -2, 2, -1],
        ],
        np.float32,
    )
    / 12
)
"""Takes away what its neighbours foretell of a pixel. The SQUARE 5x5 filter of Fridrich & Kodovsky,
"Rich Models for Steganalysis of Digital Images", TIFS 2012 (SRM)."""
ROUNDING = float(np.square(RESIDUAL).sum()) / 12
"""Variance that rounding to whole grey levels alone leaves after `RESIDUAL`: 0.34."""
LEAST_NOISE = 0.8
"""Of `ROUNDING`, on the flattest slope that face and surroundings share. A picture that was only
rounded has 1; less is left of blocks that a codec made flat, in 1 real clip of 11."""
LEAST_VARIANCE = 0.01
"""Of a residual, in squared grey levels: a thirtieth of what rounding leaves."""
SLOPES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Grey levels a pixel between which face and surroundings are compared like with like: the residual
of an edge is the edge's, so only pixels on slopes as steep are set beside each other."""
LEAST_PIXELS = 100
"""Of a slope, on either side."""
BLOCK_PX = 8
"""Codecs cut pictures into squares of this side, and leave steps between them."""
REACH_PX = 2
"""How far `RESIDUAL` looks."""
LEAST_OFF_GRID = 0.1
"""Share of the crop whose residual reaches over no edge of a block. Where less is, the crop shrinks
the frame so much that blocks are no larger than the filter, and all pixels are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What a look tells of noise."""

    times: float  # variance of the residual in the face over that around it, on like slopes
    anisotropy: float  # log of across over along, in the face less that around it
    level: float  # variance of the residual of the noisier of the two, on the flattest slope


class NoiseResidual:
    """
    Compares the noise of a face with that around it.

    Args:
        reference: the same ratio in real clips.
    """

    name = DetectorName.NOISE_RESIDUAL
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Measure every look in which face and surroundings have slopes in common."""
        del prior
        looks = close_looks(clip, self.name)
        return Examination(
            evidence=looks if isinstance(looks, Abstention) else self._measure(clip, looks)
        )

    def _measure(self, clip: FaceClip, looks: tuple[CloseLook, ...]) -> Finding | Abstention:
        found = [(look, n) for look in looks if (n := noise(look)) is not None]
        level = median_over([n.level for _, n in found]) if found else 0.0
        if len(found) < LEAST_LOOKS or level < LEAST_NOISE * ROUNDING:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.TOO_COMPRESSED,
                detail=f"{len(found)} of {len(looks)} looks have pixels to compare, "
                f"with {level / ROUNDING:.1f} times the noise of rounding",
                needs=f"{LEAST_LOOKS} or more looks with {LEAST_NOISE:g} times that noise",
            )
        value = median_over([n.times for _, n in found])
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name, value, "times the noise around it", suspicious=SUSPICIOUS
            ),
            frames=len(found),
            spans=spans_of(clip, [look for look, _ in found]),
            measurements={
                "face_to_surroundings_times": value,
                "anisotropy_log_times": median_over([n.anisotropy for _, n in found]),
                "noise_rounding_times": level / ROUNDING,
            },
            caveat=(
                "Compares fine noise in the face with that around it. After compression most of it "
                "is the codec's, not the camera's."
            ),
        )


def noise(look: CloseLook) -> Noise | None:
    """Measure a look; None where face and surroundings have no slopes in common."""
    clear = off_grid(look.sample)
    if clear.mean() < LEAST_OFF_GRID:
        clear = np.ones_like(clear)
    smooth = cv2.GaussianBlur(look.grey, (0, 0), MIDDLE)
    steep = cv2.magnitude(
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    second = np.array([[1, -2, 1]], np.float32) / 2
    squares = [
        np.square(cv2.filter2D(look.grey, cv2.CV_32F, kernel))
        for kernel in (RESIDUAL, second, second.T)
    ]
    # Only what is looked at, as lists of pixels: the picture is large beside it.
    faces, rings = (
        (steep[where], [s[where] for s in squares])
        for where in (look.inner & clear, look.ring & clear)
    )
    rows: list[tuple[int, float, float, float]] = []
    for low, high in itertools.pairwise(SLOPES):
        alike = [(slope >= low) & (slope < high) for slope, _ in (faces, rings)]
        fewest = min(int(np.count_nonzero(a)) for a in alike)
        if fewest < LEAST_PIXELS:
            continue
        (f, fx, fy), (r, rx, ry) = (
            [float(s[a].mean()) + LEAST_VARIANCE for s in parts]
            for a, (_, parts) in zip(alike, (faces, rings), strict=True)
        )
        rows.append((fewest, math.log(f / r), math.log(fx / fy * ry / rx), max(f, r)))
    if not rows:
        return None
    weights, ratios, turns, levels = np.array(rows, np.float64).T
    return Noise(
        times=float(np.exp(np.average(ratios, weights=weights))),
        anisotropy=float(np.average(turns, weights=weights)),
        level=float(levels[0]),
    )


def off_grid(sample: FaceSample) -> Mask:
    """Return where in a crop the residual reaches over no edge of the frame's blocks."""
    affine = sample.frame_from_crop
    reach = max(1.0, REACH_PX * math.sqrt(abs(float(np.linalg.det(affine[:, :2])))))
    along = np.arange(CROP_SIDE_PX, dtype=np.float32)
    clear = np.ones((CROP_SIDE_PX, CROP_SIDE_PX), bool)
    for to_x, to_y, start in affine:
        # The edge between two blocks lies half a pixel before the centre of the second's first.
        place = (to_y * along[:, None] + (to_x * along + start + np.float32(0.5))) / BLOCK_PX
        past = place - np.floor(place)
        clear &= np.minimum(past, 1 - past) >= reach / BLOCK_PX
    return clear
