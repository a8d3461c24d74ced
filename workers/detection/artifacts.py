"""
What pictures does an analysis leave behind?

Masks over the whole frame, everybody's face, where the classifier looked on it, and the frames that
tell most.
"""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.evidence import Artifact, ArtifactKind
from app.domain.media import Box
from workers.detection import align
from workers.detection.stage import (
    CROP_MARGIN,
    CROP_SIDE_PX,
    AttentionMap,
    FaceClip,
    FaceSample,
    FaceTrack,
    Floats,
    Image,
    PixelMask,
)

MARKED_FROM = 128
"""Of 255: a pixel at or over it counts as manipulated where a box or an area is asked for."""
FRONTAL_ENOUGH = 0.8
"""Of the most frontal look at a person: among those the sharpest is chosen."""
MOST_HEAT = 0.65
"""Share of colour in the pixel that matters most; the face must stay to be seen."""
PANEL_PX, GAP_PX = CROP_SIDE_PX, 8
"""Height of what stands side by side in a telling frame, and the white between."""
MOST_WIDE = 3
"""Times as wide as high: a frame that is wider has white above and below."""
MARK_COLOUR, MOST_TINT = (0, 114, 178), 0.5
"""RGB: Okabe & Ito's blue, which no colour vision confuses with skin; and its share at most."""
INNER, OUTER = (255, 255, 255), (0, 0, 0)
"""Of two lines side by side one is seen on any picture."""


def mask_artifact(clip: FaceClip, mask: PixelMask) -> Artifact:
    """
    Draw a mask over the frame it was made for.

    The PNG is grey, as large as the video is displayed: 255 is certainly manipulated, 0 certainly
    not, or not looked at. No threshold is applied.
    """
    size = (clip.frame_width_px, clip.frame_height_px)
    grey = over_frame(mask.probability, mask.sample.frame_from_crop, size=size)
    png = _png(grey)
    return Artifact(
        id=f"{clip.person_id}-{mask.sample.frame_index:06d}",
        kind=ArtifactKind.MASK,
        person_id=clip.person_id,
        pts_s=float(mask.sample.pts_s),
        frame_index=int(mask.sample.frame_index),
        width_px=size[0],
        height_px=size[1],
        box_px=_box_of_marked(grey),
        area=float(mask.area),
        sha256=hashlib.sha256(png).hexdigest(),
        png=png,
    )


def attention_artifact(clip: FaceClip, attention: AttentionMap) -> Artifact:
    """
    Lay a map of attention over the look it was made of.

    The PNG shows the look in grey, and over it inferno, whose brightness rises evenly with the
    weight: untouched where the weight is 0, bright yellow where it is 1.
    """
    sample = attention.sample
    png = _png(heated(sample.crop, attention.weight)[..., ::-1])
    return Artifact(
        id=f"{clip.person_id}-attention-{sample.frame_index:06d}",
        kind=ArtifactKind.ATTENTION,
        person_id=clip.person_id,
        pts_s=float(sample.pts_s),
        frame_index=int(sample.frame_index),
        width_px=sample.crop.shape[1],
        height_px=sample.crop.shape[0],
        box_px=None,
        area=0.0,
        sha256=hashlib.sha256(png).hexdigest(),
        png=png,
    )


def crop_artifact(clip: FaceClip) -> Artifact | None:
    """Return the best look at a person, upright; None of somebody with no look at all."""
    look = best_look(clip)
    if look is None:
        return None
    png = _png(look.crop[..., ::-1])
    return Artifact(
        id=clip.person_id,
        kind=ArtifactKind.CROP,
        person_id=clip.person_id,
        pts_s=float(look.pts_s),
        frame_index=int(look.frame_index),
        width_px=look.crop.shape[1],
        height_px=look.crop.shape[0],
        box_px=None,
        area=0.0,
        sha256=hashlib.sha256(png).hexdigest(),
        png=png,
    )


def frame_artifact(clip: FaceClip, look: FaceSample, mask: PixelMask | None) -> Artifact:
    """
    Draw a telling frame, for people.

    Side by side the frame with the face framed, the face alone as it is, and, where anything was
    marked, the same with the mask.
    """
    height_px, width_px = look.thumbnail.shape[:2]
    scale = min(PANEL_PX / height_px, MOST_WIDE * PANEL_PX / width_px)
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    frame = np.array(cv2.resize(look.thumbnail, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    affine = align.in_video(look.frame_from_crop, scale=clip.frame_width_px / frame.shape[1])
    _outline(frame, [_box_corners(affine)])
    panel = np.full((PANEL_PX, size[0], 3), 255, np.uint8)
    panel[(PANEL_PX - size[1]) // 2 :][: size[1]] = frame
    panels = [panel, look.crop]
    if mask is not None and mask.area > 0:
        panels.append(marked(look.crop, mask.probability))
    gap = np.full((PANEL_PX, GAP_PX, 3), 255, np.uint8)
    picture = np.concatenate([part for it in panels for part in (it, gap)][:-1], axis=1)
    png = _png(picture[..., ::-1])
    return Artifact(
        id=f"{clip.person_id}-frame-{look.frame_index:06d}",
        kind=ArtifactKind.FRAME,
        person_id=clip.person_id,
        pts_s=float(look.pts_s),
        frame_index=int(look.frame_index),
        width_px=picture.shape[1],
        height_px=picture.shape[0],
        box_px=None,
        area=0.0 if mask is None else float(mask.area),
        sha256=hashlib.sha256(png).hexdigest(),
        png=png,
    )


def marked(crop: Image, probability: Floats) -> Image:
    """
    Return a crop with a mask `[H, W]` laid over it.

    Pixels that are more likely manipulated than not are tinted, the surer the more, and outlined;
    the others stay as they are.
    """
    is_marked = probability * 255 >= MARKED_FROM
    share = np.where(is_marked, np.clip(probability, 0, 1) * MOST_TINT, 0)[..., None]
    mixed = crop * (1 - share) + np.array(MARK_COLOUR, np.float32) * share
    picture = np.ascontiguousarray(np.rint(mixed).astype(np.uint8))
    marks = is_marked.astype(np.uint8)
    contours, _ = cv2.findContours(marks, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    _outline(picture, [np.asarray(c, np.int32).reshape(-1, 2) for c in contours])
    return picture


def best_look(clip: FaceClip) -> FaceSample | None:
    """Choose the sharpest of the looks that show the face from the front, as far as any does."""
    looks = [(look, _frontality(track, look)) for track in clip.tracks for look in track.samples]
    if not looks:
        return None
    most = max(front for _, front in looks)
    return max(
        (look for look, front in looks if front >= FRONTAL_ENOUGH * most),
        key=lambda look: look.sharpness,
    )


def heated(picture: Image, weight: Floats) -> Image:
    """Lay weights `[H, W]` in [0, 1] over a picture `[H, W, 3]`, the picture in grey."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    level = np.rint(np.clip(weight, 0, 1) * 255).astype(np.uint8)
    heat = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    share = MOST_HEAT * level[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(grey + share * (heat - grey)), np.uint8)


def over_frame(probability: Floats, frame_from_crop: Floats, *, size: tuple[int, int]) -> Image:
    """Lay a crop's probabilities `[H, W]` over a frame of `size`, as grey `[height, width]`."""
    grey = np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)
    crop_from_frame = np.asarray(cv2.invertAffineTransform(frame_from_crop), np.float32)
    return align.warp(grey, crop_from_frame, size=size)


def _frontality(track: FaceTrack, look: FaceSample) -> float:
    (at,) = np.flatnonzero(track.frame_index == look.frame_index)
    return align.frontality(track.landmarks_px[at])


def _box_corners(frame_from_crop: Floats) -> NDArray[np.int32]:
    """Return the corners of the face box in a frame, as `[4, 2]` whole pixels."""
    face = CROP_SIDE_PX / CROP_MARGIN
    low, high = (CROP_SIDE_PX - face) / 2, (CROP_SIDE_PX + face) / 2
    corners = np.array([(low, low), (high, low), (high, high), (low, high)], np.float32)
    placed = corners @ frame_from_crop[:, :2].T + frame_from_crop[:, 2]
    return np.asarray(np.rint(placed), np.int32)


def _outline(picture: Image, polygons: Sequence[NDArray[np.int32]]) -> None:
    """Draw closed lines, a light one on a dark one."""
    for colour, thickness in ((OUTER, 3), (INNER, 1)):
        cv2.polylines(picture, polygons, True, colour, thickness, cv2.LINE_AA)


def _box_of_marked(grey: Image) -> Box | None:
    """Return the smallest box around the marked pixels."""
    is_marked = grey >= MARKED_FROM
    rows, columns = np.flatnonzero(is_marked.any(axis=1)), np.flatnonzero(is_marked.any(axis=0))
    if not len(rows):
        return None
    return Box(
        x_px=int(columns[0]),
        y_px=int(rows[0]),
        width_px=int(columns[-1] - columns[0] + 1),
        height_px=int(rows[-1] - rows[0] + 1),
    )


def _png(picture: Image) -> bytes:
    """Encode grey `[H, W]` or BGR `[H, W, 3]`."""
    is_done, encoded = cv2.imencode(".png", np.ascontiguousarray(picture))
    assert is_done, "a PNG can be made of any picture"
    return encoded.tobytes()
