"""
Which pixels of a fake differ from the real frame that it was made from?

A fake and its source agree outside the face but for what the codec did. So the difference, once the
two are laid on each other, is the mask that the data sets do not give. Where the pair does not
agree outside the face either, nothing can be said, and nothing is.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection.face_regions import is_picture
from workers.detection.stage import Floats, Image

FACE_REACH, SURROUNDINGS_FROM = 1.2, 1.35
"""Times the hull of the mesh points. A manipulation ends within the first: the mesh itself ends
under the hair and at the jaw, and blends reach a little further. The codec is judged beyond the
second, where not even the halo of a blend remains."""
MOST_SHIFT_SHARE = 0.04
"""Of the side. Clips that were cut a few pixels narrower are mended; more is another frame."""
MOST_NOISE_MEDIAN, MOST_NOISE_P90 = 8.0, 20.0
"""Of 255, outside the face after alignment. Codec noise has a median of 0 to 6 and a ninth decile
of 0 to 16 (quality c40); a pair that is a frame or a turn off has 20 and more."""
LEAST_DIFFERENCE, MOST_DIFFERENCE = 7.0, 20.0
"""Of 255, smoothed: what counts as differing lies between these, by how much the pair differs
outside the face and at most in it. Where the noise alone would ask for more, it is not trusted."""
LEAST_AREA_SHARE = 0.012
"""Of the picture. A smaller mark is a compression artefact, not a manipulation."""
_LEAST_PART_SHARE = 0.003
_LEAST_FILLED_SHARE = 0.25  # of the region; less are scattered specks, not one manipulation
_HALO_SHARE = 0.35  # of the strong differences; weaker ones beside them are their smoothed edge
_ENOUGH_SURROUNDINGS = 0.05
_LEAST_SHIFT_PX = 0.05  # undoing less would only soften the source
_NOISE_HEADROOM = 1.25


def difference_mask(real: Image, fake: Image, landmarks: Floats | None) -> NDArray[np.uint8] | None:
    """
    Mark the pixels of `fake` that differ from its aligned source.

    A translation between the two, whole frames cut narrower or a fraction of a pixel, is found
    outside the face and undone first (enhanced correlation; Evangelidis & Psarakis, "Parametric
    Image Alignment Using Enhanced Correlation Coefficient Maximization", TPAMI 2008).

    Args:
        real: `[S, S, 3]`, the source, cut at the same place as `fake`.
        fake: `[S, S, 3]`.
        landmarks: `[468, 2]` mesh points in `fake`, px. None: the face fills the middle, as it
            does in a crop that was cut around it.

    Returns:
        `[S, S]` 0..255, soft at its edge. None where the pair cannot be trusted: it disagrees
        outside the face (not the same moment, or not the same clip), it shows too little beside
        the face to tell, or it agrees everywhere, as frames do that a generator left alone.
    """
    side = fake.shape[0]
    laid = _lay_upon(real, fake, ~_face(side, landmarks, SURROUNDINGS_FROM) & is_picture(fake))
    if laid is None:
        return None
    source, around = laid
    difference = cv2.absdiff(source, fake).max(axis=2)
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), side / 100)
    noise = _NOISE_HEADROOM * float(np.percentile(smooth[around], 95))
    if (
        np.median(difference[around]) > MOST_NOISE_MEDIAN
        or np.percentile(difference[around], 90) > MOST_NOISE_P90
        or noise > MOST_DIFFERENCE
    ):
        return None
    face = _face(side, landmarks, FACE_REACH)
    halo = _HALO_SHARE * float(np.percentile(smooth[face], 90))
    threshold = max(noise, LEAST_DIFFERENCE, min(halo, MOST_DIFFERENCE))
    differs = (smooth > threshold) & face
    region = _of_the_face(differs)
    if region.mean() < LEAST_AREA_SHARE or differs[region].mean() < _LEAST_FILLED_SHARE:
        return None
    soft = cv2.GaussianBlur(region.astype(np.float32) * 255, (0, 0), side / 80)
    return np.asarray(np.rint(soft), np.uint8)


def _face(side: int, landmarks: Floats | None, reach: float) -> NDArray[np.bool_]:
    """Draw the face, `reach` times as wide as its hull, `[S, S]`."""
    drawn = np.zeros((side, side), np.uint8)
    if landmarks is None:
        middle, radius = side // 2, round(side / 4 * reach)
        cv2.circle(drawn, (middle, middle), radius, 1, cv2.FILLED)
    else:
        middle_px = landmarks.mean(axis=0)
        wider = (landmarks - middle_px) * reach + middle_px
        cv2.fillConvexPoly(drawn, cv2.convexHull(np.rint(wider).astype(np.int32)), 1)
    return np.asarray(drawn > 0)


def _lay_upon(
    real: Image, fake: Image, around: NDArray[np.bool_]
) -> tuple[Image, NDArray[np.bool_]] | None:
    """
    Shift `real` onto `fake` by what lies around the face.

    Returns:
        The shifted picture, and what of `around` it covers. None where they cannot be laid on
        each other, or where too little is around the face.
    """
    if around.mean() < _ENOUGH_SURROUNDINGS:
        return None
    size = (fake.shape[1], fake.shape[0])
    wanted = np.asarray(cv2.cvtColor(fake, cv2.COLOR_RGB2GRAY), np.uint8)
    found = np.asarray(cv2.cvtColor(real, cv2.COLOR_RGB2GRAY), np.uint8)
    shift: NDArray[Any] = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, shift = cv2.findTransformECC(
            wanted, found, shift, cv2.MOTION_TRANSLATION, stop, around.astype(np.uint8), 5
        )
    except cv2.error:  # nothing to hold on to: a flat background, or no likeness at all
        shift = np.eye(2, 3, dtype=np.float32)
    reach = float(np.abs(shift[:, 2]).max())
    if not reach <= MOST_SHIFT_SHARE * fake.shape[0]:
        return None
    shown = is_picture(real).astype(np.uint8)
    if reach >= _LEAST_SHIFT_PX:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        real = np.asarray(cv2.warpAffine(real, shift, size, flags=flags), np.uint8)
        shown = np.asarray(cv2.warpAffine(shown, shift, size, flags=flags), np.uint8)
    covered = around & (shown > 0)
    return (real, covered) if covered.mean() >= _ENOUGH_SURROUNDINGS else None


def _of_the_face(differs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """
    Close the gaps of what differs, drop specks, and draw the smallest convex shape around it all.

    Generators paste one piece. Where the new cheek happens to look like the old, the two do not
    differ, and yet it was pasted.
    """
    side = differs.shape[0]
    region = np.asarray(differs, np.uint8)
    for operation, share in ((cv2.MORPH_OPEN, 1 / 80), (cv2.MORPH_CLOSE, 1 / 12)):
        width = 2 * round(side * share / 2) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        padded = cv2.copyMakeBorder(region, width, width, width, width, cv2.BORDER_CONSTANT)
        inner = cv2.morphologyEx(padded, operation, disc)[width:-width, width:-width]
        region = np.ascontiguousarray(inner, np.uint8)
    _, part_of, facts, _ = cv2.connectedComponentsWithStats(region)
    is_kept = facts[:, cv2.CC_STAT_AREA] >= _LEAST_PART_SHARE * side**2
    is_kept[0] = False  # the rest of the picture
    drawn = np.zeros((side, side), np.uint8)
    rows, columns = np.nonzero(is_kept[part_of])
    if len(rows):
        points = np.stack([columns, rows], axis=-1).astype(np.int32)
        cv2.fillConvexPoly(drawn, cv2.convexHull(points), 1)
    return np.asarray(drawn > 0)
