"""
How is a fake made whose every manipulated pixel is known?

Self-blended images: a face is laid upon itself, slightly moved and coloured otherwise, through a
soft mask, so that all a network can go by is the blend. Cross blends do the same with the face of
somebody else. After Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR
2022, and Li et al., "Face X-ray for More General Face Forgery Detection", CVPR 2020, from their
descriptions.

Two traps decide what is learned. Where it is the target of a blend that was coloured otherwise,
the coloured target is the real half of the pair: else odd colours, and no seams, tell a fake. And
moving a face costs it detail, so that "the softer half is the fake" orders three quarters of such
pairs: here both halves are drawn from the bank by one warp each, and for a share of the pairs
the detail of the blend is set (`SynthOptions.balance_sharpness`).
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workers.detection.align import fitted
from workers.detection.stage import Floats, Image
from workers.training.recipe import Section, Share

# Of MediaPipe's 468 points.
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_HAIRLINE = (10, 338, 297, 332, 284, 251, 21, 54, 103, 67, 109)
_JAW = (
    *(323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93),
)
_BROWS = (70, 63, 105, 66, 107, 46, 53, 300, 293, 334, 296, 336, 276, 283)
_EYES = (33, 133, 159, 145, 130, 226, 263, 362, 386, 374, 359, 446)
_UNDER_EYES = (111, 117, 118, 119, 120, 340, 346, 347, 348, 349)
_NOSE = (6, 197, 1, 2, 49, 48, 64, 98, 279, 278, 294, 327)
_CHEEKS = (50, 205, 187, 280, 425, 411)
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_CHIN = 152
_NOSE_BRIDGE = 168

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # Shiohara and Yamasaki
CROSS_RATIOS = (0.75, 1.0, 1.0, 1.0)  # two people half and half are ghosts, which no one shows
_COIN = 0.5
_MASK_SHRINK = 2
"""Masks are smooth, so they are drawn at half the size, for a quarter of the time."""
_DETAIL_PX = 0.8
"""Finest detail that counts. Set by the bare Laplacian, blends come out equal in noise and soft in
all that is coarser: 70 % of the balanced pairs by detail of 1.5 px, 65 % by detail of 0.8 px."""
_UNSHARP_PX = (1.0, 3.0)
"""Spread of the blur that detail is told by; a narrow one leaves soft what is coarser than it."""
_GAIN = (-0.95, 3.0)
"""What unsharp masking may add of the detail: less than -1 turns it over, more than 3 rings."""


class Hull(StrEnum):
    """Which part of the face is taken."""

    OVAL = "oval"
    FOREHEAD = "forehead"  # the oval and the brow up to the hair
    BROW_TO_CHIN = "brow_to_chin"
    INNER = "inner"  # brows, nose, cheeks and mouth
    LOWER = "lower"
    EYES = "eyes"
    MOUTH_AND_NOSE = "mouth_and_nose"
    MOUTH = "mouth"


HULL_SHARE = {
    Hull.OVAL: 0.20,
    Hull.FOREHEAD: 0.15,
    Hull.BROW_TO_CHIN: 0.25,
    Hull.INNER: 0.15,
    Hull.LOWER: 0.07,
    Hull.EYES: 0.05,
    Hull.MOUTH_AND_NOSE: 0.07,
    Hull.MOUTH: 0.06,
}
_HULL_POINTS = {
    Hull.OVAL: _OVAL,
    Hull.FOREHEAD: _OVAL,
    Hull.BROW_TO_CHIN: _BROWS + _JAW,
    Hull.INNER: _BROWS + _CHEEKS + _LIPS,
    Hull.LOWER: (*_JAW, 50, 280, 1, 48, 278),
    Hull.EYES: _BROWS + _EYES + _UNDER_EYES,
    Hull.MOUTH_AND_NOSE: _NOSE + _LIPS + (205, 425),
    Hull.MOUTH: _LIPS,
}


class SynthOptions(Section):
    """How blends are made. Lengths are shares of the side of the picture."""

    most_shift: Annotated[float, Field(ge=0, le=0.2)] = 0.03
    """By which the source is moved, to the side; half as much up or down."""
    most_scaling: Annotated[float, Field(ge=0, le=0.3)] = 0.05
    most_turn_deg: Annotated[float, Field(ge=0, le=30)] = 1.0
    most_elastic: Annotated[float, Field(ge=0, le=0.1)] = 0.015
    """Spread of the wobble of the mask's edge."""
    colour_share: Share = 0.85
    """Of self-blends whose halves differ in colour."""
    colour_strength: Annotated[float, Field(ge=0, le=3)] = 1.0
    source_jpeg_share: Share = 0.2
    """Of blends whose source was compressed once more before, as what a generator puts out is."""
    poisson_share: Share = 0.15
    """Of cross blends made by Poisson cloning instead of matched colours."""
    balance_sharpness: Share = 0.5
    """Of blends whose detail is set: made equal to the original's, sharper, or softer. The others
    fall as they may: softer for the most part."""
    equal_share: Share = 0.35
    """Of the blends whose detail is set: as much of it as in the original."""
    sharper_share: Share = 0.35
    """Of the blends whose detail is set: more of it than in the original; the rest has less."""

    @model_validator(mode="after")
    def _shares_fit(self) -> "SynthOptions":
        if self.equal_share + self.sharper_share > 1:
            raise ValueError(
                f"equal_share {self.equal_share} and sharper_share {self.sharper_share} are "
                "shares of one whole; lower one of them"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FacePair:
    """A face, and the same look at it manipulated."""

    real: Image  # [S, S, 3]
    fake: Image  # [S, S, 3]
    mask: Floats  # [S, S] in [0, 1]: how much of each pixel of the fake is not the real one's
    kind: str  # one of `pairs.KINDS`


class Fit(StrEnum):
    """How the colours of a face are made to fit where it is laid."""

    COLOURS = "colours"  # their mean and spread become those of the face beneath
    GRADIENTS = "gradients"  # cloned in: nothing but its gradients is kept
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """A face as the bank holds it."""

    picture: Image  # [H, W, 3]
    landmarks_px: Floats  # [468, 2]


def self_blend(
    look: Look,
    out_from_look: Floats,
    side_px: int,
    *,
    options: SynthOptions,
    random: np.random.Generator,
) -> FacePair:
    """
    Lay a face upon itself.

    Args:
        look: a real face.
        out_from_look: `[2, 3]`, pixel of the look -> pixel of the pair.
        side_px: side of the pair's pictures.
    """
    detail = _wanted_detail(options, random)
    # Moved by whole pixels, a face keeps every trace that its pixels carry: nothing but the seam,
    # the colours and what is seen twice is left to be learned.
    keeps_pixels = detail is not None and detail.ratio == 1 and random.random() < _COIN
    movement = _moved(options, side_px, random, by_whole_pixels=keeps_pixels)
    moved = (movement @ _square(out_from_look))[:2]
    landmarks_out = transformed(look.landmarks_px, moved)
    ratio = float(random.choice(RATIOS))
    mask = ratio * soft_mask(landmarks_out, side_px, options=options, random=random)
    target = drawn(look.picture, out_from_look, side_px)
    source = drawn(look.picture, moved, side_px)
    changes_source = random.random() < _COIN
    changed = source if changes_source else target
    if random.random() < options.colour_share:
        changed = recoloured(changed, options.colour_strength, random)
    if detail is None:
        changed = spoiled(changed, random)
    source, target = (changed, target) if changes_source else (source, changed)
    return _blended(source, target, mask, detail, "self_blend", options=options, random=random)


def cross_blend(
    look: Look,
    other: Look,
    out_from_look: Floats,
    side_px: int,
    *,
    options: SynthOptions,
    random: np.random.Generator,
) -> FacePair:
    """
    Lay somebody else's face upon a face, moved to fit and in its colours.

    Args:
        look: a real face.
        other: whose face is laid upon it.
        out_from_look: `[2, 3]`, pixel of the look -> pixel of the pair.
        side_px: side of the pair's pictures.
    """
    landmarks_out = transformed(look.landmarks_px, out_from_look)
    ratio = float(random.choice(CROSS_RATIOS))
    mask = ratio * soft_mask(landmarks_out, side_px, options=options, random=random)
    target = drawn(look.picture, out_from_look, side_px)
    # Fitted as the bank holds them: out there the face may be mirrored, which no similarity is.
    look_from_other = fitted(
        other.landmarks_px, look.landmarks_px, may_shear=bool(random.random() < _COIN)
    )
    out_from_other = out_from_look @ _square(look_from_other)
    source = drawn(other.picture, out_from_other, side_px)
    fit = Fit.GRADIENTS if random.random() < options.poisson_share else Fit.COLOURS
    return laid_upon(source, target, mask, "cross_blend", fit=fit, options=options, random=random)


def laid_upon(
    source: Image,
    target: Image,
    mask: Floats,
    kind: str,
    *,
    fit: Fit,
    options: SynthOptions,
    random: np.random.Generator,
) -> FacePair:
    """
    Blend a face that lies where it shall with the face beneath it.

    Args:
        source: `[S, S, 3]`, what shall be seen where the mask is 1.
        target: `[S, S, 3]`, what is seen where it is 0.
        mask: `[S, S]` in [0, 1].
        kind: of the pair that comes out.
        fit: how its colours are brought to those beneath.
    """
    if fit is Fit.GRADIENTS:
        source = cloned(source, target, mask)
    elif fit is Fit.COLOURS:
        source = in_colours_of(source, target, mask, strength=random.uniform(0.7, 1.0))
    detail = _wanted_detail(options, random)
    if detail is not None:
        source = _brought_down(source, target, mask)
    return _blended(source, target, mask, detail, kind, options=options, random=random)


def with_detail(pair: FacePair, *, options: SynthOptions, random: np.random.Generator) -> FacePair:
    """Set the detail of a fake that somebody else made, as that of a balanced blend is."""
    ratio = _drawn_detail(options, random).ratio
    fake = _with_detail(
        pair.fake,
        pair.fake,
        pair.real,
        pair.mask,
        ratio=ratio,
        sigma_px=random.uniform(*_UNSHARP_PX),
    )
    return replace(pair, fake=fake)


def detail_ratio(real: Image, fake: Image, mask: Floats) -> float:
    """
    Measure how sharp the manipulated part is beside the same part of the real picture.

    Returns:
        Spread of the Laplacian of the fake over that of the real, where the mask has at least
        half of its height; under 1 the fake is softer. 1 where there is no mask, or no detail.
    """
    top = float(mask.max())
    if top <= 0:
        return 1.0
    where = inside(mask)
    of_real, of_fake = (
        float(np.vdot(c, c)) for c in (_curvature(_grey(p), where) for p in (real, fake))
    )
    return math.sqrt(of_fake / of_real) if of_real > 0 and of_fake > 0 else 1.0


def drawn(picture: Image, out_from_picture: Floats, side_px: int) -> Image:
    """Draw a picture anew by one warp, `[side_px, side_px, C]`; what lies beyond it is mirrored."""
    part = _cut_out(picture, np.asarray(out_from_picture, np.float64), side_px)
    return part if part is not None else redrawn(picture, out_from_picture, (side_px, side_px))


def redrawn(
    picture: Image,
    out_from_picture: Floats,
    size: tuple[int, int],
    *,
    interpolation: int = cv2.INTER_LINEAR,
) -> Image:
    """
    Draw a picture anew by one warp, blurred before where that shrinks it.

    Args:
        picture: `[H, W, C]`; what lies beyond it is mirrored.
        out_from_picture: `[2, 3]`.
        size: width and height of what comes out.
        interpolation: OpenCV's number for it.
    """
    affine = np.asarray(out_from_picture, np.float64)
    scale = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    if scale < _SHRINKS:
        # As much blur as the coarser grid needs, no more: aliases look like manipulation.
        sigma = 0.5 * math.sqrt(1 / scale**2 - 1)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    out = cv2.warpAffine(
        picture, affine, size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(out, np.uint8)


def _cut_out(picture: Image, affine: NDArray[np.float64], side_px: int) -> Image | None:
    """Cut a part out, pixel for pixel; None where the affine does more than that and mirror."""
    is_mirrored = affine[0, 0] < 0
    same = np.array([[-1, 0] if is_mirrored else [1, 0], [0, 1]])
    if np.abs(affine[:, :2] - same).max() > _EXACT:
        return None
    left = affine[0, 2] - (side_px - 1) if is_mirrored else -affine[0, 2]
    x, y = round(left), round(-affine[1, 2])
    height, width = picture.shape[:2]
    if max(abs(left - x), abs(affine[1, 2] + y)) > _EXACT or not (
        0 <= x <= width - side_px and 0 <= y <= height - side_px
    ):
        return None
    part = picture[y : y + side_px, x : x + side_px]
    return np.ascontiguousarray(part[:, ::-1] if is_mirrored else part)


_EXACT = 1e-3
_SHRINKS = 0.8
"""Scale under which a bilinear warp alone would leave out pixels."""


def through_jpeg(picture: Image, *, quality: int) -> Image:
    """Compress a picture as JPEG, its colours at half the resolution, and read it back."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    back = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert back is not None
    return np.asarray(cv2.cvtColor(back, cv2.COLOR_BGR2RGB), np.uint8)


def transformed(points_px: Floats, affine: Floats) -> Floats:
    """Put points `[N, 2]` through an affine `[2, 3]`."""
    return np.asarray(points_px @ affine[:, :2].T + affine[:, 2], np.float32)


def soft_mask(
    landmarks_px: Floats, side_px: int, *, options: SynthOptions, random: np.random.Generator
) -> Floats:
    """
    Draw a mask of a part of a face, `[side_px, side_px]` in [0, 1].

    The part is taken at random, its outline wobbles, and its edge is soft, and mostly within the
    part, as a forger's is. Its highest value is 1, unless the part lies beyond the picture.
    """
    small_px = max(8, side_px // _MASK_SHRINK)
    scale = small_px / side_px
    # With surroundings: what lies beyond the picture must wobble into it as the rest does.
    border_px = math.ceil(_BORDER * small_px)
    points = (_outline(landmarks_px, random) + 0.5) * scale - 0.5 + border_px
    mask = np.zeros((small_px + 2 * border_px, small_px + 2 * border_px), np.float32)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], (1.0,), shift=4)
    mask = wobbled(mask, options.most_elastic * small_px, random)
    across_px = math.sqrt(max(float(mask.sum()), 1.0))
    # Shrink and soften in proportion to the part: the same blur would wipe a mouth away.
    shrunk = _gaussian(mask, random.uniform(0.005, 0.045) * across_px)
    shrunk[shrunk < _STILL_INSIDE] = 0
    softened = _gaussian(shrunk, random.uniform(0.012, 0.10) * across_px)
    seen = slice(border_px, border_px + small_px)
    top = float(softened[seen, seen].max())
    if top <= 0:  # nothing was left of it; the face lies beyond the picture, or is a line
        softened, top = _gaussian(mask, 1.0), 1.0
    softened = softened[seen, seen] / np.float32(top)
    out = cv2.resize(softened, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(out, 0, 1), np.float32)


_STILL_INSIDE = 0.99
_BORDER = 0.125  # of the picture's side


def _outline(landmarks_px: Floats, random: np.random.Generator) -> Floats:
    """Return the corners of a part of the face, taken at random, in order."""
    hull = list(HULL_SHARE)[random.choice(len(HULL_SHARE), p=list(HULL_SHARE.values()))]
    brow_raise = random.uniform(0.05, 0.22) if hull == Hull.FOREHEAD else 0.0
    widening = random.uniform(1.05, 1.6) if hull == Hull.MOUTH else 1.0
    return outline(landmarks_px, hull, brow_raise=brow_raise, widening=widening)


def outline(
    landmarks_px: Floats, hull: Hull, *, brow_raise: float = 0.0, widening: float = 1.0
) -> Floats:
    """
    Return the corners of a part of the face, in order, `[N, 2]`.

    Args:
        landmarks_px: `[468, 2]`.
        hull: which part.
        brow_raise: by how much of the way from chin to nose the hairline of `FOREHEAD` is raised.
        widening: times as wide as the landmarks are.
    """
    points = landmarks_px[list(_HULL_POINTS[hull])].astype(np.float32)
    if hull == Hull.FOREHEAD:
        up = landmarks_px[_NOSE_BRIDGE] - landmarks_px[_CHIN]
        points[np.isin(_HULL_POINTS[hull], _HAIRLINE)] += np.float32(brow_raise) * up
    if widening != 1:
        middle = points.mean(axis=0)
        points = middle + np.float32(widening) * (points - middle)
    corners = cv2.convexHull(points.astype(np.float32))
    return np.asarray(corners[:, 0], np.float32)


def wobbled(mask: Floats, spread_px: float, random: np.random.Generator) -> Floats:
    """Move every pixel a little, its neighbours by about as much."""
    side_px = mask.shape[0]
    knots = int(random.integers(4, 14))
    coarse = random.standard_normal((2, knots, knots), np.float32)
    away = [
        cv2.resize(c, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        * np.float32(random.uniform(0.2, 1.0) * spread_px)
        for c in coarse
    ]
    at = np.arange(side_px, dtype=np.float32)
    return np.asarray(
        cv2.remap(mask, away[0] + at, away[1] + at[:, None], cv2.INTER_LINEAR), np.float32
    )


def _moved(
    options: SynthOptions, side_px: int, random: np.random.Generator, *, by_whole_pixels: bool
) -> Floats:
    """Draw a small movement of a picture about its middle, `[3, 3]`."""
    low = 1 - options.most_scaling
    scale = random.uniform(low, 1 / low)
    turn = math.radians(options.most_turn_deg) * random.uniform(-1, 1)
    right = options.most_shift * side_px * random.uniform(-1, 1)
    down = options.most_shift / 2 * side_px * random.uniform(-1, 1)
    if by_whole_pixels:
        scale, turn, right, down = 1.0, 0.0, float(round(right)), float(round(down))
    return about_middle(side_px, scale=scale, turn_rad=turn, shift_px=(right, down))


def about_middle(
    side_px: int, *, scale: float, turn_rad: float, shift_px: tuple[float, float]
) -> Floats:
    """Return `[3, 3]`, a picture's pixels turned and scaled about its middle, then shifted."""
    cos, sin = scale * math.cos(turn_rad), scale * math.sin(turn_rad)
    middle = (side_px - 1) / 2
    return np.array(
        [
            [cos, -sin, middle - (cos - sin) * middle + shift_px[0]],
            [sin, cos, middle - (sin + cos) * middle + shift_px[1]],
            [0, 0, 1],
        ],
        np.float32,
    )


def _square(affine: Floats) -> Floats:
    return np.concatenate([affine, np.array([[0, 0, 1]], np.float32)])


def recoloured(picture: Image, strength: float, random: np.random.Generator) -> Image:
    """Change brightness, contrast, saturation, hue, and at times the balance of the colours."""
    grey = np.array([0.299, 0.587, 0.114])
    contrast = 1 + 0.1 * strength * random.uniform(-1, 1)
    saturation = 1 + 0.2 * strength * random.uniform(-1, 1)
    turn = math.radians(6 * strength) * random.uniform(-1, 1)
    # A turn of the hue is one about the grey axis (Rodrigues).
    axis = np.full(3, 1 / math.sqrt(3))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = (
        math.cos(turn) * np.eye(3)
        + math.sin(turn) * cross
        + (1 - math.cos(turn)) * np.outer(axis, axis)
    )
    matrix = contrast * (saturation * np.eye(3) + (1 - saturation) * grey[None]) @ hue
    offset = np.full(3, 128 * (1 - contrast) + 255 * 0.1 * strength * random.uniform(-1, 1))
    if random.random() < _TINTED_SHARE:
        offset += 20 * strength * random.uniform(-1, 1, 3)
    return np.asarray(cv2.transform(picture, np.column_stack([matrix, offset])), np.uint8)


_TINTED_SHARE = 0.3  # Shiohara and Yamasaki


def spoiled(picture: Image, random: np.random.Generator) -> Image:
    """Change the detail of a picture: too little by scaling it, or too much by sharpening it."""
    return _resampled(picture, random) if random.random() < _COIN else _crisped(picture, random)


_DOWN = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST)
_UP = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def _resampled(picture: Image, random: np.random.Generator) -> Image:
    """Scale a picture down and up again, as the coarse grid of a generator does."""
    side_px = picture.shape[0]
    small_px = max(8, round(side_px * random.uniform(0.25, 0.75)))
    small = cv2.resize(
        picture, (small_px, small_px), interpolation=_DOWN[int(random.integers(len(_DOWN)))]
    )
    back = cv2.resize(small, (side_px, side_px), interpolation=_UP[int(random.integers(len(_UP)))])
    return np.asarray(back, np.uint8)


def _crisped(picture: Image, random: np.random.Generator) -> Image:
    """Sharpen a picture by unsharp masking."""
    blurred = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.7, 1.5))
    gain = random.uniform(0.2, 0.8)
    return np.asarray(cv2.addWeighted(picture, 1 + gain, blurred, -gain, 0), np.uint8)


def in_colours_of(source: Image, target: Image, mask: Floats, *, strength: float) -> Image:
    """Give a picture the mean and spread of another's colours, both inside of a mask, in CIELAB."""
    where = inside(mask).astype(np.uint8)
    lab = cv2.cvtColor(source, cv2.COLOR_RGB2LAB)
    mean, spread = (v[:, 0] for v in cv2.meanStdDev(lab, mask=where))
    wanted_mean, wanted_spread = (
        v[:, 0] for v in cv2.meanStdDev(cv2.cvtColor(target, cv2.COLOR_RGB2LAB), mask=where)
    )
    gain = 1 + strength * (np.clip(wanted_spread / np.maximum(spread, 1), 0.5, 2) - 1)
    offset = mean + strength * (wanted_mean - mean) - gain * mean
    matched = cv2.transform(lab, np.column_stack([np.diag(gain), offset]))
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), np.uint8)


def cloned(source: Image, target: Image, mask: Floats) -> Image:
    """Fit a face in by its gradients alone: Perez et al., "Poisson Image Editing", 2003."""
    where = np.where(mask > 0.02, 255, 0).astype(np.uint8)  # noqa: PLR2004 - of 1: all but nothing
    where[[0, -1]], where[:, [0, -1]] = 0, 0  # OpenCV reads one pixel around it
    x, y, width, height = cv2.boundingRect(where)
    if min(width, height) < _LEAST_CLONE_PX:
        return source
    centre = (x + width // 2, y + height // 2)
    return np.asarray(cv2.seamlessClone(source, target, where, centre, cv2.NORMAL_CLONE), np.uint8)


_LEAST_CLONE_PX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Detail:
    """How sharp the blend shall be beside the original, as `detail_ratio` measures it."""

    ratio: float
    by_softening_the_real: bool = False  # and not by sharpening the fake


def _wanted_detail(options: SynthOptions, random: np.random.Generator) -> _Detail | None:
    """Draw what the detail of a blend shall be; None where it falls as it may."""
    if random.random() >= options.balance_sharpness:
        return None
    return _drawn_detail(options, random)


def _drawn_detail(options: SynthOptions, random: np.random.Generator) -> _Detail:
    kind, amount, coin = random.random(3)
    away = 1.08 + 0.7 * amount**2  # by 8 % at least, which shows; mostly not by much more
    if kind < options.equal_share:
        return _Detail(ratio=1.0)
    if kind < options.equal_share + options.sharper_share:
        return _Detail(ratio=away, by_softening_the_real=coin < _COIN)
    return _Detail(ratio=1 / away)


def _blended(
    source: Image,
    target: Image,
    mask: Floats,
    detail: _Detail | None,
    kind: str,
    *,
    options: SynthOptions,
    random: np.random.Generator,
) -> FacePair:
    """Lay the source upon the target through the mask, and set the detail of what comes of it."""
    if random.random() < options.source_jpeg_share:
        source = through_jpeg(source, quality=int(random.integers(50, 96)))
    if detail is not None and detail.by_softening_the_real:
        target = _softened(target, random)
    fake = np.asarray(cv2.blendLinear(source, target, mask, 1 - mask), np.uint8)
    if detail is not None:
        is_met = detail.by_softening_the_real and detail_ratio(target, fake, mask) >= detail.ratio
        if not is_met:
            sigma_px = random.uniform(*_UNSHARP_PX)
            fake = _with_detail(fake, source, target, mask, ratio=detail.ratio, sigma_px=sigma_px)
    return FacePair(real=target, fake=fake, mask=mask, kind=kind)


def _softened(picture: Image, random: np.random.Generator) -> Image:
    if random.random() < _COIN:
        return _resampled(picture, random)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 1.4)), np.uint8)


def _brought_down(source: Image, target: Image, mask: Floats) -> Image:
    """Blur a face that is much sharper than the one it is laid upon; unmasking cannot do that."""
    brought = source
    for sigma_px in _COARSER_PX:
        if detail_ratio(target, brought, mask) <= _MUCH_SHARPER:
            break
        brought = np.asarray(cv2.GaussianBlur(source, (0, 0), sigma_px), np.uint8)
    return brought


_COARSER_PX = (0.8, 1.3, 2.0, 3.0)
_MUCH_SHARPER = 1.3


def _with_detail(
    fake: Image, source: Image, target: Image, mask: Floats, *, ratio: float, sigma_px: float
) -> Image:
    """
    Sharpen or soften the manipulated part until its detail is so many times the original's.

    Adding `g` times the source's fine detail through the mask makes the energy of the Laplacian
    a square function of `g`, so the `g` that is wanted is found without trying. What cannot be
    reached within `_GAIN` is come close to.
    """
    top = float(mask.max())
    if top <= 0:
        return fake
    grey = _grey(source).astype(np.float32)
    fine = mask * (grey - _gaussian(grey, sigma_px))
    where = inside(mask)
    wanted, have, added = (_curvature(p, where) for p in (_grey(target), _grey(fake), fine))
    gain = _gain(
        square=float(np.vdot(added, added)),
        cross=float(np.vdot(added, have)),
        excess=float(np.vdot(have, have)) - ratio**2 * float(np.vdot(wanted, wanted)),
    )
    # Through a faint mask it takes more to show.
    gain = min(max(gain, _GAIN[0]), _GAIN[1] / top)
    more = np.rint(fine * np.float32(gain)).astype(np.int16)
    return np.asarray(cv2.add(fake, cv2.merge([more] * 3), dtype=cv2.CV_8U), np.uint8)


def _gain(*, square: float, cross: float, excess: float) -> float:
    """Solve `square * g^2 + 2 * cross * g + excess = 0` for the `g` next to 0."""
    if square <= 0:
        return 0.0
    rest = (cross / square) ** 2 - excess / square
    nearest = -cross / square  # the least detail there can be, where the wanted is still less
    if rest > 0:
        nearest = min((nearest + s * math.sqrt(rest) for s in (-1, 1)), key=abs)
    return nearest


def inside(mask: Floats) -> Floats:
    """Return 1 where a mask has at least half of its height, else 0."""
    return np.asarray(mask >= 0.5 * mask.max(), np.float32)


def _curvature(grey: Image | Floats, where: Floats) -> Floats:
    """Return the Laplacian of a picture, 0 outside. Pixel noise, which no codec keeps, is out."""
    smooth = _gaussian(grey.astype(np.float32), _DETAIL_PX)
    return np.asarray(cv2.Laplacian(smooth, cv2.CV_32F) * where, np.float32)


def _grey(picture: Image) -> Image:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _gaussian(picture: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma_px, 0.1)), np.float32)
