"""
How does a swap's mask become a video, and every file whole under its name or not there at all?

Clips themselves are written by `workers.encode`, as everywhere.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from app.errors import DISK_FULL, InsufficientStorage
from workers.encode import Encoder, PictureShape
from workers.training.errors import BadOutput


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """
    Give the path of a file to write in place of `path`, which it becomes once the block has ended.

    Raises:
        InsufficientStorage: the disk is full. What was written is gone.
        BadOutput: there is something at `path`, or its folder cannot be written.
    """
    if path.exists():
        raise BadOutput(f"{path} is there already; give another name, or remove it")
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, av.FFmpegError) as failed:
        if failed.errno in DISK_FULL:
            raise InsufficientStorage(
                f"there is no room left for {path}; free some space, then run it again"
            ) from failed
        raise BadOutput(f"{path} cannot be written: {failed.strerror}") from failed
    finally:
        with suppress(OSError):
            partial.unlink()


class MaskWriter:
    """
    Writes grey pictures as H.264 without loss, so that every level comes back. A context manager.

    Grey pictures are written as the brightness of ones in full range: what decodes them as any
    other video gets red, green and blue of just these levels.

    Args:
        path: of the file; it is overwritten.
        shape: of the pictures.
        metadata: of the container.
    """

    def __init__(self, path: Path, shape: PictureShape, *, metadata: Mapping[str, str]) -> None:
        self._video = Encoder(
            path,
            shape,
            pixels="yuvj420p" if shape.is_even else "yuvj444p",
            options={"qp": "0", "preset": "ultrafast"},
            metadata=metadata,
        )
        width, height = shape.size
        chroma = (2, height // 2, width // 2) if shape.is_even else (2, height, width)
        self._no_colour = np.full(chroma, 128, np.uint8)

    def __enter__(self) -> "MaskWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._video.close(is_whole=kind is None)

    def write(self, levels: NDArray[np.uint8], pts_s: float) -> None:
        """Write one picture `[H, W]`."""
        height, width = levels.shape
        planes = np.concatenate([levels.ravel(), self._no_colour.ravel()])
        shape = (-1, width) if self._video.pixels == "yuvj420p" else (3, height, width)
        frame = av.VideoFrame.from_ndarray(planes.reshape(shape), format=self._video.pixels)
        self._video.write(frame, pts_s)
