"""
How does a forged face get the colours of the one that it replaces?

All work in CIELAB, on the two faces as the forger sees them, inside of the mask alone.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection.stage import Floats, Image
from workers.training.swapping.choices import Colour
from workers.training.synth import in_colours_of, inside

_LEAST_PIXELS = 64
"""In the mask. Of fewer no spread can be told."""
_RIDGE = 4.0
"""Levels squared that are added to every variance, so that a flat colour is not stretched."""
_MOST_GAIN = 2.5


def matched(face: Image, onto: Image, mask: Floats, *, kind: Colour, strength: float) -> Image:
    """
    Give a face the colours of another.

    Args:
        face: `[S, S, 3]`, forged.
        onto: `[S, S, 3]`, what it replaces.
        mask: `[S, S]` in [0, 1]; colours are compared where it has half of its height.
        kind: `mean_std` sets mean and spread of each channel (Reinhard et al., "Color Transfer
            between Images", 2001); `covariance` maps one Gaussian on the other with the least
            change (Pitie and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping",
            2007); `histogram` gives each channel the other's distribution.
        strength: 0 leaves the face as it is, 1 does it in full.
    """
    if kind == "none" or strength == 0 or mask.max() <= 0:
        return face
    where = inside(mask) > 0
    if int(where.sum()) < _LEAST_PIXELS:
        return face
    if kind == "mean_std":
        return in_colours_of(face, onto, mask, strength=strength)
    lab, onto_lab = (np.asarray(cv2.cvtColor(p, cv2.COLOR_RGB2LAB), np.uint8) for p in (face, onto))
    there, wanted = lab[where], onto_lab[where]
    if kind == "covariance":
        out = cv2.transform(lab, _covariance_map(there, wanted, strength))
    else:
        out = cv2.LUT(lab, _histogram_tables(there, wanted, strength))
    return np.asarray(cv2.cvtColor(np.asarray(out, np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def _covariance_map(there: Image, wanted: Image, strength: float) -> NDArray[np.float64]:
    """Return the affine `[3, 4]` that maps pixels `[N, 3]` onto others' mean and covariance."""
    means = [p.mean(axis=0, dtype=np.float64) for p in (there, wanted)]
    have, want = (np.cov(p.T.astype(np.float64)) + _RIDGE * np.eye(3) for p in (there, wanted))
    root = _root(have)
    back = np.linalg.inv(root)
    gain = back @ _root(root @ want @ root) @ back
    values, vectors = np.linalg.eigh((gain + gain.T) / 2)
    gain = (vectors * np.clip(values, 1 / _MOST_GAIN, _MOST_GAIN)) @ vectors.T
    gain = (1 - strength) * np.eye(3) + strength * gain
    offset = (1 - strength) * means[0] + strength * means[1] - gain @ means[0]
    return np.column_stack([gain, offset])


def _root(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def _histogram_tables(there: Image, wanted: Image, strength: float) -> NDArray[np.uint8]:
    """Return a table `[256, 1, 3]` that gives each channel of pixels `[N, 3]` others' quantiles."""
    levels = np.arange(256, dtype=np.float64)
    tables = []
    for channel in range(3):
        shares = []
        for pixels in (there, wanted):
            counts = np.bincount(pixels[:, channel], minlength=256).astype(np.float64)
            below = np.cumsum(counts)
            shares.append((below - counts / 2) / below[-1])
        # Levels that are in neither face would make the table jump: it is smoothed.
        table = np.interp(shares[0], shares[1], levels)
        table = cv2.GaussianBlur(table[None], (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE)[0]
        tables.append((1 - strength) * levels + strength * table)
    return np.asarray(np.rint(np.stack(tables, axis=-1)), np.uint8)[:, None]
