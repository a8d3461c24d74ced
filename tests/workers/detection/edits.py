"""Films for tests, edited from clips beside the checkout; written into a temporary folder only."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from workers.detection.stage import Image

RATE_HZ = 25
_OPTIONS = {"preset": "veryfast", "crf": "12"}


def cut_together(
    path: Path, shots: Sequence[tuple[Path, float, float]], *, size: tuple[int, int] = (512, 512)
) -> Path:
    """Write shots after one another; each is a clip, where in it the shot starts, and seconds."""
    pictures = (
        fitted(picture, size)
        for clip, first_s, seconds in shots
        for picture in read(clip, first_s=first_s, seconds=seconds)
    )
    return write(path, pictures, size)


def side_by_side(path: Path, clips: Sequence[Path], *, seconds: float) -> Path:
    """Write clips beside one another, each as large as it is, grey below the smaller."""
    streams = [list(read(clip, first_s=0.0, seconds=seconds)) for clip in clips]
    height = max(pictures[0].shape[0] for pictures in streams)
    size = (sum(pictures[0].shape[1] for pictures in streams) // 2 * 2, height // 2 * 2)
    return write(path, (_beside(some, size) for some in zip(*streams, strict=False)), size)


def tiled(path: Path, clips: Sequence[Path], *, across: int, side_px: int, seconds: float) -> Path:
    """Write many clips in rows, each scaled to a square of this side."""
    streams = [list(read(clip, first_s=0.0, seconds=seconds)) for clip in clips]
    down = -(-len(clips) // across)
    size = (across * side_px, down * side_px)
    tiles = [[fitted(p, (side_px, side_px)) for p in pictures] for pictures in streams]
    return write(path, (_in_rows(some, across) for some in zip(*tiles, strict=False)), size)


def read(clip: Path, *, first_s: float, seconds: float) -> Iterator[Image]:
    """Read a stretch of a clip at `RATE_HZ`: at each moment the picture that is shown then."""
    wanted = [first_s + n / RATE_HZ for n in range(round(seconds * RATE_HZ))]
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            if float(frame.time or 0) >= wanted[0]:
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                while wanted and float(frame.time or 0) >= wanted[0]:
                    yield picture
                    wanted.pop(0)
            if not wanted:
                return


def fitted(picture: Image, size: tuple[int, int]) -> Image:
    """Scale a picture to fill a size, what is over being cut off evenly."""
    height, width = picture.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    scaled = cv2.resize(
        picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )
    left, top = (scaled.shape[1] - size[0]) // 2, (scaled.shape[0] - size[1]) // 2
    return np.ascontiguousarray(scaled[top : top + size[1], left : left + size[0]])


def write(path: Path, pictures: Iterator[Image], size: tuple[int, int]) -> Path:
    """Write pictures as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options=_OPTIONS)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, RATE_HZ)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _beside(pictures: Sequence[Image], size: tuple[int, int]) -> Image:
    canvas = np.full((size[1], size[0], 3), 90, np.uint8)
    left = 0
    for picture in pictures:
        height, width = picture.shape[0] // 2 * 2, min(picture.shape[1], size[0] - left)
        canvas[:height, left : left + width] = picture[:height, :width]
        left += width
    return canvas


def _in_rows(tiles: Sequence[Image], across: int) -> Image:
    blank = np.full_like(tiles[0], 90)
    filled = [*tiles, *[blank] * (-len(tiles) % across)]
    rows = [
        np.concatenate(filled[at : at + across], axis=1) for at in range(0, len(filled), across)
    ]
    return np.concatenate(rows)
