"""
How are two clips made on the spot, one untouched and one with a known manipulation?

Both show scikit-image's astronaut picture (Eileen Collins, NASA, public domain) under a moving
camera. In the second the inner face is replaced by a copy of itself with other colours, a softer
grain and a shape of its own, under a soft oval mask that shivers a little from frame to frame, as
the output of a face swap does. The mask is known exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

SIZE_PX = (640, 480)  # width, height of the clips
RATE_HZ = 25
SECONDS = 5
ZOOM = 2.4  # of the picture at the nearest; its face is 75 px wide
FACE_CENTRE_PX = (222.0, 120.0)  # in the picture
FACE_AXES_PX = (36.0, 48.0)  # half width and half height of the inner face

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A clip on disk and, where that is known, what was done to it."""

    path: Path
    what: str = ""
    masks: Sequence[NDArray[np.float32]] = ()  # by frame, [H, W] in [0, 1]; 1 = changed


def make(folder: Path, *, seed: int = 0) -> tuple[Clip, Clip]:
    """Write the untouched and the manipulated clip into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    picture: Image = data.astronaut()
    rng = np.random.default_rng(seed)
    untouched, manipulated, masks = [], [], []
    forged = _forge(picture)
    for index in range(RATE_HZ * SECONDS):
        camera = _camera(index / RATE_HZ)
        mask = _mask(picture.shape[:2], rng)
        blended = picture * (1 - mask[..., None]) + forged * mask[..., None]
        untouched.append(_shoot(picture, camera))
        manipulated.append(_shoot(np.clip(blended, 0, 255).astype(np.uint8), camera))
        masks.append(cv2.warpAffine(mask, camera, SIZE_PX))
    return (
        Clip(path=_encode(untouched, folder / "camera-only.mp4"), what="made here, untouched"),
        Clip(
            path=_encode(manipulated, folder / "face-blended.mp4"),
            what="made here, the inner face replaced",
            masks=masks,
        ),
    )


def make_portrait_clip(
    path: Path, *, size_px: tuple[int, int], rate_hz: int, seconds: float
) -> Path:
    """Write an untouched clip of any size and length, for measurements."""
    picture: Image = data.astronaut()
    frames = [
        _shoot(picture, _camera(index / rate_hz, size_px), size_px)
        for index in range(round(rate_hz * seconds))
    ]
    return _encode(frames, path, rate_hz)


def _camera(seconds: float, size_px: tuple[int, int] = SIZE_PX) -> NDArray[np.float64]:
    """Give the affine `[2, 3]` from picture to frame: a slow pan and zoom around the face."""
    zoom = ZOOM * size_px[1] / SIZE_PX[1] * (1 + 0.08 * np.sin(2 * np.pi * seconds / SECONDS))
    turn = np.deg2rad(3 * np.sin(2 * np.pi * seconds / 3.7))
    aim = (
        FACE_CENTRE_PX[0] + 14 * np.sin(2 * np.pi * seconds / 4.3),
        FACE_CENTRE_PX[1] + 10 + 7 * np.cos(2 * np.pi * seconds / 3.1),
    )
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    return np.array(
        [
            [cos, -sin, size_px[0] / 2 - cos * aim[0] + sin * aim[1]],
            [sin, cos, size_px[1] / 2 - sin * aim[0] - cos * aim[1]],
        ]
    )


def _forge(picture: Image) -> NDArray[np.float32]:
    """Give the picture as a forger's network might render it: softer, tinted, a little wider."""
    wider = np.array(
        [[1.04, 0.0, -0.04 * FACE_CENTRE_PX[0]], [0.0, 0.98, 0.02 * FACE_CENTRE_PX[1]]]
    )
    height, width = picture.shape[:2]
    moved = cv2.warpAffine(picture, wider, (width, height), borderMode=cv2.BORDER_REFLECT)
    small = cv2.resize(moved, None, fx=0.55, fy=0.55, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    lab = cv2.cvtColor(soft, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab += np.float32([10, 7, -6])
    tinted = cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
    return tinted.astype(np.float32)


def _mask(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    centre = np.array(FACE_CENTRE_PX) + rng.normal(0, 0.5, 2)
    axes = np.array(FACE_AXES_PX) * (1 + rng.normal(0, 0.01, 2))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    oval = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 < 1
    return cv2.GaussianBlur(oval.astype(np.float32), (0, 0), 2.0)


def _shoot(
    picture: Image, camera: NDArray[np.float64], size_px: tuple[int, int] = SIZE_PX
) -> Image:
    shot: Image = cv2.warpAffine(
        picture, camera, size_px, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return shot


def _encode(frames: list[Image], path: Path, rate_hz: int = RATE_HZ) -> Path:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate_hz), options={"crf": "20"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path
