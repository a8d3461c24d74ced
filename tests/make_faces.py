"""
Faces for tests: a followed person, drawn from numbers, no one's likeness.

The head sways slowly, the eyes blink 17 times a minute, the skin is seeded noise. The same
arguments give the same arrays.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.detection import face_regions
from workers.detection.stage import (
    CROP_SIDE_PX,
    LANDMARKS,
    LANDMARKS_WITH_IRISES,
    MOST_SMALL,
    SMALL_SIDE_PX,
    THUMBNAIL_SIDE_PX,
    FaceClip,
    FaceSample,
    FaceTrack,
    Floats,
)

EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
"""Corner, two of the upper lid, corner, two of the lower lid: MediaPipe's numbering."""
BLINK_EVERY_S = 60 / 17
BLINK_S = 0.25
OPEN, SHUT = 0.30, 0.05  # height over width of an eye
FRAME_WIDTH_PX, FRAME_HEIGHT_PX = 1280, 720


def _around(
    x: float, y: float, width: float, height: float, points: tuple[int, ...]
) -> dict[int, tuple[float, float]]:
    """Lay points around an ellipse, clockwise from its left end."""
    turn = np.linspace(0, 2 * np.pi, len(points), endpoint=False)
    xs, ys = x - width / 2 * np.cos(turn), y - height / 2 * np.sin(turn)
    return dict(zip(points, zip(xs.tolist(), ys.tolist(), strict=True), strict=True))


_TOP = len(face_regions.OVAL) // 4
PLACES = {
    **_around(0, 0, 1, 1, (*face_regions.OVAL[-_TOP:], *face_regions.OVAL[:-_TOP])),
    **_around(0, 0.25, 0.3, 0.12, face_regions.MOUTH),
    **_around(-0.25, 0.05, 0.16, 0.16, face_regions.CHEEKS[0]),
    **_around(0.25, 0.05, 0.16, 0.16, face_regions.CHEEKS[1]),
    **_around(-0.2, -0.26, 0.2, 0.02, face_regions.BROWS[0]),
    **_around(0.2, -0.26, 0.2, 0.02, face_regions.BROWS[1]),
    **dict(zip((108, 107, 9, 336, 337), ((-0.2 + 0.1 * n, -0.32) for n in range(5)), strict=True)),
    **{point: (0.0, -0.15 + 0.03 * n) for n, point in enumerate((168, 6, 197, 195, 5, 4, 1, 2))},
    98: (-0.07, 0.06),  # the nostrils
    327: (0.07, 0.06),
    182: (-0.1, 0.38),  # over the chin
    406: (0.1, 0.38),
    159: (-0.2, -0.18),  # the lids' middles
    145: (-0.2, -0.12),
    386: (0.2, -0.18),
    374: (0.2, -0.12),
}
"""Where points that detectors go by lie in an upright face, in widths of it from its middle; the
others lie anywhere in it, and the lids move."""


def make_landmarks(pts_s: NDArray[np.float64], *, face_px: float = 160.0) -> Floats:
    """Draw `[T, 478, 2]` landmarks of a head that sways and blinks, and looks ahead."""
    order = np.arange(LANDMARKS)
    radius = np.sqrt((order + 0.5) / LANDMARKS) / 2
    angle = order * np.pi * (3 - np.sqrt(5))
    face = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    points = np.zeros((len(pts_s), LANDMARKS_WITH_IRISES, 2))
    face[list(PLACES)] = list(PLACES.values())
    points[:, :LANDMARKS] = face
    since_blink_s = np.mod(pts_s, BLINK_EVERY_S)
    lid = np.where(since_blink_s < BLINK_S, np.abs(np.cos(np.pi * since_blink_s / BLINK_S)), 1.0)
    openness = SHUT + (OPEN - SHUT) * lid
    width = 0.2
    for eye, centre_x in zip(EYES, (-0.2, 0.2), strict=True):
        across = width * np.array([-1 / 2, -1 / 6, 1 / 6, 1 / 2, 1 / 6, -1 / 6])
        up = width / 2 * np.array([0, -1, -1, 0, 1, 1])
        points[:, eye, 0] = centre_x + across
        points[:, eye, 1] = -0.15 + openness[:, None] * up
    iris = 0.03 * np.array([(0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)])
    points[:, LANDMARKS:] = np.concatenate([iris + np.array([x, -0.15]) for x in (-0.2, 0.2)])
    sway = np.stack([np.sin(2 * np.pi * 0.2 * pts_s), np.cos(2 * np.pi * 0.15 * pts_s)], axis=-1)
    middle = np.array([FRAME_WIDTH_PX / 2, FRAME_HEIGHT_PX / 2])
    return np.float32(points * face_px + middle + 0.1 * face_px * sway[:, None])


def make_sample(pts_s: float = 0.0, *, frame_index: int = 0, seed: int = 0) -> FaceSample:
    """Draw one aligned look at a face: sharp noise under an upright affine."""
    random = np.random.default_rng([seed, frame_index])
    crop = random.integers(0, 256, (CROP_SIDE_PX, CROP_SIDE_PX, 3), dtype=np.uint8)
    height = THUMBNAIL_SIDE_PX * FRAME_HEIGHT_PX // FRAME_WIDTH_PX
    return FaceSample(
        frame_index=frame_index,
        pts_s=pts_s,
        crop=crop,
        frame_from_crop=np.float32([[0.8, 0, 540], [0, 0.8, 260]]),
        sharpness=800.0,
        thumbnail=random.integers(0, 256, (height, THUMBNAIL_SIDE_PX, 3), dtype=np.uint8),
    )


def make_track(
    *,
    frames: int = 600,
    rate_hz: float = 30.0,
    first_s: float = 0.0,
    first_frame: int = 0,
    shot: int = 0,
    samples: int = 16,
    face_px: float = 160.0,
) -> FaceTrack:
    """Build a face that was followed without a break."""
    pts_s = first_s + np.arange(frames) / rate_hz
    landmarks = make_landmarks(pts_s, face_px=face_px)
    corner = landmarks.mean(axis=1) - face_px / 2
    index = first_frame + np.arange(frames, dtype=np.int64)
    looked = np.unique(np.linspace(0, frames - 1, samples).round().astype(int)) if samples else []
    return FaceTrack(
        shot=shot,
        frame_index=index,
        pts_s=pts_s,
        box_px=np.float32(np.concatenate([corner, np.full((frames, 2), face_px)], axis=1)),
        landmarks_px=landmarks,
        presence=np.full(frames, 0.9999, np.float32),
        is_keyframe=np.arange(frames) % 60 == 0,
        samples=tuple(
            make_sample(float(pts_s[i]), frame_index=int(index[i]), seed=shot) for i in looked
        ),
        small=make_small(min(frames, MOST_SMALL), seed=shot),
    )


def make_small(frames: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Draw small pictures of a face that keeps still under the noise of a camera."""
    random = np.random.default_rng([seed, frames])
    side = SMALL_SIDE_PX
    face = random.integers(60, 200, (side, side, 3), dtype=np.uint8)
    grain = random.integers(0, 7, (frames, side, side, 1), dtype=np.uint8)
    return np.asarray(face - np.uint8(3) + grain)


def make_clip(*tracks: FaceTrack, person_id: str = "p1", rate_hz: float = 30.0) -> FaceClip:
    """Build a person; followed for a minute in one shot unless told otherwise."""
    return FaceClip(
        person_id=person_id,
        tracks=tracks or (make_track(frames=round(60 * rate_hz), rate_hz=rate_hz),),
        frame_width_px=FRAME_WIDTH_PX,
        frame_height_px=FRAME_HEIGHT_PX,
        rate_hz=rate_hz,
    )


def without_landmarks(clip: FaceClip) -> FaceClip:
    """Return the same person as a landmark network that lost it throughout would leave it."""
    return replace(
        clip,
        tracks=tuple(
            replace(
                track,
                landmarks_px=np.full_like(track.landmarks_px, np.nan),
                presence=np.zeros_like(track.presence),
            )
            for track in clip.tracks
        ),
    )


def without_samples(clip: FaceClip) -> FaceClip:
    """Return the same person with no aligned crops."""
    return replace(clip, tracks=tuple(replace(track, samples=()) for track in clip.tracks))
