"""
How do the points of a face move, and do the pixels between them move along?

One place where this is computed, for training and for serving. Three things are told of each frame
of a track, at `POINTS` points of the face:

- where the point lies, off its place in the track's mean face, once every frame was fitted to that
  face by a similarity: what the head does is left out, what the face does remains;
- how far the pixels around the point moved since the frame before, beyond the point itself: dense
  optical flow between the small pictures, less the movement of the point in them;
- how well the pixels of the face and those around it, moved along the flow, match what came.

Flow between frames: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016. That
flow tells forgeries: Amerini et al., "Deepfake Video Detection through Optical Flow based CNN",
ICCVW 2019. That landmarks do: Sun et al., "Improving the Efficiency and Robustness of Deepfakes
Detection through Precise Geometric Features", CVPR 2021.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.detection import align, face_regions
from workers.detection.stage import SMALL_MARGIN, SMALL_SIDE_PX, FaceTrack, Floats, Image

POINTS = (
    *(10, 234, 454, 58, 288, 172, 397, 149, 378, 152),
    *(70, 105, 107, 336, 334, 300),
    *(33, 159, 133, 145, 263, 386, 362, 374, 468, 473),
    *(168, 1, 98, 327),
    *(61, 37, 0, 267, 291, 314, 17, 84, 13, 14),
)
"""Of the mesh: the outline, the brows, the lids and irises, the nose, the lips."""
MIRRORED = (
    *(10, 454, 234, 288, 58, 397, 172, 378, 149, 152),
    *(300, 334, 336, 107, 105, 70),
    *(263, 386, 362, 374, 33, 159, 133, 145, 473, 468),
    *(168, 1, 327, 98),
    *(291, 267, 0, 37, 61, 84, 17, 314, 13, 14),
)
"""The same points in a mirror."""
WINDOW = 64
"""Frames that the network is shown at a time: two to four seconds."""
STRIDE = 32
"""Frames from one window to the next."""
MOST_WINDOWS = 18
"""Of a person; all there are in the small pictures of one track."""
RATE_HZ = (14.0, 34.0)
"""Frames of a faster video are left out evenly until it is within; a slower one is not judged."""
ERRORS = 2
"""Of pixels moved along the flow: within the face, and around it."""
CHANNELS = 6 * len(POINTS) + ERRORS
"""Of a frame: positions, their differences, flow beyond them, each in x and y; errors."""
LEAST_SPREAD_PX = 4.0
"""Of landmarks, in width and height; nearer together they have collapsed."""
_EYES = (33, 263)
_GAIN = (20.0, 100.0, 2.0, 0.5)
"""Makes numbers near 1 of positions and differences in distances between the eyes, of flow in
pixels of the small picture and of errors in grey levels; about the inverse of their usual size."""
MOST = 6.0
"""Beyond it nothing is told apart: a point that jumped has jumped."""
_PIXELS = np.stack(np.meshgrid(np.arange(SMALL_SIDE_PX), np.arange(SMALL_SIDE_PX)), axis=-1)

_NO_MAP = np.zeros(0, np.float32)
"""OpenCV's second map, where the first one has both coordinates."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """How one face moved, over the T frames of a track that have small pictures."""

    pts_s: Doubles  # [T]
    place: Floats  # [T, POINTS, 2] off the mean face, in distances between the eyes
    stray: Floats  # [T, POINTS, 2] px of flow since the frame before, beyond the point's own
    error: Floats  # [T, ERRORS] mean grey levels that the flow leaves unexplained
    is_whole: NDArray[np.bool_]  # [T] whether all of it is known; never of the first frame

    def every(self, step: int, first: int = 0) -> "Motion":
        """Return what a camera would have seen that takes every so many frames."""
        if step == 1 and first == 0:
            return self
        kept = slice(first, None, step)
        count = len(self.pts_s[kept])
        stray, error = np.zeros_like(self.stray[kept]), np.zeros_like(self.error[kept])
        is_whole = np.zeros(count, bool)
        for i in range(1, count):
            since = slice(first + (i - 1) * step + 1, first + i * step + 1)
            stray[i] = self.stray[since].sum(axis=0)
            error[i] = self.error[since].max(axis=0)
            is_whole[i] = bool(np.all(self.is_whole[since]))
        return Motion(
            pts_s=self.pts_s[kept],
            place=self.place[kept],
            stray=stray,
            error=error,
            is_whole=is_whole,
        )


def motion_of(track: FaceTrack) -> Motion:
    """
    Measure how the face of a track moved.

    Frames whose landmarks are lost or all in one place are not whole, nor are the ones after them,
    whose flow is not known; the first one is neither.
    """
    count = len(track.small)
    landmarks = track.landmarks_px[:count].astype(np.float64)
    is_placed = np.asarray(np.isfinite(landmarks).all(axis=(1, 2)))
    is_placed &= np.ptp(landmarks, axis=1).min(axis=1, initial=np.inf) >= LEAST_SPREAD_PX
    place = np.zeros((count, len(POINTS), 2), np.float32)
    if is_placed.any():
        place[is_placed] = _off_the_mean(landmarks[is_placed][:, list(POINTS)])
    stray = np.zeros_like(place)
    error = np.zeros((count, ERRORS), np.float32)
    is_whole = np.zeros(count, bool)
    flow = _Flow()
    for i in range(count):
        if is_placed[i]:
            is_whole[i] = flow.step(track.small[i], landmarks[i], stray[i], error[i])
        else:
            flow.forget()
    return Motion(
        pts_s=track.pts_s[:count], place=place, stray=stray, error=error, is_whole=is_whole
    )


def thinned(motion: Motion) -> Motion | None:
    """Leave out frames evenly until the rate is within `RATE_HZ`; None where it is too low."""
    if len(motion.pts_s) < 2:  # noqa: PLR2004 - no rate of one frame
        return None
    rate_hz = 1 / float(np.median(np.diff(motion.pts_s)))
    step = max(1, math.ceil(rate_hz / RATE_HZ[1]))
    return motion.every(step) if rate_hz / step >= RATE_HZ[0] else None


def starts_of(motion: Motion, *, stride: int = STRIDE) -> list[int]:
    """Say where windows of `WINDOW` whole frames begin, by time."""
    found: list[int] = []
    run = 0
    for i, whole in enumerate(motion.is_whole):
        run = run + 1 if whole else 0
        if run >= WINDOW and (run - WINDOW) % stride == 0:
            found.append(i - WINDOW + 1)
    return found


def window(motion: Motion, start: int) -> Floats:
    """
    Return what the network is shown, `[WINDOW, CHANNELS]`, numbers of about 1 within `MOST`.

    Positions are told off their mean in the window: whose face it is does not matter.
    """
    at = slice(start, start + WINDOW)
    place = motion.place[at]
    moved = np.diff(motion.place[start - 1 : start + WINDOW], axis=0)  # a window follows a frame
    parts = (place - place.mean(axis=0), moved, motion.stray[at])
    told = [gain * part.reshape(WINDOW, -1) for gain, part in zip(_GAIN[:3], parts, strict=True)]
    told.append(_GAIN[3] * motion.error[at])
    return np.asarray(np.clip(np.concatenate(told, axis=1), -MOST, MOST), np.float32)


def windows_of(motion: Motion) -> list[Floats]:
    """Return the windows of a face that is judged, `MOST_WINDOWS` at most, evenly by time."""
    starts = starts_of(motion)
    if len(starts) > MOST_WINDOWS:
        chosen = np.linspace(0, len(starts) - 1, MOST_WINDOWS).round().astype(int)
        starts = [starts[i] for i in chosen]
    return [window(motion, start) for start in starts]


class _Flow:
    """Follows the pixels from one small picture to the next."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._grey: Image | None = None
        self._points: Floats | None = None

    def forget(self) -> None:
        self._grey = self._points = None

    def step(self, small: Image, landmarks_px: Doubles, stray: Floats, error: Floats) -> bool:
        """Write what moved since the frame before; say whether there was one."""
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        points = _in_small(landmarks_px)
        before, points_before = self._grey, self._points
        self._grey, self._points = grey, points
        if before is None or points_before is None:
            return False
        flow = self._dis.calc(before, grey, None)  # type: ignore[call-overload]  # None: no guess
        at = points_before.astype(np.float32)[:, None]
        sampled = cv2.remap(flow, at, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        stray[:] = sampled[:, 0] - (points - points_before)
        moved = (_PIXELS + flow).astype(np.float32)
        came = cv2.remap(grey, moved, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        off = np.abs(came.astype(np.float32) - before)
        face = face_regions.hull_mask(points_before, SMALL_SIDE_PX)
        error[:] = off[face].mean() if face.any() else 0.0, off[~face].mean()
        return True


def _in_small(landmarks_px: Doubles) -> Floats:
    """Return `POINTS` of a frame in pixels of the small picture of it."""
    region = align.steady_region(landmarks_px.astype(np.float32)).scaled(SMALL_MARGIN)
    affine = cv2.invertAffineTransform(region.frame_from_crop(SMALL_SIDE_PX).astype(np.float64))
    points = landmarks_px[list(POINTS)]
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], np.float32)


def _off_the_mean(points_px: Doubles) -> Floats:
    """
    Fit every frame `[T, P, 2]` to the mean face by a similarity; return what is left of each point.

    In distances between the eyes of the mean face.
    """
    points = points_px[..., 0] + 1j * points_px[..., 1]
    points = points - points.mean(axis=1, keepdims=True)
    power = np.maximum((np.abs(points) ** 2).sum(axis=1), np.finfo(float).tiny)
    mean_face = points[len(points) // 2]
    for _ in range(2):
        aligned = ((points.conj() @ mean_face) / power)[:, None] * points
        mean_face = aligned.mean(axis=0)
    left, right = (POINTS.index(eye) for eye in _EYES)
    unit = abs(mean_face[left] - mean_face[right]) or 1.0
    # Upright, so that x and y mean the same in every clip, and in a mirror.
    across = mean_face[right] - mean_face[left]
    off = (aligned - mean_face) / unit * (abs(across) / across if across else 1.0)
    return np.stack([off.real, off.imag], axis=-1).astype(np.float32)
