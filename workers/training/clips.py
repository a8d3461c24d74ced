"""How is a clip of a data set decoded? As everywhere, in the jail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings
from workers.detection.decode import VideoStream, open_video


@contextmanager
def open_clip(
    path: Path, *, max_frames: int | None = None, max_side_px: int | None = None
) -> Iterator[VideoStream]:
    """
    Decode a clip for as long as the context lasts.

    Args:
        max_frames: evenly spread ones are kept down to this; all that a job may have unless given.
        max_side_px: larger frames are scaled down; none unless given.

    Raises:
        RejectedMedia: it is no video that can be read; here, or while it is gone over.
    """
    settings = Settings()
    sampling = settings.analysis.model_copy(
        update={
            "max_kept_rate_hz": settings.media.max_rate_hz,
            "max_kept_frames": max_frames or settings.analysis.max_kept_frames,
            "max_work_side_px": max_side_px or settings.media.max_side_px,
        }
    )
    with open_video(
        path,
        limits=settings.media,
        sampling=sampling,
        allow_unsandboxed=settings.worker.allow_unsandboxed,
    ) as stream:
        yield stream
