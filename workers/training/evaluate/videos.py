"""
What do the files of clips say, and what do their frames show?

Frames are decoded as everywhere, in the jail, so that their numbers and orientation agree with the
bank's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import RejectedMedia
from workers.detection.stage import Frame
from workers.training.clips import open_clip


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFile:
    """What can be said of a video without looking at a picture."""

    width: int
    height: int
    rate_hz: float
    duration_s: float
    bits_per_s: float
    codec: str


def look_at(path: Path) -> VideoFile | None:
    """Read the header; None where the file is no video that can be read."""
    try:
        with open_clip(path) as stream:
            probe = stream.probe
    except RejectedMedia:
        return None
    frames = probe.frames_expected or 1
    duration_s = max(probe.duration_s or frames / probe.rate_hz, 1 / probe.rate_hz)
    return VideoFile(
        width=probe.width,
        height=probe.height,
        rate_hz=probe.rate_hz,
        duration_s=duration_s,
        bits_per_s=8 * path.stat().st_size / duration_s,
        codec=probe.codec,
    )


def frames_between(path: Path, first: int, last: int) -> Iterator[Frame]:
    """
    Decode frames by their place in the video, both ends included.

    Raises:
        RejectedMedia: the file cannot be read, or not so far.
    """
    with open_clip(path) as stream:
        for frame in stream:
            if frame.index >= first:
                yield frame
            if frame.index >= last:
                return
