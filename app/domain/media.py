"""What is a video, as far as anybody outside the worker is concerned?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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


class CredentialState(StrEnum):
    """What the Content Credentials of a file are worth. Wire and database spelling."""

    ABSENT = "absent"
    VALID = "valid"  # whole, and signed by somebody on the list of trusted signers
    UNTRUSTED = "untrusted"  # whole, and signed by somebody unknown
    INVALID = "invalid"  # do not fit the file: it was changed after they were made, or they were
    UNREADABLE = "unreadable"  # there is something that claims to be such, and cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """C2PA Content Credentials of a file, as far as they can be told in words."""

    state: CredentialState
    detail: str = ""  # why, in words
    signer: str = ""
    signed_at: str = ""  # as they say it, ISO 8601
    made_with: str = ""  # the claim generator: a camera, an editor, a model
    actions: tuple[str, ...] = ()  # "c2pa.created", "c2pa.edited", ... in order
    is_generated: bool = False  # they say that a model made it


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """
    What a file says of where it comes from. Reported beside a verdict, never part of it.

    Whoever makes a file can write what he likes into it, and leaving it out is easier still.
    """

    credentials: Credentials
    tags: Mapping[str, str] = field(default_factory=dict)  # of the container, cleaned: "encoder"
    signs: tuple[str, ...] = ()  # codes such as "editor-tag", "re-encoded", see docs/api.md
