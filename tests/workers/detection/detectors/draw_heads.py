"""
Heads whose pixels are known, drawn around a mesh that lies as that of a face. No one's likeness.

A head is skin with detail of every size, the same within its outline and around it, and a little
darker around. What a test changes of it is what a detector is asked to find.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.make_faces import make_clip, make_track
from workers.detection.detectors.mouth_blur import INNER_MOUTH
from workers.detection.face_regions import BROWS, CHEEKS, EYES, MOUTH, OVAL, hull_mask
from workers.detection.stage import CROP_SIDE_PX, LANDMARKS, FaceClip, FaceTrack, Floats, Image

MIDDLE_PX = (CROP_SIDE_PX - 1) / 2
HALF_WIDTH_PX, HALF_HEIGHT_PX = 75.0, 98.0
SKIN = (200.0, 150.0, 125.0)
DARKER = 20.0
"""Grey levels that the skin around a face is darker than in it."""
DETAIL = {0.7: 7.0, 2.0: 8.0}
"""Deviation in grey levels of noise that is blurred by so many pixels."""
FOREHEAD_INSIDE = {9: (0.0, -0.42), 337: (0.15, -0.6), 108: (-0.15, -0.6)}
LIP_BELOW = {375: 150, 405: 105, 181: 75, 146: 30}
"""Degrees of the outline of the mouth from its left corner, downwards."""


def draw_mesh(*, opening: float = 0.08) -> Floats:
    """Place the mesh `[LANDMARKS, 2]` in pixels of a crop; the lips are `opening` faces apart."""
    order = np.arange(LANDMARKS)
    radius = 0.8 * np.sqrt((order + 0.5) / LANDMARKS)
    turn = order * np.pi * (3 - np.sqrt(5))
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=-1)
    points[list(OVAL)] = _ellipse(len(OVAL), (0, 0), (1, 1), first_deg=90)
    for x, cheek, eye, brow in zip((-1, 1), CHEEKS, EYES, BROWS, strict=True):
        points[list(cheek)] = _ellipse(len(cheek), (0.45 * x, 0.12), (0.17, 0.13))
        points[list(eye)] = _ellipse(len(eye), (0.4 * x, -0.2), (0.17, 0.06))
        points[list(brow), 0] = np.linspace(-0.6, -0.15, 5) if x < 0 else np.linspace(0.15, 0.6, 5)
        points[list(brow), 1] = -0.42
    for index, place in FOREHEAD_INSIDE.items():
        points[index] = place
    points[list(MOUTH)] = _ellipse(len(MOUTH), (0, 0.55), (0.35, 0.12 + opening))
    points[list(INNER_MOUTH)] = _ellipse(len(INNER_MOUTH), (0, 0.55), (0.25, opening))
    for index, degrees in LIP_BELOW.items():
        angle = np.radians(180 - degrees)
        points[index] = 0.35 * np.cos(angle), 0.55 + (0.12 + opening) * np.sin(angle)
    return np.float32(points * (HALF_WIDTH_PX, HALF_HEIGHT_PX) + MIDDLE_PX)


@cache
def draw_head(seed: int) -> NDArray[np.float64]:
    """Draw one look `[H, W, 3]`, in grey levels that were not rounded."""
    random = np.random.default_rng(seed)
    side = (CROP_SIDE_PX, CROP_SIDE_PX)
    texture = np.zeros(side)
    for size, deviation in DETAIL.items():
        noise = cv2.GaussianBlur(random.normal(0, 1, side), (0, 0), size)
        texture += deviation * noise / noise.std()
    inside = hull_mask(draw_mesh(), CROP_SIDE_PX)
    skin = np.where(inside[..., None], SKIN, np.array(SKIN) - DARKER)
    drawn = np.asarray(skin + texture[..., None])
    drawn.flags.writeable = False
    return drawn


@cache
def grain(seed: int, *, deviation: float = 1.5) -> NDArray[np.float64]:
    """Draw the noise of a camera `[H, W, 1]`: enough of it that a look counts as sharp."""
    random = np.random.default_rng([seed, 1])
    return random.normal(0, deviation, (CROP_SIDE_PX, CROP_SIDE_PX, 1))


def blurred(
    picture: NDArray[np.float64], where: NDArray[np.bool_], by_px: float
) -> NDArray[np.float64]:
    """Blur some of a picture by a Gaussian."""
    if not by_px:
        return picture
    return np.where(
        where[..., None], cv2.GaussianBlur(picture.astype(np.float32), (0, 0), by_px), picture
    )


def rounded(picture: NDArray[np.float64]) -> Image:
    """Round to whole grey levels."""
    return np.rint(np.clip(np.float32(picture), 0, 255)).astype(np.uint8)


def person_of(
    pictures: Sequence[NDArray[np.float64]],
    *,
    meshes: Sequence[Floats] | None = None,
    face_px: float = 160.0,
) -> FaceClip:
    """Build a person who was looked at as often as there are pictures."""
    track = _track(len(pictures), face_px)
    landmarks = track.landmarks_px.copy()
    samples = []
    meshes = meshes or [draw_mesh()] * len(pictures)
    for sample, picture, mesh in zip(track.samples, pictures, meshes, strict=True):
        (at,) = np.flatnonzero(track.frame_index == sample.frame_index)
        affine = sample.frame_from_crop
        landmarks[at, :LANDMARKS] = mesh @ affine[:, :2].T + affine[:, 2]
        samples.append(replace(sample, crop=rounded(picture)))
    return make_clip(replace(track, landmarks_px=landmarks, samples=tuple(samples)))


@cache
def draw_person(*, looks: int = 8, opening: float = 0.08) -> FaceClip:
    """Draw a person whom all cues can judge."""
    mesh = draw_mesh(opening=opening)
    return person_of([draw_head(i) for i in range(looks)], meshes=[mesh] * looks)


def mirrored(clip: FaceClip) -> FaceClip:
    """Return the person as a mirror shows him: every look, and every point in it."""
    (track,) = clip.tracks
    landmarks = track.landmarks_px.copy()
    samples = []
    for sample in track.samples:
        (at,) = np.flatnonzero(track.frame_index == sample.frame_index)
        # The middle of the crop lies in the middle of its part of the frame.
        middle = float(sample.frame_from_crop[0] @ (MIDDLE_PX, MIDDLE_PX, 1))
        landmarks[at, :, 0] = 2 * middle - landmarks[at, :, 0]
        samples.append(replace(sample, crop=np.ascontiguousarray(sample.crop[:, ::-1])))
    return replace(clip, tracks=(replace(track, landmarks_px=landmarks, samples=tuple(samples)),))


def relit(clip: FaceClip, times: float) -> FaceClip:
    """Return the person under so many times the light."""
    (track,) = clip.tracks
    samples = tuple(replace(s, crop=rounded(s.crop * times)) for s in track.samples)
    return replace(clip, tracks=(replace(track, samples=samples),))


@cache
def _track(looks: int, face_px: float) -> FaceTrack:
    """Build the track whose looks are painted over."""
    return make_track(frames=60, samples=looks, face_px=face_px)


def _ellipse(
    count: int,
    middle: tuple[float, float],
    half: tuple[float, float],
    *,
    first_deg: float = 180.0,
) -> NDArray[np.float64]:
    """Place points on an ellipse, clockwise as seen, the first at an angle from the right."""
    angle = np.radians(first_deg) - 2 * np.pi * np.arange(count) / count
    return np.stack(
        [middle[0] + half[0] * np.cos(angle), middle[1] - half[1] * np.sin(angle)], axis=-1
    )
