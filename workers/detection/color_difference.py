"""How different do two colours look?"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection.stage import Floats, Image

Doubles = NDArray[np.float64]


def to_lab(picture: Image) -> Floats:
    """Turn a picture `[H, W, 3]` into CIE L*a*b* under D65: L in 0..100, a and b about 0."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def delta_e(one: Floats | Doubles, other: Floats | Doubles) -> Doubles:
    """
    Return the difference CIEDE2000 of colours `[..., 3]` in L*a*b*; 1 is just seen, 2.3 is plain.

    Source: Sharma, Wu & Dalal, "The CIEDE2000 Color-Difference Formula", Color Res. Appl. 2005,
    eq. 2 to 22, with all parametric factors 1.
    """
    (l1, a1, b1), (l2, a2, b2) = (
        np.moveaxis(np.asarray(c, np.float64), -1, 0) for c in (one, other)
    )
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * _saturation(chroma)
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    is_grey = c1 * c2 == 0  # a grey has no hue
    turn = np.where(is_grey, 0.0, turn)
    hue = np.where(is_grey, h1 + h2, h1 + turn / 2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    off = np.square(lightness - 50)
    lighter = (l2 - l1) / (1 + 0.015 * off / np.sqrt(20 + off))
    richer = (c2 - c1) / (1 + 0.045 * chroma)
    turned = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * chroma * weight)
    blue = 60 * np.exp(-np.square(((hue % 360) - 275) / 25))
    together = -2 * _saturation(chroma) * np.sin(np.radians(blue))
    return np.asarray(np.sqrt(lighter**2 + richer**2 + turned**2 + together * richer * turned))


def _saturation(chroma: Doubles) -> Doubles:
    seventh = chroma**7
    return np.asarray(np.sqrt(seventh / (seventh + 25.0**7)))


def _cos(degrees: Doubles) -> Doubles:
    return np.asarray(np.cos(np.radians(degrees)))
