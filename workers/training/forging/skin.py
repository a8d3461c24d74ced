"""
What colour is the skin, and does something lie before it?

Sampled at a dozen places of the face, in a* and b* of CIELAB: how light skin is changes with every
turn of the head, its hue hardly does. A microphone, a caption or a red sleeve before the face is
seen this way. A hand of the same colour is not; where it covers enough, the landmark network is no
longer sure.
"""

import warnings

import cv2
import numpy as np

from workers.detection.stage import Floats, Image

PLACES = (151, 9, 6, 4, 50, 280, 118, 347, 205, 425, 164, 199)
"""Forehead, brow, bridge and tip of the nose, cheeks, under the eyes, beside the nose, over the
upper lip, chin; in MediaPipe's numbers."""
_RADIUS_SHARE = 0.03
"""Of the side of the view, over which a place is averaged."""
_LEAST_INSIDE_SHARE = 0.06
"""Of the side of the view, from the outline of the face: nearer lies the far cheek of a half
profile, and behind it the wall."""


def skin(view: Image, points_px: Floats) -> Floats:
    """
    Return a* and b* at each of `PLACES`, `[P, 2]`; NaN where a place is at the face's outline.

    Args:
        view: `[S, S, 3]`.
        points_px: `[468, 2]` px of the view.
    """
    side = view.shape[0]
    small = cv2.blur(view, (2 * round(_RADIUS_SHARE * side) + 1,) * 2)
    places = points_px[list(PLACES)].astype(np.float32)
    at = np.rint(places).astype(np.intp).clip(0, side - 1)
    colours = np.ascontiguousarray(small[at[:, 1], at[:, 0]][None].astype(np.float32) / 255)
    found = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0, :, 1:], np.float32)
    outline = cv2.convexHull(points_px.astype(np.float32))
    for place, (x, y) in enumerate(places):
        if cv2.pointPolygonTest(outline, (float(x), float(y)), True) < _LEAST_INSIDE_SHARE * side:
            found[place] = np.nan
    return found


def tints(skins: Floats) -> Floats:
    """
    Say how far the colour of each face is from that of the median face, `[N]`.

    Args:
        skins: `[N, P, 2]`, as `skin` gives them.
    """
    of_face = _median(skins, axis=1)
    away = np.linalg.norm(of_face - _median(of_face, axis=0), axis=-1)
    return np.asarray(np.nan_to_num(away), np.float32)


def oddest(skins: Floats) -> Floats:
    """
    Say how far the oddest place of each face is from that place on the median face, `[N]`.

    The tint that a face has as a whole is taken away first.
    """
    own = skins - _median(skins, axis=1)[:, None]
    away = np.linalg.norm(own - _median(own, axis=0), axis=-1)
    return np.asarray(np.nan_to_num(away).max(axis=1), np.float32)


def _median(values: Floats, *, axis: int) -> Floats:
    """Return the median of what is known; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis), np.float32)
