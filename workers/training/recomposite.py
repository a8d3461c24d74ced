"""
How is a forger's face blended in otherwise than its own compositor did it?

What a network learns of a few forgers is the code that blends their faces in: one mask, one
transfer of colours, one feather. Here the forger's pixels are taken out of the fake again, and laid
upon the real face by the blender of `synth`, drawn anew for every pair: what all of them share is
then what the forger draws, and no longer how it was pasted.
"""

from dataclasses import replace

import cv2
import numpy as np

from workers.detection.stage import Floats, Image
from workers.training.synth import (
    CROSS_RATIOS,
    FacePair,
    Fit,
    SynthOptions,
    laid_upon,
    recoloured,
    soft_mask,
    spoiled,
)

FIT_SHARE = {Fit.COLOURS: 0.4, Fit.GRADIENTS: 0.2, Fit.NONE: 0.4}
RECOLOURED_SHARE = 0.5
"""Of the faces whose colours are not made to fit, those that are coloured otherwise."""
RECOLOURED_BY = 0.6
SPOILT_SHARE = 0.4
WHOLE_SHARE = 0.3
"""Of the masks, those that are all that the forger changed, and not a part of the face."""
LEAST_OURS = 0.5
"""Of a fake's pixel, the share that the forger must have made for its part to be told from it: to
take that part out of a half makes the noise of the codec twice as strong, out of less yet more."""
FAINTEST = 0.3
"""Height of a mask under which it shows nothing; all that the forger changed is taken instead."""
_RAMP = 0.3
"""Over so much of the old mask's height the new one may set in."""
_STILL_INSIDE = 0.99


def recomposite(
    pair: FacePair,
    landmarks_px: Floats,
    *,
    options: SynthOptions,
    random: np.random.Generator,
) -> FacePair:
    """
    Blend what a forger drew with the real face once more, in another way.

    Args:
        pair: a real face, the forger's fake, and the exact mask of how much of each pixel of the
            fake the forger made.
        landmarks_px: `[468, 2]` of the face, in pixels of the pair.

    Returns:
        The pair with another fake and its exact mask, which lies within the old one. Where the
        old one is empty, the pair as it was.
    """
    if pair.mask.max() <= 0:
        return replace(pair, kind="recomposited")
    source = forged_alone(pair)
    mask = _other_mask(pair.mask, landmarks_px, options=options, random=random)
    fit = list(FIT_SHARE)[random.choice(len(FIT_SHARE), p=list(FIT_SHARE.values()))]
    if random.random() < SPOILT_SHARE:
        source = spoiled(source, random)
    if fit is Fit.NONE and random.random() < RECOLOURED_SHARE:
        source = recoloured(source, RECOLOURED_BY, random)
    return laid_upon(
        source, pair.real, mask, "recomposited", fit=fit, options=options, random=random
    )


def forged_alone(pair: FacePair) -> Image:
    """
    Take the real face's share out of a fake's pixels, `[S, S, 3]`.

    A fake is `mask * forged + (1 - mask) * real`, which is solved for `forged`. Where the mask is
    under `LEAST_OURS` what comes out means nothing.
    """
    ours = np.clip(pair.mask, LEAST_OURS, 1)[..., None]
    real = pair.real.astype(np.float32)
    return np.asarray(np.rint(real + (pair.fake - real) / ours).clip(0, 255), np.uint8)


def _other_mask(
    old: Floats, landmarks_px: Floats, *, options: SynthOptions, random: np.random.Generator
) -> Floats:
    """Draw a mask that is nothing where the old one is under half of its height."""
    room = _room(old, random)
    ratio = np.float32(random.choice(CROSS_RATIOS))
    part = soft_mask(landmarks_px, old.shape[0], options=options, random=random) * room
    takes_all = random.random() < WHOLE_SHARE or part.max() < FAINTEST
    chosen = room if takes_all else part / part.max()
    return np.asarray(ratio * chosen, np.float32)


def _room(old: Floats, random: np.random.Generator) -> Floats:
    """Shrink and soften the part that the forger made, `[S, S]`, as high as 1."""
    height = old / old.max()
    made = (height >= LEAST_OURS).astype(np.float32)
    across_px = float(np.sqrt(max(made.sum(), 1.0)))
    spread_px = random.uniform(0.008, 0.045) * across_px
    shrunk = _gaussian(made, spread_px)
    shrunk[shrunk < _STILL_INSIDE] = 0
    # No wider than it was shrunk by, or the old seam would show through the new one.
    softened = _gaussian(shrunk, random.uniform(0.3, 1.0) * spread_px)
    within = np.clip((height - LEAST_OURS) / _RAMP, 0, 1)
    room = softened * within
    if room.max() < FAINTEST:  # too small a part to be shrunk
        room = within
    return np.asarray(room / room.max(), np.float32)


def _gaussian(picture: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma_px, 0.1)), np.float32)
