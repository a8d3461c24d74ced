"""
What does a forger learn from? Faces pulled out of shape, and the same faces in shape.

A 5x5 grid is laid upon the face and each of its points jittered. The input is the face as the
jittered grid bends it; the target is the straight face that lies closest to it, by the similarity
that fits the jittered grid to the even one. To undo the bending a network must know the person, and
both decoders learn that from the one encoder. After Lu, faceswap-GAN v2.2, from its description;
its magnitudes, given for 256 px of which 160 to 198 are seen, hold for what is kept here unchanged.
"""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch.utils.data import Dataset

from workers.detection.align import fitted
from workers.detection.stage import Floats, Image
from workers.training.forging import views
from workers.training.forging.face_sets import FaceSet, SetFace
from workers.training.forging.views import STORED_PX, STORED_VIEW_PX
from workers.training.landmark_views import REGIONS
from workers.training.pairs import ENDLESS
from workers.training.recipe import Section, Share
from workers.training.synth import transformed

GRID = 5
_MIDDLE = (STORED_PX - 1) / 2
_LEFT_LIDS, _RIGHT_LIDS = REGIONS["lids"][:16], REGIONS["lids"][16:]
_SUBPIXEL_BITS = 4

Example = dict[str, NDArray[np.uint8]]


class WarpOptions(Section):
    """How faces are moved, bent and mistreated. Lengths are px of the kept picture, of 256."""

    jitter_px: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (5.0, 6.2)
    """Standard deviation of each grid point, drawn anew for each face between these."""
    span_px: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (160.0, 198.0)
    """Side of the grid, and so of what is seen, drawn likewise. When swapping it is 179."""
    most_turn_deg: Annotated[float, Field(ge=0, le=45)] = 10.0
    most_zoom: Annotated[float, Field(ge=0, le=0.3)] = 0.10
    most_shift: Annotated[float, Field(ge=0, le=0.2)] = 0.05
    """Of the kept picture's side, to each side."""
    flip_share: Share = 0.5
    colour_match_share: Share = 0.5
    """Of the faces that get mean and spread, by channel, of some face of either person: so that
    light does not tell the two apart."""
    motion_blur_share: Share = 0.05
    """Of the faces whose input and target are smeared alike, so that blur is kept and not mended.
    0.25 as published, where the notebook for training has it off."""
    motion_blur_length: tuple[Share, Share] = (5 / 64, 11 / 64)
    """Of the smear, as a share of the view's side."""
    eye_growth: Annotated[float, Field(ge=0, le=0.2)] = 0.03
    """By which the weighted regions reach beyond the lids, as a share of the view's side."""
    mouth_growth: Annotated[float, Field(ge=0, le=0.2)] = 0.02


class FaceViews(Dataset[Example]):
    """
    Bent and straight faces of two people, without end.

    Item `i`, a pure function of the seed and of `i`, has for both people `a` and `b`:
    `a_distorted` and `a_target`, uint8 `[side_px, side_px, 3]`; `a_eyes` and `a_mouth`, uint8
    `[side_px, side_px]`, 255 within these parts of the target, soft at their edge. The two faces
    have nothing to do with each other. What is held out is not shown.

    Args:
        a: faces of one person.
        b: faces of another.
        side_px: of the pictures.
        options: how they are bent.
        seed: another one gives other views.
    """

    def __init__(
        self, a: FaceSet, b: FaceSet, *, side_px: int, options: WarpOptions, seed: int
    ) -> None:
        self._sets = {"a": a, "b": b}
        self._side_px = side_px
        self._options = options
        self._seed = seed
        self._colours = [faces.rows[row] for faces in (a, b) for row in faces.training]

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Example:
        """Make item `index`."""
        random = np.random.Generator(np.random.Philox(key=np.array([self._seed, index], np.uint64)))
        example: Example = {}
        for person, faces in self._sets.items():
            for name, picture in self._bent(faces, random).items():
                example[f"{person}_{name}"] = picture
        return example

    def _bent(self, faces: FaceSet, random: np.random.Generator) -> Example:
        options, side_px = self._options, self._side_px
        row = faces.training[int(random.integers(len(faces.training)))]
        warp = draw_warp(options, side_px, random)
        distorted, target = warp.draw(np.asarray(faces.faces[row]))
        if random.random() < options.colour_match_share:
            like = self._colours[int(random.integers(len(self._colours)))]
            table = _matching(faces.rows[row], like)
            distorted, target = (
                np.asarray(cv2.LUT(picture, table), np.uint8) for picture in (distorted, target)
            )
        if random.random() < options.motion_blur_share:
            kernel = _smear(side_px * random.uniform(*options.motion_blur_length), random)
            distorted, target = (
                np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)
                for picture in (distorted, target)
            )
        points = warp.in_target(faces.landmarks[row])
        return {
            "distorted": distorted,
            "target": target,
            "eyes": soft_region(
                [points[list(_LEFT_LIDS)], points[list(_RIGHT_LIDS)]],
                side_px,
                growth=options.eye_growth,
            ),
            "mouth": soft_region(
                [points[list(REGIONS["lips_outer"])]], side_px, growth=options.mouth_growth
            ),
        }


class Warp(NamedTuple):
    """How one face is moved and bent: one picture gives the input and the target."""

    bent_px: Floats  # [S, S, 2] pixel of the input -> pixel of the kept picture
    stored_from_target: Floats  # [2, 3] pixel of the target -> pixel of the kept picture

    def draw(self, stored: Image) -> tuple[Image, Image]:
        """Return the input and the target, `[S, S, 3]` each."""
        side_px = len(self.bent_px)
        bent_px, affine = self.bent_px, self.stored_from_target.astype(np.float64)
        shrink = 2 ** max(0, math.floor(math.log2(STORED_VIEW_PX / side_px)))
        if shrink > 1:
            # By whole blocks first, as `align.warp` does with the frame when a face is swapped.
            small_px = STORED_PX // shrink
            stored = np.asarray(
                cv2.resize(stored, (small_px, small_px), interpolation=cv2.INTER_AREA), np.uint8
            )
            bent_px = (bent_px + 0.5) / shrink - 0.5
            affine = affine / shrink
            affine[:, 2] += 0.5 / shrink - 0.5
        border = cv2.BORDER_REFLECT_101
        right_px, down_px = bent_px[..., 0], bent_px[..., 1]
        bent = cv2.remap(stored, right_px, down_px, cv2.INTER_LINEAR, borderMode=border)
        straight = cv2.warpAffine(
            stored,
            affine,
            (side_px, side_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border,
        )
        return np.asarray(bent, np.uint8), np.asarray(straight, np.uint8)

    def in_target(self, stored_points_px: Floats) -> Floats:
        """Turn points `[P, 2]` of the kept picture into points of the target."""
        inverse = cv2.invertAffineTransform(self.stored_from_target)
        return transformed(stored_points_px, np.asarray(inverse, np.float32))


def draw_warp(options: WarpOptions, side_px: int, random: np.random.Generator) -> Warp:
    """
    Draw how a face is moved and bent.

    Source of the target's similarity: Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", TPAMI 1991.
    """
    span_px = random.uniform(*options.span_px)
    jitter_px = random.uniform(*options.jitter_px)
    stored_from_grid = _movement(options, random)
    ticks = np.linspace(-span_px / 2, span_px / 2, GRID)
    even = np.stack(np.meshgrid(ticks, ticks), axis=-1)  # [row, column, 2]
    jittered = even + random.normal(0, jitter_px, even.shape)

    # Bilinear between the points of the grid, at the middle of each pixel.
    at = (np.arange(side_px) + 0.5) / side_px * (GRID - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(GRID)))  # [S, GRID]
    bent = weights @ np.tensordot(weights, jittered, axes=1)  # [row, column, 2]
    bent_px = bent @ stored_from_grid[:, :2].T + stored_from_grid[:, 2]

    even_from_jittered = fitted(
        jittered.reshape(-1, 2).astype(np.float32), even.reshape(-1, 2).astype(np.float32)
    )
    jittered_from_even = cv2.invertAffineTransform(even_from_jittered.astype(np.float64))
    scale = span_px / side_px
    offset = (0.5 - side_px / 2) * scale
    even_from_target = np.array([[scale, 0, offset], [0, scale, offset], [0, 0, 1]])
    stored_from_target = (
        np.vstack([stored_from_grid, [0, 0, 1]])
        @ np.vstack([jittered_from_even, [0, 0, 1]])
        @ even_from_target
    )
    return Warp(
        bent_px=np.asarray(bent_px, np.float32),
        stored_from_target=np.asarray(stored_from_target[:2], np.float32),
    )


def plain_view(faces: FaceSet, row: int, side_px: int) -> Image:
    """Return a face as it is seen when swapping, `[side_px, side_px, 3]`; nothing is bent."""
    return views.view_of_stored(faces.faces[row], side_px)


def soft_region(rings_px: Sequence[Floats], side_px: int, *, growth: float) -> NDArray[np.uint8]:
    """
    Draw the inside of rings of points, grown a little, with a soft edge, `[side_px, side_px]`.

    Args:
        rings_px: `[P, 2]` each, in order around a part of the face.
        growth: by which the region reaches beyond the rings, as a share of the side.
    """
    drawn = np.zeros((side_px, side_px), np.uint8)
    scaled = [np.rint(ring * 2**_SUBPIXEL_BITS).astype(np.int32) for ring in rings_px]
    cv2.fillPoly(drawn, scaled, 255, shift=_SUBPIXEL_BITS)
    width_px = max(1, round(2 * growth * side_px))
    cv2.polylines(drawn, scaled, True, 255, width_px, shift=_SUBPIXEL_BITS)
    blur_px = 2 * round(side_px * _SOFT_SHARE) + 1
    return np.asarray(cv2.blur(drawn, (blur_px, blur_px)), np.uint8)


_SOFT_SHARE = 1 / 64


def _movement(options: WarpOptions, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw how the grid lies in the kept picture: `[2, 3]`, px from its middle -> px of that."""
    turn = math.radians(options.most_turn_deg) * random.uniform(-1, 1)
    zoom = 1 + options.most_zoom * random.uniform(-1, 1)
    shift_px = options.most_shift * STORED_PX * random.uniform(-1, 1, 2)
    mirror = -1.0 if random.random() < options.flip_share else 1.0
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    return np.array(
        [
            [mirror * cos, -mirror * sin, _MIDDLE + shift_px[0]],
            [sin, cos, _MIDDLE + shift_px[1]],
        ]
    )


def _matching(face: SetFace, like: SetFace) -> NDArray[np.uint8]:
    """
    Return the table `[1, 256, 3]` that gives a face the colours of another, by channel.

    Source: Reinhard et al., "Color Transfer between Images", 2001; in RGB, as in faceswap-GAN.
    """
    mean, spread = np.array(face.colour_mean), np.array(face.colour_spread)
    gain = np.clip(np.array(like.colour_spread) / np.maximum(spread, 1), *_MATCH_GAIN)
    levels = (np.arange(256)[:, None] - mean) * gain + np.array(like.colour_mean)
    return np.asarray(np.rint(levels.clip(0, 255))[None], np.uint8)


_MATCH_GAIN = (0.5, 2.0)


def _smear(length_px: float, random: np.random.Generator) -> Floats:
    """Draw the kernel of a straight movement in any direction, of sum 1."""
    side = 2 * math.ceil(length_px / 2) + 1
    turn = random.uniform(0, math.pi)
    reach = length_px / 2 * np.array([math.cos(turn), math.sin(turn)])
    middle = np.full(2, side // 2)
    ends = [np.rint((middle + s * reach) * 2**_SUBPIXEL_BITS).astype(int) for s in (-1, 1)]
    kernel = np.zeros((side, side), np.uint8)
    cv2.line(
        kernel,
        tuple(ends[0].tolist()),
        tuple(ends[1].tolist()),
        255,
        1,
        cv2.LINE_AA,
        _SUBPIXEL_BITS,
    )
    return np.asarray(kernel / kernel.sum(), np.float32)
