"""What is known of a job altogether, as one value to be shown?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.evidence import Abstention, Analysis, Artifact, ArtifactKind, Person, Provenance
from app.domain.job import Job
from app.domain.media import Box, Origin, VideoFacts
from app.domain.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts:
    """An artifact without its bytes."""

    id: str
    kind: ArtifactKind
    person_id: str
    pts_s: float
    frame_index: int
    width_px: int
    height_px: int
    box_px: Box | None
    area: float
    sha256: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactFacts":
        """Leave the bytes behind."""
        return cls(
            id=artifact.id,
            kind=artifact.kind,
            person_id=artifact.person_id,
            pts_s=artifact.pts_s,
            frame_index=artifact.frame_index,
            width_px=artifact.width_px,
            height_px=artifact.height_px,
            box_px=artifact.box_px,
            area=artifact.area,
            sha256=artifact.sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a succeeded job came to."""

    verdict: Verdict
    video: VideoFacts
    persons: tuple[Person, ...]
    abstentions: tuple[Abstention, ...]
    artifacts: tuple[ArtifactFacts, ...]
    provenance: Provenance
    timings: Mapping[str, float]
    origin: Origin | None = None

    @classmethod
    def of(cls, analysis: Analysis, verdict: Verdict) -> "Judged":
        """Put an analysis and the verdict made of it together."""
        return cls(
            verdict=verdict,
            video=analysis.video,
            persons=analysis.persons,
            abstentions=analysis.abstentions,
            artifacts=tuple(ArtifactFacts.of(a) for a in analysis.artifacts),
            provenance=analysis.provenance,
            timings=analysis.timings,
            origin=analysis.origin,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A job, and what it came to if it succeeded."""

    job: Job
    judged: Judged | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A job as a list shows it."""

    job: Job
    label: str | None
    fake_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some of a tenant's jobs, newest first."""

    items: tuple[JobSummary, ...]
    next_cursor: str | None  # asks for the page after this one; None where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """The queue as operators watch it; read from the database, never from the broker."""

    jobs_by_state: Mapping[str, int]
    oldest_queued_age_s: Mapping[str, float]  # by priority; 0 where none waits
    expired_leases: int
    verdicts_by_label: Mapping[str, int]
    workers_seen: int  # heard of within a minute
    measured_at: datetime
