"""
How sharp is a face, by itself, beside its surroundings, and beside the face it was made from?

What networks learn first of forgeries is that they are soft. So the plainest measures of softness
stand beside every network, and fakes that are sharper than their source are judged apart.
"""

import numpy as np

from workers.detection.face_regions import INNER, Mask, energy, hull_mask, ring_mask
from workers.detection.stage import Image
from workers.training.bank import FaceBank


def face_blur(bank: FaceBank, row: int) -> float:
    """Return how soft the inner face is: minus the log of its energy."""
    picture, inner = _inner(bank, row)
    return -float(np.log(energy(picture, inner)))


def face_blur_ratio(bank: FaceBank, row: int) -> float:
    """Return how much softer the inner face is than its surroundings: minus the log ratio."""
    picture, inner = _inner(bank, row)
    points = np.asarray(bank.landmarks[row])
    around = ring_mask(points, len(picture))
    return float(np.log(energy(picture, around)) - np.log(energy(picture, inner)))


def sharper_by(bank: FaceBank, row: int) -> float:
    """
    Return the log ratio of the energy of a fake's inner face to that of the face it was made from.

    Above 0 the fake is the sharper one. The look must have a `pair`.
    """
    pair = bank.rows[row].pair
    if pair < 0:
        raise ValueError(f"row {row} has no real face to compare with")
    picture, inner = _inner(bank, row)
    source = np.asarray(bank.faces[pair])
    return float(np.log(energy(picture, inner)) - np.log(energy(source, inner)))


def _inner(bank: FaceBank, row: int) -> tuple[Image, Mask]:
    picture = np.asarray(bank.faces[row])
    return picture, hull_mask(np.asarray(bank.landmarks[row]), len(picture), scale=INNER)
