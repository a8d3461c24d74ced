"""
How is a forged face laid into a frame, so that it is known exactly how much of each pixel it is?

All that a mask goes through is done at the forger's size, and the mask is then drawn once into the
frame and rounded to 255 levels. So `frame = alpha * face + (1 - alpha) * frame` holds with the very
alpha that is returned, where it is 0 not a bit is changed, and a grey video can hold it.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection.align import FaceRegion, fitted
from workers.detection.stage import Floats, Image
from workers.training.forging.views import share_off_frame
from workers.training.placing import cut_out, points_in_crop
from workers.training.swapping import colour
from workers.training.swapping.choices import Compositing, Resample
from workers.training.synth import (
    Hull,
    cloned,
    outline,
    redrawn,
    through_jpeg,
    wobbled,
)

MASK_PX = 128
"""Side at which masks are made, whatever the forger's: they are smooth."""
LEVELS = 255
_BORDER = 0.06
"""Share of the view's side over which every mask goes to 0 at its border: what is beyond was not
forged."""
_WARP_KNOTS = 12
_WARP_REACH = 0.12
"""Of the view's side: how far a landmark pulls its surroundings along."""
_INTERPOLATION: dict[Resample, int] = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


class Laid(NamedTuple):
    """A frame with a forged face in it, and how much of each pixel that is."""

    frame: Image  # [H, W, 3]
    levels: NDArray[np.uint8]  # [H, W], LEVELS times the alpha


def lay_in(
    frame: Image,
    view: FaceRegion,
    face: Image,
    mask: NDArray[np.uint8],
    landmarks_px: Floats,
    *,
    choices: Compositing,
    forged_landmarks_px: Floats | None = None,
) -> Laid:
    """
    Lay a forged face into a frame. The same arguments give the same.

    Args:
        frame: `[H, W, 3]`; not changed.
        view: what the forger saw of it, and what `face` is to be laid upon: wider than the face.
        face: `[S, S, 3]`, forged.
        mask: `[S, S]`, 255 where the forger wants its face to be seen.
        landmarks_px: `[468 or more, 2]` in pixels of the frame.
        choices: how.
        forged_landmarks_px: `[468 or more, 2]` in pixels of `face`; needed by `landmark_warp`.

    Returns:
        The frame, and its levels; unchanged and 0 where the view lies beyond the frame.
    """
    side_px = face.shape[0]
    original = seen(frame, view, side_px=side_px)
    points = points_in_crop(landmarks_px, view, side_px=side_px)
    if choices.landmark_warp != "none" and forged_landmarks_px is not None:
        face, mask = _brought_into_place(face, mask, forged_landmarks_px, points, choices)
    shape = _mask(mask, points, choices)
    laid = _laid(shape, view, frame.shape[:2])
    out, levels = frame.copy(), np.zeros(frame.shape[:2], np.uint8)
    if laid is None:
        return Laid(out, levels)
    here_levels, part = laid

    small = cv2.resize(shape, (side_px, side_px), interpolation=cv2.INTER_AREA)
    face = colour.matched(
        face,
        original,
        np.asarray(small, np.float32),
        kind=choices.colour,
        strength=choices.colour_strength,
    )
    if choices.face_jpeg:
        face = through_jpeg(face, quality=choices.face_jpeg)
    here = (np.float32(part[1].start), np.float32(part[0].start))
    part_from_face = view.frame_from_crop(side_px)
    part_from_face[:, 2] -= here
    height, width = here_levels.shape
    source = redrawn(
        face,
        part_from_face,
        (width, height),
        interpolation=_INTERPOLATION[choices.resample],
    )
    source = _sharpened(source, choices)
    share = here_levels.astype(np.float32) / np.float32(LEVELS)
    target = np.ascontiguousarray(frame[part])
    if choices.blend == "poisson":
        source = cloned(source, target, share)

    out[part] = cv2.blendLinear(source, target, share, 1 - share)
    levels[part] = here_levels
    return Laid(out, levels)


def seen(frame: Image, view: FaceRegion, *, side_px: int) -> Image:
    """Return what a forger sees of a frame, `[side_px, side_px, 3]`; beyond it is mirrored."""
    reaches_off = share_off_frame(frame, view) > 0
    border = cv2.BORDER_REFLECT_101 if reaches_off else cv2.BORDER_CONSTANT
    return cut_out(frame, view, side_px=side_px, border=border)


def _mask(forged: NDArray[np.uint8], points_px: Floats, choices: Compositing) -> Floats:
    """Make the mask as the view sees it, `[MASK_PX, MASK_PX]` in [0, 1]."""
    points = (points_px + np.float32(0.5)) * np.float32(MASK_PX / forged.shape[0]) - np.float32(0.5)
    mask = _shape(points, choices)
    if choices.wobble:
        random = np.random.default_rng(choices.wobble_seed)
        mask = wobbled(mask, choices.wobble * MASK_PX, random)
    if choices.uses_forged_mask:
        own = cv2.resize(forged, (MASK_PX, MASK_PX), interpolation=cv2.INTER_LINEAR)
        mask = mask * (own.astype(np.float32) / np.float32(255))
    reach_px = round(abs(choices.grow) * MASK_PX)
    if reach_px:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_px + 1,) * 2)
        moved = (cv2.dilate if choices.grow > 0 else cv2.erode)(mask, kernel)
        mask = np.asarray(moved, np.float32)
    if choices.blur:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), choices.blur * MASK_PX), np.float32)
    return np.asarray(mask * _WINDOW * np.float32(choices.opacity), np.float32)


def _shape(points_px: Floats, choices: Compositing) -> Floats:
    """Draw the shape that a mask starts from."""
    if choices.mask_shape == "whole":
        return np.ones((MASK_PX, MASK_PX), np.float32)
    mask = np.zeros((MASK_PX, MASK_PX), np.float32)
    oval = outline(points_px, Hull.OVAL)
    low, high = oval.min(axis=0), oval.max(axis=0)
    if choices.mask_shape == "ellipse":
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        corners = (low + high) / 2 + (high - low) / 2 * np.stack(
            [np.cos(angle), np.sin(angle)], axis=-1
        )
    elif choices.mask_shape == "rectangle":
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    else:
        corners = outline(points_px, Hull(choices.mask_shape), brow_raise=choices.brow_raise)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], (1.0,), shift=4)
    return mask


def _window() -> Floats:
    """Return what is 1 within a view and goes to 0 at its border, `[MASK_PX, MASK_PX]`."""
    from_border = np.minimum(np.arange(MASK_PX), np.arange(MASK_PX)[::-1]) / (_BORDER * MASK_PX)
    edge = np.clip(from_border, 0, 1)
    return np.asarray(np.outer(edge, edge), np.float32)


_WINDOW = _window()


def _laid(
    shape: Floats, view: FaceRegion, frame_size: tuple[int, ...]
) -> tuple[NDArray[np.uint8], tuple[slice, slice]] | None:
    """Draw a mask into the frame: its levels where it is not 0, and where that is."""
    affine = view.frame_from_crop(MASK_PX)
    corners = np.array([(x, y, 1) for x in (0, MASK_PX - 1) for y in (0, MASK_PX - 1)]) @ affine.T
    most = [frame_size[1], frame_size[0]]
    low = np.clip(np.floor(corners.min(axis=0)), 0, most).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, most).astype(int)
    if (high <= low).any():
        return None
    affine[:, 2] -= low
    width, height = (int(side) for side in high - low)
    drawn = cv2.warpAffine(shape, affine, (width, height), flags=cv2.INTER_LINEAR, borderValue=0)
    levels = np.asarray(np.rint(np.clip(drawn, 0, 1) * LEVELS), np.uint8)
    x, y, width, height = cv2.boundingRect(levels)
    if not width:
        return None
    part = (slice(low[1] + y, low[1] + y + height), slice(low[0] + x, low[0] + x + width))
    return np.ascontiguousarray(levels[y : y + height, x : x + width]), part


def _sharpened(picture: Image, choices: Compositing) -> Image:
    if not choices.sharpen:
        return picture
    blurred = cv2.GaussianBlur(picture, (0, 0), choices.sharpen_px)
    gain = choices.sharpen
    return np.asarray(cv2.addWeighted(picture, 1 + gain, blurred, -gain, 0), np.uint8)


def _brought_into_place(
    face: Image,
    mask: NDArray[np.uint8],
    from_px: Floats,
    onto_px: Floats,
    choices: Compositing,
) -> tuple[Image, NDArray[np.uint8]]:
    """Warp a forged face so that its landmarks come to lie on others, or part of the way."""
    side_px = face.shape[0]
    onto_px = from_px + np.float32(choices.landmark_warp_amount) * (onto_px - from_px)
    if choices.landmark_warp == "similarity":
        affine = fitted(from_px, onto_px)
        both = [redrawn(picture, affine, (side_px, side_px)) for picture in (face, mask)]
        return both[0], both[1]
    away_x, away_y = _field(onto_px, from_px - onto_px, side_px)
    at = np.arange(side_px, dtype=np.float32)
    both = [
        np.asarray(
            cv2.remap(
                picture,
                away_x + at,
                away_y + at[:, None],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            np.uint8,
        )
        for picture in (face, mask)
    ]
    return both[0], both[1]


def _field(at_px: Floats, away_px: Floats, side_px: int) -> tuple[Floats, Floats]:
    """
    Spread movements that are known at points `[N, 2]` over a picture, two of `[S, S]`.

    Each knot of a coarse grid moves as the points around it do, the near ones most (Shepard, "A
    Two-Dimensional Interpolation Function", 1968, with a Gaussian), and the less the further all
    of them are.
    """
    knots = (np.arange(_WARP_KNOTS, dtype=np.float32) + np.float32(0.5)) * np.float32(
        side_px / _WARP_KNOTS
    ) - np.float32(0.5)
    reach = np.float32(_WARP_REACH * side_px)
    near_x, near_y = (
        np.exp(-0.5 * ((knots[:, None] - at_px[None, :, axis]) / reach) ** 2) for axis in (0, 1)
    )
    weight = near_y @ near_x.T + np.float32(1)  # one point's worth of standing still
    spread = [(near_y * away_px[None, :, axis]) @ near_x.T / weight for axis in (0, 1)]
    x, y = (
        np.asarray(cv2.resize(s.astype(np.float32), (side_px, side_px)), np.float32) for s in spread
    )
    return x, y
