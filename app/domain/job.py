"""What is a job, and where may it go from here?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.policy import PointName


class JobState(StrEnum):
    """Where a job stands. Wire and database spelling."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"  # the input's fault
    FAILED = "failed"  # ours
    CANCELLED = "cancelled"  # the caller's wish
    QUARANTINED = "quarantined"  # took down its worker every time it was tried
    PURGED = "purged"  # a tombstone: the caller had everything removed

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


NEXT: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,  # the only way back: the lease ran out, or the worker handed it back
            JobState.SUCCEEDED,
            JobState.REJECTED,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.QUARANTINED,
        }
    ),
    JobState.SUCCEEDED: frozenset({JobState.PURGED}),
    JobState.REJECTED: frozenset({JobState.PURGED}),
    JobState.FAILED: frozenset({JobState.PURGED}),
    JobState.CANCELLED: frozenset({JobState.PURGED}),
    JobState.QUARANTINED: frozenset({JobState.PURGED}),
    JobState.PURGED: frozenset(),
}
"""Every step a job may take; the tables' history is checked against it."""


class Priority(StrEnum):
    """How soon a job should be taken. Live jobs go before batch jobs."""

    LIVE = "live"
    BATCH = "batch"

    @property
    def rank(self) -> int:
        """Order in the queue; smaller goes first."""
        return {Priority.LIVE: 0, Priority.BATCH: 10}[self]


class Stage(StrEnum):
    """What a job is doing just now."""

    QUEUED = "queued"
    STARTING = "starting"
    FOLLOWING_FACES = "following_faces"  # decoding goes on at the same time
    EXAMINING = "examining"
    CONCLUDING = "concluding"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is."""

    stage: Stage
    fraction: float  # of the whole job, [0, 1], never falling within an attempt


class Actor(StrEnum):
    """Who must act on a failure."""

    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job ended without a verdict."""

    code: str  # a RejectCode, or one of "integrity", "internal", "storage", "worker-died"
    detail: str
    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One analysis of one video, as its tenant sees it."""

    id: str
    tenant: str
    ref_id: str | None
    priority: Priority
    state: JobState
    progress: Progress
    version: int  # grows with every change; the ETag
    attempt: int
    sha256: str
    size_bytes: int
    file_name: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    error: JobError | None
    rerun_of: str | None = None  # the job whose video is analysed again
    operating_point: PointName | None = None  # None: the policy's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's right to write to a job: void once `lease_token` has moved on."""

    job_id: str
    tenant: str
    lease_token: int
    attempt: int
    blob_key: str
    sha256: str
    size_bytes: int
    operating_point: PointName | None = None  # asked for by who submitted it

    @property
    def row_id(self) -> str:
        """What is leased; see `app.services.leasing`."""
        return self.job_id
