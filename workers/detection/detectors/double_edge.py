"""
Does the face have a second outline beside its own?

Where a replaced face is narrower than the one below, the old chin or brow shows beside the new.
Measured is the second highest peak of the gradient along the normals of the jaw, within 8 px of the
crop, in the highest: one that goes the same way (from light to dark, say), 3 px or more apart, as
high as it stands above what is between. The upper quartile over the profiles of a look, the median
over the looks. The same of the brows is told beside it.

Abstains: for small faces and few looks; where landmarks are missing, the face is dark, blurred with
all around it or reaches out of the frame; where the jaw has no edge.

How it is fooled: collars, chains, double chins, hair along the cheek and a shadow on the neck are
second edges of real people. Few forgeries have one that is sharp. Of 66 fake and 56 real clips
(train, val and cal) the second edge of a fake was stronger than that of a real in 56 of 100 pairs:
face swaps in 56, re-enactments in 53, talking heads in 59; of clips of the same people in 64. On 27
and 12 of the test split in 48: a coin. Nor is it rare and sure: beyond what 19 of 20 real clips
have lie 8 of 100 fakes, and 2 of the 12 real clips of the test split. The brows alone: 52 and 57.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Finding
from workers.detection.close_looks import (
    LEAST_LOOKS,
    CloseLook,
    close_looks,
    median_over,
    spans_of,
)
from workers.detection.face_regions import BROWS, JAW
from workers.detection.reference import Reference, Suspicious, Transform
from workers.detection.stage import CROP_SIDE_PX, Examination, FaceClip, Floats

SUSPICIOUS = Suspicious.HIGH
TRANSFORM = Transform.NONE
"""For the reference: a share."""

REACH_PX = 8.0
"""How far from the landmarks an edge is looked for, either way."""
STEP_PX = 0.5
"""Between the samples of a profile."""
ALONG_PX = 4.0
"""Between two profiles along the outline."""
APART_PX = 3.0
"""Two edges are two that are this far apart; nearer they are one that is soft."""
LEAST_EDGE = 3.0
"""Grey levels a pixel. A weaker strongest edge is none, and has no second."""
LEAST_PROFILES = 8
"""Of a look, with an edge."""
QUANTILE = 0.75
"""Over the profiles of a look: a second outline need not show along all of the first."""


class DoubleEdge:
    """
    Looks for a second edge beside that of the jaw and that of the brows.

    Args:
        reference: how strong the second edge is in real clips.
    """

    name = DetectorName.DOUBLE_EDGE
    needs: frozenset[DetectorName] = frozenset()

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def examine(self, clip: FaceClip, prior: Mapping[DetectorName, Evidence]) -> Examination:
        """Measure every look whose jaw stands out from what is behind it."""
        del prior
        looks = close_looks(clip, self.name)
        return Examination(
            evidence=looks if isinstance(looks, Abstention) else self._measure(clip, looks)
        )

    def _measure(self, clip: FaceClip, looks: tuple[CloseLook, ...]) -> Finding | Abstention:
        jaws = [(look, _second(look, (JAW,))) for look in looks]
        found = [(look, jaw) for look, jaw in jaws if jaw is not None]
        if len(found) < LEAST_LOOKS:
            return Abstention(
                detector=self.name,
                reason=AbstainReason.TOO_BLURRED,
                detail=f"the jaw has an edge in {len(found)} of {len(looks)} looks",
                needs=f"{LEAST_LOOKS} or more, {LEAST_EDGE:g} grey levels a pixel steep",
            )
        brows = [b for look, _ in found if (b := _second(look, BROWS)) is not None]
        value = median_over([jaw for _, jaw in found])
        measurements = {"jaw_second_edge_share": value}
        if brows:
            measurements["brow_second_edge_share"] = median_over(brows)
        return Finding(
            detector=self.name,
            cue=self._reference.cue(
                self.name, value, "of the edge of the jaw", suspicious=SUSPICIOUS
            ),
            frames=len(found),
            spans=spans_of(clip, [look for look, _ in found]),
            measurements=measurements,
            caveat=(
                "Looks for a second edge along the jaw. Collars, hair and shadows are second edges "
                "of real people."
            ),
        )


def profiles(grey: Floats, line_px: Floats) -> Floats:
    """
    Sample a picture across a line.

    Args:
        grey: `[H, W]`.
        line_px: `[P, 2]` corners of the line.

    Returns:
        `[N, M]` one profile every `ALONG_PX` of the line, in steps of `STEP_PX`, `REACH_PX` to
        either side and a little more; those that reach out of the picture are left out.
    """
    lengths = np.linalg.norm(np.diff(line_px, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = np.linspace(0, at[-1], max(int(at[-1] / ALONG_PX), 4))
    points = np.stack([np.interp(wanted, at, line_px[:, axis]) for axis in (0, 1)], axis=1)
    along = cv2.GaussianBlur(np.gradient(points, axis=0).astype(np.float32), (1, 5), 1.0)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([along[:, 1], -along[:, 0]], axis=1)
    reached = points[:, None] + _offsets()[:, None] * across[:, None]
    fits = ((reached > 1) & (reached < CROP_SIDE_PX - 2)).all(axis=(1, 2))
    reached = reached[fits].astype(np.float32)
    if not len(reached):
        return np.zeros((0, len(_offsets())), np.float32)
    return np.asarray(cv2.remap(grey, reached[..., 0], reached[..., 1], cv2.INTER_LINEAR))


def second_edges(profiles: Floats) -> NDArray[np.float64]:
    """
    Return how strong the second edge of each profile is, in its strongest, `[K]`, K <= N.

    An edge is a peak of the gradient. The second goes the same way as the strongest, from light to
    dark or from dark to light, and counts as high as it stands above what is between the two. Edges
    that go the other way are left out, as a line or a fold has one of each.
    """
    if not len(profiles):
        return np.zeros(0)
    smooth = cv2.GaussianBlur(profiles.astype(np.float32), (5, 1), 1.0)
    gradient = np.gradient(smooth, axis=1) / STEP_PX
    offsets = _offsets()
    near = np.abs(offsets) <= REACH_PX
    first = np.argmax(np.abs(gradient) * near, axis=1)
    rows = np.arange(len(gradient))
    peak = gradient[rows, first]
    is_edge = np.abs(peak) >= LEAST_EDGE
    gradient, first, peak = gradient[is_edge], first[is_edge], peak[is_edge]
    if not len(peak):
        return np.zeros(0)
    edge = gradient * np.sign(peak)[:, None]
    is_peak = np.zeros(edge.shape, bool)
    is_peak[:, 1:-1] = (edge[:, 1:-1] >= edge[:, :-2]) & (edge[:, 1:-1] > edge[:, 2:])
    is_peak &= near & (np.abs(offsets - offsets[first][:, None]) >= APART_PX)
    # The lowest between each place and the first peak, to its right and to its left.
    place = np.arange(edge.shape[1])
    right = np.minimum.accumulate(np.where(place >= first[:, None], edge, np.inf), axis=1)
    left = np.where(place <= first[:, None], edge, np.inf)
    left = np.minimum.accumulate(left[:, ::-1], axis=1)[:, ::-1]
    between = np.maximum(np.minimum(left, right), 0.0)
    height = np.where(is_peak, edge - between, 0.0).max(axis=1)
    return np.asarray(height / np.abs(peak), np.float64)


def _offsets() -> NDArray[np.float64]:
    reach = REACH_PX + 2
    return np.arange(-reach, reach + STEP_PX / 2, STEP_PX)


def _second(look: CloseLook, lines: Sequence[Sequence[int]]) -> float | None:
    """Return how strong the second edge along some lines is; None where they have no first."""
    ratios = np.concatenate(
        [second_edges(profiles(look.grey, look.points_px[list(line)])) for line in lines]
    )
    return float(np.quantile(ratios, QUANTILE)) if len(ratios) >= LEAST_PROFILES else None
