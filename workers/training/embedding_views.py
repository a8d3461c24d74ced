"""
What does the network that tells faces apart learn from? Faces of its teacher's liking, mistreated.

There are few people to learn from, and a network that saw few remembers them. So faces are mixed,
half of one over half of another or both at once, and pulled wider or longer: each mixture is a face
that nobody has, of which the teacher can be asked all the same. The teacher is shown a mixture as
it is; the network is shown it off its place and mistreated as video is, and is to say what the
teacher said. After Beyer et al., "Knowledge distillation: A good teacher is patient and
consistent", CVPR 2022.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field
from torch.utils.data import Dataset

from workers.detection import align
from workers.detection.identity import SIDE_PX, picture_from_face
from workers.detection.stage import Floats, Image
from workers.training.bank import FaceBank
from workers.training.errors import BadDataset
from workers.training.landmark_views import mistreated
from workers.training.recipe import Section, Share
from workers.training.task import Example

BORDER_PX = 16
"""Drawn around an aligned face, so that a view of it can be moved and turned."""
WIDE_PX = SIDE_PX + 2 * BORDER_PX
_ENDLESS = 2**31 - 1
_COIN = 0.5
_SEAM_PX = 6.0
"""Over which the half of one face goes over into that of another."""


class ViewOptions(Section):
    """How faces are mixed, moved and mistreated."""

    count: Annotated[int, Field(gt=0)] = 12_000
    """Faces that the teacher is asked of, once, before training."""
    mixed: Share = 0.6
    """Of the faces that are made of two."""
    stretch: Annotated[float, Field(ge=0, le=0.3)] = 0.06
    """By which a face is made wider or longer, at most."""
    shift_px: Annotated[float, Field(ge=0, le=5)] = 2.5
    """Of the view that the network is shown, to each side."""
    scale: Annotated[float, Field(ge=0, le=0.08)] = 0.05
    turn_deg: Annotated[float, Field(ge=0, le=6)] = 4.0
    mistreated: Share = 0.7
    """Of the views whose light is changed; about half as many are blurred, grainy or coded."""


class Mixtures(Dataset[Image]):
    """
    Faces with a border, `[WIDE_PX, WIDE_PX, 3]`, as the teacher is asked of them.

    Args:
        rows: of the bank that may be seen.
        count: how many there are.

    Raises:
        BadDataset: there is nobody to be seen.
    """

    def __init__(
        self, bank: FaceBank, rows: Sequence[int], options: ViewOptions, *, count: int, seed: int
    ) -> None:
        if not rows:
            raise BadDataset("no face to learn from. Check the splits of the manifest.")
        self._bank, self._rows, self._options = bank, list(rows), options
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Image:
        """Make one; the same each time."""
        random = np.random.default_rng([self._seed, index, 0])
        first = self._drawn(random)
        if random.random() >= self._options.mixed:
            return first
        return _mixed(first, self._drawn(random), random)

    def _drawn(self, random: np.random.Generator) -> Image:
        """Draw one face of the bank, straight, in a mirror or not, made wider or longer."""
        row = self._rows[int(random.integers(len(self._rows)))]
        reach = self._options.stretch
        wider, longer = np.exp(random.uniform(-reach, reach, 2)).tolist()
        mirror = -1 if random.random() < _COIN else 1
        return wide_face(self._bank, row, (mirror * wider, longer))


class EmbeddingViews(Dataset[Example]):
    """
    Views without end.

    Item `i` is `clean`, uint8 `[SIDE_PX, SIDE_PX, 3]`, mixture `i` modulo their number as the
    teacher was shown it; `faces`, the same mistreated; and `wanted`, `[DIMENSIONS]`, what the
    teacher said.

    Args:
        answers: `[N, DIMENSIONS]` of the teacher to each of the mixtures.
    """

    def __init__(
        self, mixtures: Mixtures, answers: Floats, options: ViewOptions, seed: int
    ) -> None:
        self._mixtures, self._answers = mixtures, answers
        self._options, self._seed = options, seed

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, index: int) -> Example:
        """Make example `index`."""
        random = np.random.default_rng([self._seed, index, 1])
        place = index % len(self._mixtures)
        wide = self._mixtures[place]
        view = align.warp(wide, _moved(self._options, random), size=(SIDE_PX, SIDE_PX))
        return {
            "clean": inner(wide),
            "faces": mistreated(view, self._options.mistreated, random),
            "wanted": self._answers[place],
        }


def wide_face(bank: FaceBank, row: int, stretch: tuple[float, float] = (1.0, 1.0)) -> Image:
    """
    Return a face as `identity.aligned` gives it, with a border, `[WIDE_PX, WIDE_PX, 3]`.

    Args:
        stretch: what the face is made wider and longer by; the first is negative in a mirror.
    """
    affine = picture_from_face(bank.landmarks[row]).astype(np.float64)
    middle = (SIDE_PX - 1) / 2
    own = np.array(
        [
            [1 / stretch[0], 0, middle - (middle + BORDER_PX) / stretch[0]],
            [0, 1 / stretch[1], middle - (middle + BORDER_PX) / stretch[1]],
            [0, 0, 1],
        ]
    )
    return align.warp(
        np.asarray(bank.faces[row]), np.asarray(affine @ own, np.float32), size=(WIDE_PX, WIDE_PX)
    )


def inner(wide: Image) -> Image:
    """Return the aligned face without its border, `[SIDE_PX, SIDE_PX, 3]`."""
    inside = slice(BORDER_PX, BORDER_PX + SIDE_PX)
    return np.ascontiguousarray(wide[inside, inside])


def _moved(options: ViewOptions, random: np.random.Generator) -> Floats:
    """Draw where a view lies on a face with a border, as landmarks that are a little off say."""
    right, down = random.uniform(-options.shift_px, options.shift_px, 2)
    angle = math.radians(float(random.uniform(-options.turn_deg, options.turn_deg)))
    scale = math.exp(random.uniform(-options.scale, options.scale))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    at, middle = (WIDE_PX - 1) / 2, (SIDE_PX - 1) / 2
    return np.array(
        [
            [cos, -sin, at + right - (cos - sin) * middle],
            [sin, cos, at + down - (sin + cos) * middle],
        ],
        np.float32,
    )


def _mixed(first: Image, second: Image, random: np.random.Generator) -> Image:
    """Lay half of one face over half of another, softly, or both over one another."""
    if random.random() < _COIN:
        share = np.float32(random.uniform(0.25, 0.75))
        weight = np.full((WIDE_PX, 1, 1), share, np.float32)
    else:
        seam = random.uniform(0.35, 0.65) * WIDE_PX
        rows = np.arange(WIDE_PX, dtype=np.float32)
        weight = (1 / (1 + np.exp((rows - seam) / _SEAM_PX)))[:, None, None]
    mixed = weight * first.astype(np.float32) + (1 - weight) * second.astype(np.float32)
    return np.asarray(cv2.convertScaleAbs(mixed), np.uint8)
