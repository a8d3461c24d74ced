"""
In how many ways can a forged face be laid into a frame, and which of them is taken this time?

A detector that is trained on the output of one compositor learns that compositor: its blur, its
hull, the way its colours match (noted of Face X-ray's reimplementations). So everything that
compositors in use differ in is a choice here, and `draw` makes all of them anew for each clip.
Within one clip they stay as they are: a forger too uses one set of switches for a whole video.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import Field

from workers.training.recipe import Count, Section, Share

MaskShape = Literal["whole", "ellipse", "rectangle", "oval", "forehead", "brow_to_chin", "inner"]
"""`whole`: all that the forger saw, so that its own mask alone decides. The last four are hulls of
landmarks, as in `synth.Hull`."""
Colour = Literal["none", "mean_std", "covariance", "histogram"]
Blend = Literal["feather", "poisson"]
LandmarkWarp = Literal["none", "similarity", "smooth"]
Resample = Literal["linear", "cubic", "lanczos"]
Kind = TypeVar("Kind")
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]


class Compositing(Section):
    """
    How a forged face is laid into a frame, and how the video is written.

    Lengths are shares of the side of the square that the forger sees, unless said otherwise.
    """

    mask_shape: MaskShape = "oval"
    uses_forged_mask: bool = True
    """Multiply the shape by the mask that the forger made itself."""
    grow: Annotated[float, Field(ge=-0.12, le=0.12)] = 0.0
    """By which the mask's edge is moved outwards; inwards where negative."""
    blur: Annotated[float, Field(ge=0, le=0.15)] = 0.03
    """Spread of the blur of the mask's edge."""
    wobble: Annotated[float, Field(ge=0, le=0.05)] = 0.0
    """Spread of what bends the mask's outline, alike in every frame of a clip."""
    wobble_seed: Count = 0
    brow_raise: Annotated[float, Field(ge=0, le=0.3)] = 0.12
    """By how much of the face's height the shape `forehead` reaches over the brows."""
    opacity: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The mask's greatest value."""

    colour: Colour = "mean_std"
    """How the forged face is given the colours of the one that it replaces; see `colour.py`."""
    colour_strength: Share = 1.0
    """0 leaves the face as forged, 1 gives it the other's colours in full."""
    sharpen: Annotated[float, Field(ge=-1, le=2)] = 0.0
    """Gain of unsharp masking; negative: so much of the way to a blurred face."""
    sharpen_px: Annotated[float, Field(ge=0.5, le=4)] = 1.2
    """Spread of the blur that sharpening goes by, in pixels of the frame."""
    face_jpeg: Annotated[int, Field(ge=0, le=100)] = 0
    """Quality at which the forged face is stored on the way; 0: it is not."""
    resample: Resample = "linear"
    """How the forged face is brought to the size it has in the frame."""
    blend: Blend = "feather"
    """`poisson` fits the face in by its gradients before it is laid through the mask."""

    landmark_warp: LandmarkWarp = "none"
    """Bring the forged face's landmarks onto the frame's: by a similarity, or point by point."""
    landmark_warp_amount: Share = 1.0
    smooth_s: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Spread of the smoothing of the landmarks over time."""
    bridge_s: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Longest gap, in which the face was not found, that is bridged from both of its sides."""

    visible_mark: bool = True
    """Write SYNTHETIC into the picture. Training data has none: it would be all that is learned."""
    crf: Annotated[int, Field(ge=0, le=51)] = 20
    """Quality of H.264, 0 best to 51 worst."""
    preset: Preset = "veryfast"


_SHAPES: dict[MaskShape, float] = {
    "oval": 0.33,
    "brow_to_chin": 0.2,
    "forehead": 0.15,
    "inner": 0.12,
    "whole": 0.05,
    "ellipse": 0.1,
    "rectangle": 0.05,
}
_LEAST_BLUR: dict[MaskShape, float] = {"whole": 0.03, "rectangle": 0.03}
"""Squares with a hard edge are shown by nobody."""
_COLOURS: dict[Colour, float] = {
    "mean_std": 0.4,
    "covariance": 0.15,
    "histogram": 0.25,
    "none": 0.2,
}
_SHARPENINGS: dict[tuple[float, float], float] = {
    (0.0, 0.0): 0.55,
    (0.2, 1.2): 0.3,
    (-1.0, -0.3): 0.15,
}
_BLENDS: dict[Blend, float] = {"feather": 5 / 6, "poisson": 1 / 6}
_RESAMPLES: dict[Resample, float] = {"linear": 0.4, "cubic": 0.4, "lanczos": 0.2}
_PRESETS: dict[Preset, float] = {
    "ultrafast": 0.1,
    "superfast": 0.15,
    "veryfast": 0.3,
    "faster": 0.2,
    "fast": 0.15,
    "medium": 0.1,
}
_WARPS: dict[LandmarkWarp, float] = {"none": 0.5, "similarity": 0.25, "smooth": 0.25}


def draw(seed: int) -> Compositing:
    """
    Draw every choice; the same seed gives the same.

    Why these ranges:
        mask: hulls are what DeepFaceLab and FaceSwap offer, ellipses and rectangles what the first
            face swappers did, the forger's own mask what faceswap-GAN does. Three in five have
            the forger's mask in them. The edge moves by up to 5 % of the view either way and is
            blurred over 0.5 to 7 %: from a seam that one sees to one that nobody does. Squares
            are rare and never hard.
        colour: one in five is left as forged, as careless fakes are; the others are matched by
            one of three methods, mostly in full.
        sharpen: 30 % are sharpened and 15 % softened, else a soft face would be the one mark.
        blend: Poisson in one of six; more would be all that a detector sees, as it is the one
            method that changes the whole face at once.
        opacity: one in seven is a little transparent, 0.85 and more; ghosts are shown by nobody.
        codec: crf 16 to 32 and six presets cover what a camera and what a messenger leaves.
    """
    dice = _Dice(seed)
    shape = dice.one_of(_SHAPES)
    return Compositing(
        mask_shape=shape,
        uses_forged_mask=shape == "whole" or dice.falls(0.55),
        grow=dice.between(-0.05, 0.05),
        blur=dice.between(_LEAST_BLUR.get(shape, 0.005), 0.07, by_ratio=True),
        wobble=dice.between(0.002, 0.02) if dice.falls(0.5) else 0.0,
        wobble_seed=dice.whole(0, 2**16),
        brow_raise=dice.between(0.05, 0.22),
        opacity=dice.between(0.85, 1.0) if dice.falls(1 / 7) else 1.0,
        colour=dice.one_of(_COLOURS),
        colour_strength=dice.between(0.6, 1.0) if dice.falls(0.4) else 1.0,
        sharpen=dice.between(*dice.one_of(_SHARPENINGS)),
        sharpen_px=dice.between(0.7, 2.5),
        face_jpeg=dice.whole(50, 97) if dice.falls(0.2) else 0,
        resample=dice.one_of(_RESAMPLES),
        blend=dice.one_of(_BLENDS),
        landmark_warp=dice.one_of(_WARPS),
        landmark_warp_amount=dice.between(0.5, 1.0),
        smooth_s=dice.between(0.01, 0.08) if dice.falls(0.5) else 0.0,
        bridge_s=dice.between(0.0, 0.5),
        visible_mark=False,
        crf=dice.whole(16, 33),
        preset=dice.one_of(_PRESETS),
    )


class _Dice:
    """Random numbers, as choices want them; four digits, which a record can hold as they are."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng([seed, _OURS])

    def falls(self, share: float) -> bool:
        return bool(self._random.random() < share)

    def between(self, low: float, high: float, *, by_ratio: bool = False) -> float:
        at = float(self._random.random())
        number = low * (high / low) ** at if by_ratio else low + (high - low) * at
        return round(number, 4)

    def whole(self, low: int, end: int) -> int:
        return int(self._random.integers(low, end))

    def one_of(self, shares: Mapping[Kind, float]) -> Kind:
        return list(shares)[int(self._random.choice(len(shares), p=list(shares.values())))]


_OURS = 0x5A
"""Sets these numbers apart from those that the same seed gives elsewhere."""
