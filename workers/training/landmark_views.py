"""
What may a crop look like from which a face is followed, and where are the points in it then?

Views are drawn from a bank of crops: moved as a region is that lags behind a face, lit, blurred,
covered and compressed. Some show no face, or one that is out of reach: they teach when a face is
lost. Every view is a pure function of the seed and its number.
"""

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.utils.data import Dataset

from models.nets.face_landmarks import POINTS, SIDE_PX, Shapes
from workers.detection import align
from workers.detection.align import FaceRegion
from workers.detection.stage import LANDMARKS, Floats, Image
from workers.training.errors import BadDataset
from workers.training.recipe import Section, Share
from workers.training.task import Example
from workers.training.teachers import BANK_MARGIN, BANK_SIDE_PX, LandmarkBank, region_in_bank

MARGIN = 1.5
"""Of a served view, by the face's region."""
_REGION_PX = BANK_SIDE_PX / BANK_MARGIN
_OUT_OF_REACH = (0.5, 1.1)
"""Shares of the region by which a face is off the middle when it counts as lost."""
_TILES = 4
_GREY = 0.15
_GRAIN = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)
"""Drawn once, and cut anew for every view: to draw it takes longer than all else."""

# fmt: off
REGIONS: Mapping[str, tuple[int, ...]] = MappingProxyType({
    "lids": (
        33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
        263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    ),
    "irises": tuple(range(LANDMARKS, LANDMARKS + 10)),
    "brows": (
        46, 53, 52, 65, 55, 70, 63, 105, 66, 107,
        276, 283, 282, 295, 285, 300, 293, 334, 296, 336,
    ),
    "nose": (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 48, 278, 64, 294),
    "lips_outer": (
        61, 146, 91, 181, 84, 17, 314, 405, 321, 375,
        291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    ),
    "lips_inner": (
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324,
        308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
    ),
    "jaw": (
        234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152,
        377, 400, 378, 379, 365, 397, 288, 361, 323, 454,
    ),
})
# fmt: on
"""By the numbers of MediaPipe's mesh; the irises come after it."""

REFINED = (*REGIONS["lids"], *REGIONS["irises"], *REGIONS["lips_outer"], *REGIONS["lips_inner"])
"""What the network with irises looks at once more, closer: it sees eyes shut that the mesh sees
half open."""

Positive = Annotated[float, Field(gt=0)]


class Sight(IntEnum):
    """What a view shows."""

    FACE = 0
    OUT_OF_REACH = 1  # a face, but not where one is looked for
    NOTHING = 2  # a place without a face
    COVERED = 3  # a face under something else
    SHUFFLED = 4  # the parts of a face, in no order


class ViewOptions(Section):
    """How views are moved and mistreated."""

    shift: Share = 0.14
    """Of the region, to each side."""
    scale: tuple[Positive, Positive] = (0.78, 1.3)
    turn_deg: Annotated[float, Field(ge=0, le=180)] = 22.0
    lost: Share = 0.18
    """Of the views, that show no face to be followed."""
    shut: Share = 0.12
    """Of the views, that are drawn from the faces with the most shut eyes."""
    mistreated: Share = 0.7
    """Of the views, whose light, sharpness or coding is changed; each of them in this share."""
    partly_covered: Share = 0.25


class View(NamedTuple):
    """One view and what is known of it."""

    picture: Image  # [SIDE_PX, SIDE_PX, 3]
    points_px: Floats  # [POINTS, 2] px of the view; without meaning unless it shows a face
    sight: Sight


def targets(bank: LandmarkBank, row: int) -> Floats:
    """Return the points `[POINTS, 2]` in pixels of a bank crop that are learnt: the mesh's, but
    eyes and lips of the network that sees them better."""
    points = np.array(bank.irises_px[row])
    refined = points[list(REFINED)]
    points[:LANDMARKS] = bank.mesh_px[row]
    points[list(REFINED)] = refined
    return points


class LandmarkViews(Dataset[Example]):
    """
    Views of the pictures of a bank, as many as are asked for.

    Args:
        rows: of the bank that may be seen.

    Raises:
        BadDataset: none of the rows shows a face.
    """

    def __init__(
        self, bank: LandmarkBank, rows: Sequence[int], options: ViewOptions, seed: int
    ) -> None:
        self._bank, self._options, self._seed = bank, options, seed
        self._faces = [row for row in rows if bank.pupils[row].has_face]
        self._places = [row for row in rows if not bank.pupils[row].has_face]
        if not self._faces:
            raise BadDataset("no face to draw views of. Check the splits of the manifest.")
        by_openness = sorted(self._faces, key=lambda row: bank.pupils[row].openness)
        self._shut = by_openness[: max(1, len(by_openness) // 12)]

    def __len__(self) -> int:
        return 2**31 - 1

    def __getitem__(self, index: int) -> Example:
        """Return `faces`, `points`, and `presence` and `has_points`, 0 or 1 each."""
        view = self.draw(index)
        is_face = view.sight == Sight.FACE
        return {
            "faces": view.picture,
            "points": view.points_px,
            "presence": np.float32(is_face),
            "has_points": np.float32(is_face),
        }

    def draw(self, index: int) -> View:
        """Draw view number `index`."""
        random = np.random.default_rng([self._seed, index])
        options = self._options
        sight = Sight.FACE
        if random.random() < options.lost:
            lost = [s for s in Sight if s != Sight.FACE and (self._places or s != Sight.NOTHING)]
            sight = Sight(int(random.choice(lost)))
        rows = self._faces
        if sight == Sight.NOTHING:
            rows = self._places
        elif random.random() < options.shut:
            rows = self._shut
        row = rows[int(random.integers(len(rows)))]
        crop = np.array(self._bank.crops[row])
        points = targets(self._bank, row)
        if random.random() < 0.5:  # noqa: PLR2004 - a coin
            crop = crop[:, ::-1]
            points = mirrored(points, self._bank.mirror)
        if random.random() < 0.5 or sight == Sight.OUT_OF_REACH:  # noqa: PLR2004
            crop = self._before_something(crop, random)
        picture, points = moved_view(crop, points, _region(sight, options, random))
        if sight == Sight.SHUFFLED:
            picture = _shuffled(picture, random)
        elif sight == Sight.COVERED:
            picture = self._covered(picture, random, least=0.75, most=1.0)
        elif random.random() < options.partly_covered:
            picture = self._covered(picture, random, least=0.1, most=0.4)
        return View(mistreated(picture, options.mistreated, random), points, sight)

    def _before_something(self, crop: Image, random: np.random.Generator) -> Image:
        """Fill what was beyond the frame: black borders say where the face of a still is."""
        filled = np.array(crop)
        beyond = cv2.inRange(filled, (0, 0, 0), (0, 0, 0))
        if cv2.countNonZero(beyond):
            cv2.copyTo(self._stuff(BANK_SIDE_PX, random), beyond, filled)
        return filled

    def _covered(
        self, picture: Image, random: np.random.Generator, *, least: float, most: float
    ) -> Image:
        """Lay a turned rectangle over a share of the face's sides."""
        side = SIDE_PX / MARGIN
        share = random.uniform(least, most)
        if most < 1:
            size = side * random.uniform(least, most, 2)
            middle = SIDE_PX / 2 + random.uniform(-side / 2, side / 2, 2)
        else:
            size = 1.2 * side * np.sqrt([share, share])
            middle = SIDE_PX / 2 + random.uniform(-0.06, 0.06, 2) * side
        box = cv2.boxPoints((tuple(middle), tuple(size), float(random.uniform(0, 180))))
        mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        cv2.fillConvexPoly(mask, np.round(box).astype(np.int32), 1)
        covered = np.array(picture)
        cv2.copyTo(self._stuff(SIDE_PX, random), mask, covered)
        return covered

    def _stuff(self, side_px: int, random: np.random.Generator) -> Image:
        """Draw something that is no face: a place, or one colour with noise."""
        if self._places and random.random() < 0.5:  # noqa: PLR2004
            place = self._bank.crops[self._places[int(random.integers(len(self._places)))]]
            return np.asarray(cv2.resize(np.array(place), (side_px, side_px)), np.uint8)
        colour = random.uniform(0, 255, 3).astype(np.float32)
        return _grainy(colour, side_px, float(random.uniform(0, 30)), random)


def moved_view(crop: Image, points_px: Floats, region: FaceRegion) -> tuple[Image, Floats]:
    """Return a view of a region of a bank crop, and the crop's points in it."""
    affine = region.scaled(MARGIN).frame_from_crop(SIDE_PX)
    inverse = cv2.invertAffineTransform(affine.astype(np.float64))
    picture = align.warp(np.ascontiguousarray(crop), affine, size=(SIDE_PX, SIDE_PX))
    return picture, (points_px @ inverse[:, :2].T + inverse[:, 2]).astype(np.float32)


def mirrored(points_px: Floats, mirror: Sequence[int]) -> Floats:
    """Return the points of a bank crop as they lie in its mirror image."""
    swapped = points_px[list(mirror)]
    swapped[:, 0] = BANK_SIDE_PX - 1 - swapped[:, 0]
    return swapped


def shapes_of(points_px: Floats, components: int) -> Shapes:
    """
    Measure how shapes differ once shift, scale and turn are taken away.

    Args:
        points_px: `[N, POINTS, 2]` px of bank crops.
        components: that are kept; fewer where there are fewer faces.

    Source: Cootes et al., "Active Shape Models", 1995.
    """
    as_shares = (points_px - (BANK_SIDE_PX - 1) / 2) / (_REGION_PX * MARGIN)
    planes = as_shares[..., 0] + 1j * as_shares[..., 1]
    mean = planes.mean(axis=0)
    aligned = planes
    for _ in range(3):
        centre = mean.mean()
        flat = mean - centre
        around = planes - planes.mean(axis=1, keepdims=True)
        turn = (around.conj() @ flat) / (np.abs(around) ** 2).sum(axis=1)
        aligned = around * turn[:, None] + centre
        mean = aligned.mean(axis=0)
    rest = aligned - mean
    flat_rest = np.stack([rest.real, rest.imag], axis=-1).reshape(len(rest), -1)
    _, values, ways = np.linalg.svd(flat_rest, full_matrices=False)
    deviations = values[:components] / math.sqrt(len(rest))
    found = (ways[:components] * deviations[:, None]).reshape(-1, POINTS, 2)
    return Shapes(
        mean=torch.from_numpy(np.stack([mean.real, mean.imag], axis=-1)).float(),
        components=torch.from_numpy(found).float(),
    )


def _region(sight: Sight, options: ViewOptions, random: np.random.Generator) -> FaceRegion:
    """Draw where a region may lie that lags behind its face."""
    right, down = random.uniform(-options.shift, options.shift, 2)
    turn = math.radians(float(random.uniform(-options.turn_deg, options.turn_deg)))
    low, high = options.scale
    scale = float(np.exp(random.uniform(math.log(low), math.log(high))))
    if sight == Sight.OUT_OF_REACH:
        way = random.uniform(0, 2 * math.pi)
        far = random.uniform(*_OUT_OF_REACH)
        right, down = far * math.cos(way), far * math.sin(way)
    elif sight == Sight.NOTHING:
        turn = float(random.uniform(-math.pi, math.pi))
        scale = float(random.uniform(0.3, 1.2))
    return region_in_bank(right=float(right), down=float(down), scale=scale, turn_rad=turn)


def _shuffled(picture: Image, random: np.random.Generator) -> Image:
    """Cut a picture into tiles and lay them in another order."""
    side = SIDE_PX // _TILES
    tiles = picture.reshape(_TILES, side, _TILES, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    mixed = tiles[random.permutation(len(tiles))].reshape(_TILES, _TILES, side, side, 3)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(SIDE_PX, SIDE_PX, 3))


def mistreated(picture: Image, share: float, random: np.random.Generator) -> Image:
    """
    Change light, sharpness, grain and coding, each now and then.

    Args:
        picture: `[S, S, 3]`.
        share: of the pictures whose light is changed; the rest happens to about half as many.
    """
    light, blur, grain, coding = random.random(4) < share * np.array([1.0, 0.45, 0.4, 0.5])
    out: NDArray[Any] = picture
    if light:
        out = _in_other_light(out, random)
    if blur:
        out = _softened(out, random)
    if grain:
        out = _grainy(out, len(out), float(random.uniform(1, 12)), random)
    if coding:
        quality = int(random.integers(20, 95))
        _, packed = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(out, dtype=np.uint8)


def _in_other_light(picture: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Change gamma, gain and colour; now and then, take all colour away."""
    levels = np.linspace(0, 1, 256) ** float(np.exp(random.uniform(-0.5, 0.5)))
    gains = np.exp(random.uniform(-0.3, 0.1) + random.uniform(-0.12, 0.12, 3))
    table = levels[:, None] * gains * 255 + random.uniform(-20, 20)
    out = cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)[None])
    if random.random() < _GREY:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return out


def _softened(picture: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Blur a picture, or take it through a smaller size."""
    if random.random() < 0.5:  # noqa: PLR2004 - a coin
        return cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.4, 1.8)))
    side_px = len(picture)
    small = int(random.integers(side_px // 4, side_px))
    out = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(out, (side_px, side_px), interpolation=cv2.INTER_LINEAR)


def _grainy(
    light: NDArray[Any], side_px: int, deviation: float, random: np.random.Generator
) -> Image:
    """Add grain, the same in all channels, to a picture or to one colour."""
    right, down = random.integers(0, len(_GRAIN) - side_px, 2, endpoint=True)
    grain = _GRAIN[down : down + side_px, right : right + side_px, None]
    noisy = light + np.float32(deviation) * grain
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)
