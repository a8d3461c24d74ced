"""Swaps for tests: a maker that tints the face it sees, and a portrait that moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from workers.detection.align import FaceRegion
from workers.detection.stage import Floats, Image

WIDTH, HEIGHT = 256, 192


@dataclass(frozen=True)
class MadeFrom:
    sha256: str


@dataclass(frozen=True)
class Record:
    """What a forger's run says, as far as swapping asks."""

    architecture: str = "tint-64"
    network_sha256: str = "5" * 64
    a: Sequence[MadeFrom] = ()
    b: Sequence[MadeFrom] = ()


@dataclass
class Tint:
    """Gives back what it sees, bluer, in a round mask."""

    side_px: int = 64
    record: Record = field(default_factory=Record)

    def make(
        self, views: NDArray[np.uint8], to: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        faces = np.clip(views + np.int16([-60, 0, 60]), 0, 255).astype(np.uint8)
        mask = np.zeros(views.shape[1:3], np.uint8)
        middle = self.side_px // 2
        cv2.circle(mask, (middle, middle), round(0.42 * self.side_px), 255, -1)
        return faces, np.stack([mask] * len(views))


def make_scene(seed: int = 0, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image:
    """Draw coarse noise, `[H, W, 3]`."""
    width, height = size
    noise = np.random.default_rng(seed).integers(30, 226, (height // 8, width // 8, 3))
    return cv2.resize(noise.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def make_points(view: FaceRegion) -> Floats:
    """Place 468 points in an oval within a view, pixels of the frame."""
    order = np.arange(468)
    radius, angle = np.sqrt((order + 0.5) / 468), order * np.pi * (3 - np.sqrt(5))
    at = np.stack([0.4 * radius * np.cos(angle), 0.45 * radius * np.sin(angle)], axis=-1)
    x, y = view.centre_px
    return np.float32(at * view.side_px + [x, y])


def write_clip(path: Path, frames: Sequence[Image], pts_s: Sequence[float]) -> Path:
    """Write pictures as a video, each at its time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for rgb, time_s in zip(frames, pts_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def portrait(number: int, *, is_hidden: bool = False) -> Image:
    """Draw the `number`th look at a portrait that drifts; hidden, a bar is before the face."""
    picture = data.astronaut()
    left, top = 90 + 2 * number, number
    shown = picture[top : top + 192, left : left + 256].copy()
    if is_hidden:
        shown[40:150, 80:190] = shown[40:150, 80:190].mean(axis=(0, 1))
    return shown
