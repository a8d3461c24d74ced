"""What is an overlay? The video with a box around everybody and what was marked, made on demand."""

from dataclasses import dataclass

from app.domain.job import JobError, JobState
from app.domain.media import StoredBlob


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayPerson:
    """Who is to be found in the video again, and what stands beside the box."""

    id: str
    first_s: float
    last_s: float
    fake_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayOrder:
    """What is drawn over a video: what its verdict said, whatever is known by now."""

    persons: tuple[OverlayPerson, ...]
    caption: str  # one line, shown throughout


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayClaim:
    """A worker's right to make an overlay: void once `lease_token` has moved on."""

    job_id: str
    tenant: str
    lease_token: int
    attempt: int
    blob_key: str  # of the video
    sha256: str
    size_bytes: int
    order: OverlayOrder

    @property
    def row_id(self) -> str:
        """What is leased; see `app.services.leasing`."""
        return self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An overlay that was written to a file, before it is stored."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """How far an overlay is; the video itself once it has succeeded."""

    job_id: str
    state: JobState
    blob: StoredBlob | None
    error: JobError | None
