"""
How good is a forger? Measured on faces that it did not learn from.

Reconstructions are compared with what they should be. Of swaps nobody knows what they should be; of
them it is asked whose face it is, by a network that tells people apart.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.nets.forger import Forger, Identity
from workers.detection.face_regions import energy, hull_mask
from workers.detection.identity import FaceEmbedder, unit
from workers.detection.stage import Floats
from workers.training.forging.face_sets import FaceSet
from workers.training.forging.losses import ssim
from workers.training.forging.runs import Pictures, draw, laid_over
from workers.training.forging.views import points_in_view, view_of_stored

WAYS: tuple[tuple[Identity, Identity], ...] = (("a", "b"), ("b", "a"))
"""Whose faces, and whose they are made to be."""
VALIDATED = 48
"""Held-out faces of each person, at most."""
_INNER = 0.85
"""Scale of the mesh's hull within which sharpness is measured."""


def measure(
    forger: Forger, a: FaceSet, b: FaceSet, embedder: FaceEmbedder | None
) -> dict[str, float]:
    """
    Measure a forger.

    Returns:
        `ssim_a`, `ssim_b`: mean SSIM of the face drawn (not of the picture, which may let the input
        through) by the person's own decoder, with the undistorted view. `sharpness_a`,
        `sharpness_b`: median ratio of the energy of the inner face, drawn over real. `identity_ab`:
        share of a's faces which, drawn as b, are nearer to b's mean embedding than to a's, by
        cosine; `identity_ba` the other way round. These two, and the margins by which they are
        nearer, are left out where there is no embedder.
    """
    found: dict[str, float] = {}
    sets: dict[Identity, FaceSet] = {"a": a, "b": b}
    for who, other in WAYS:
        faces = sets[who]
        rows = held_out(faces, at_most=VALIDATED)
        views = plain_views(faces, rows, forger.shape.side_px)
        points = [points_in_view(faces.landmarks[row], forger.shape.side_px) for row in rows]
        drawn, _ = draw(forger, views, who)
        found[f"ssim_{who}"] = float(_similarity(drawn, views).mean())
        found[f"sharpness_{who}"] = _sharpness(drawn, views, points)
        own, wanted = faces.embedding, sets[other].embedding
        if embedder is None or own is None or wanted is None:
            continue
        swapped = laid_over(views, *draw(forger, views, other))
        margin = embedder.embed(list(swapped), points) @ (unit(wanted) - unit(own))
        found[f"identity_{who}{other}"] = float((margin > 0).mean())
        found[f"identity_margin_{who}{other}"] = float(margin.mean())
    return found


def held_out(faces: FaceSet, *, at_most: int) -> list[int]:
    """Return rows that are not learnt from, spread evenly."""
    rows = faces.held_out
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(at_most, len(rows)), dtype=int)]


def plain_views(faces: FaceSet, rows: Sequence[int], side_px: int) -> Pictures:
    """Return what a forger sees of some faces, `[N, side_px, side_px, 3]`."""
    return np.stack([view_of_stored(faces.faces[row], side_px) for row in rows])


def _similarity(drawn: Pictures, wanted: Pictures) -> NDArray[np.float32]:
    one, other = (
        torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 for pictures in (drawn, wanted)
    )
    return np.asarray(ssim(one, other), np.float32)


def _sharpness(drawn: Pictures, wanted: Pictures, points: Sequence[Floats]) -> float:
    ratios = []
    for picture, real, around in zip(drawn, wanted, points, strict=True):
        inner = hull_mask(around, len(real), scale=_INNER)
        ratios.append(energy(picture, inner) / energy(real, inner))
    return float(np.median(ratios))
