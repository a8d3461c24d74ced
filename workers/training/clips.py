"""How is a clip of a data set decoded? As everywhere in the jail, every frame, at full size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings
from workers.detection.decode import VideoStream, open_video


@contextmanager
def open_clip(path: Path) -> Iterator[VideoStream]:
    """
    Decode a clip for as long as the context lasts.

    Raises:
        RejectedMedia: it is no video that can be read; here, or while it is gone over.
    """
    settings = Settings()
    sampling = settings.analysis.model_copy(
        update={
            "max_kept_rate_hz": settings.media.max_rate_hz,
            "max_work_side_px": settings.media.max_side_px,
        }
    )
    with open_video(
        path,
        limits=settings.media,
        sampling=sampling,
        allow_unsandboxed=settings.worker.allow_unsandboxed,
    ) as stream:
        yield stream
