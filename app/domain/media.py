"""What is a video, as far as anybody outside the worker is concerned?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An upright rectangle in pixels of the displayed frame; `x_px, y_px` is its top left."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """An upload that is durable: written, synced and renamed to `key`."""

    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What was measured of a video while it was decoded."""

    sha256: str
    size_bytes: int
    container: str
    codec: str
    width: int  # as displayed, after rotation
    height: int
    rotation_deg: int  # clockwise, taken from the container; frames are already turned
    duration_s: float  # of the decoded frames, never of the header alone
    fps: float  # mean rate of the decoded frames
    frames_expected: int | None  # by the container; None where it does not say
    frames_decoded: int
    frames_kept: int  # those whose faces were followed
    warnings: tuple[str, ...] = ()  # codes such as "truncated", "variable-frame-rate"

    @property
    def is_truncated(self) -> bool:
        """Whether the file promised clearly more than could be decoded."""
        return "truncated" in self.warnings
