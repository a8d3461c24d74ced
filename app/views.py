"""
What does a verdict look like outside? The one JSON shape of the API, `scan` and the demo.

Fields may be added, never renamed. A field that has nothing to say is left out, with one
exception: `verdict.fake_probability` is `null` where it is unknown, so that nobody takes a missing
number for a low one. `verdict` itself exists for a succeeded job only.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from app.domain.evidence import (
    AbstainReason,
    Abstention,
    ArtifactKind,
    Cue,
    DetectorName,
    Evidence,
    Finding,
    Person,
)
from app.domain.evidence import Provenance as ProvenanceFacts
from app.domain.fusion import Interval
from app.domain.job import Actor, JobError, JobState, Priority, Stage
from app.domain.job import Progress as JobProgress
from app.domain.media import CredentialState, Origin, VideoFacts
from app.domain.policy import PointName
from app.domain.report import JobReport, JobSummary, Judged
from app.domain.verdict import Label, Verdict

T = TypeVar("T")


def _says_nothing(value: object) -> bool:
    return value is None or value in ("", [], {})


IfAny = Annotated[T, Field(exclude_if=_says_nothing)]
"""Left out of the JSON where it is None or empty."""

Probability = Annotated[float, Field(ge=0, le=1, description="1 = certainly manipulated.")]


class View(BaseModel):
    """A part of the wire's shape."""

    model_config = ConfigDict(frozen=True)


class ErrorView(View):
    """Why there is no verdict."""

    code: str = Field(description="Stable; listed in docs/api.md.", examples=["no-video-stream"])
    detail: str = Field(description="In words, for people.")
    actor: Actor = Field(description="Who can mend it.")

    @classmethod
    def of(cls, error: JobError) -> Self:
        """Show a job's error."""
        return cls(code=error.code, detail=error.detail, actor=error.actor)


class ProgressView(View):
    """How far the analysis is."""

    stage: Stage
    fraction: float = Field(ge=0, le=1, description="Of the whole job.")

    @classmethod
    def of(cls, progress: JobProgress) -> Self:
        """Show a job's progress."""
        return cls(stage=progress.stage, fraction=progress.fraction)


class IntervalView(View):
    """Where a probability lies with 95 % confidence, as far as the policy's own fit goes."""

    low: Probability
    high: Probability

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """Show an interval."""
        return cls(low=interval.low, high=interval.high)


class VerdictView(View):
    """What may be said of the video, with the words and numbers it rests on."""

    label: Label
    fake_probability: Probability | None = Field(
        description="Of the most suspect person; 1 = certainly manipulated. Null where unknown."
    )
    interval: IfAny[IntervalView | None] = Field(
        default=None, description="Of `fake_probability`; absent where it is not known."
    )
    operating_point: IfAny[PointName | None] = Field(
        default=None, description="By whose lines, see `GET /v1/policy`; absent in old verdicts."
    )
    reasons: list[str]
    statement: str = Field(description="A sentence an editor may quote.")
    caveat: IfAny[str] = Field(default="", description="To be quoted with the statement.")
    policy: str = Field(description="Version of the rules that the verdict was made by.")

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Show a verdict."""
        return cls(
            label=verdict.label,
            fake_probability=verdict.fake_probability,
            interval=None if verdict.interval is None else IntervalView.of(verdict.interval),
            operating_point=verdict.operating_point,
            reasons=list(verdict.reasons),
            statement=verdict.statement,
            caveat=verdict.caveat,
            policy=verdict.policy,
        )


class CueView(View):
    """A measurement beside those of real clips; how much it tells is in the policy, not here."""

    value: float
    unit: str
    z: float | None = Field(
        description="Deviations from real clips, higher = more suspicious. Null: none to compare."
    )
    reference: IfAny[str] = Field(default="", description="Which real clips, and how many.")

    @classmethod
    def of(cls, cue: Cue) -> Self:
        """Show a measurement."""
        return cls(value=cue.value, unit=cue.unit, z=cue.z, reference=cue.reference)


class SpanView(View):
    """A stretch of the video, in seconds."""

    first_s: float
    last_s: float


class FindingView(View):
    """What a detector found: a probability, a cue, an answer, or several of them."""

    fake_probability: IfAny[Probability | None] = None
    cue: IfAny[CueView | None] = None
    answer: IfAny[str | None] = Field(default=None, description="`unknown` is one, too.")
    frames: int = Field(description="How many frames the finding rests on.")
    spans: IfAny[list[SpanView]] = Field(
        default=[], description="The times it rests on; absent: all that was seen of the person."
    )
    is_calibrated: bool = Field(
        default=False, description="Whether the probability was fitted on held-out clips."
    )
    measurements: IfAny[dict[str, float]] = Field(
        default={}, description="The unit is in the name."
    )
    caveat: IfAny[str | None] = None


class AbstentionView(View):
    """Why a detector declined to judge. This is not the same as 50 %."""

    reason: AbstainReason
    detail: IfAny[str] = Field(default="", description="What was found.")
    needs: IfAny[str] = Field(default="", description="What would have been enough.")


class EvidenceView(View):
    """What one detector says: either a finding or an abstention."""

    detector: DetectorName
    finding: IfAny[FindingView | None] = None
    abstention: IfAny[AbstentionView | None] = None
    model: IfAny[str | None] = Field(default=None, examples=["frame_classifier@1.0"])

    @classmethod
    def of(cls, evidence: Evidence) -> Self:
        """Show a finding or an abstention; its observations are in the timeline."""
        match evidence:
            case Finding():
                return cls(
                    detector=evidence.detector,
                    finding=FindingView(
                        fake_probability=evidence.fake_probability,
                        cue=None if evidence.cue is None else CueView.of(evidence.cue),
                        answer=evidence.answer,
                        frames=evidence.frames,
                        spans=[
                            SpanView(first_s=s.first_s, last_s=s.last_s) for s in evidence.spans
                        ],
                        is_calibrated=evidence.is_calibrated,
                        measurements=dict(evidence.measurements),
                        caveat=evidence.caveat,
                    ),
                    model=evidence.model,
                )
            case Abstention():
                return cls(
                    detector=evidence.detector,
                    abstention=AbstentionView(
                        reason=evidence.reason, detail=evidence.detail, needs=evidence.needs
                    ),
                )


class PersonView(View):
    """A face that was followed through the video, and all that was said of it."""

    id: str = Field(examples=["p1"])
    first_s: float
    last_s: float
    frames: int = Field(description="In how many frames the face was followed.")
    median_face_px: float = Field(description="Side of the face box.")
    fake_probability: IfAny[Probability | None] = None
    interval: IfAny[IntervalView | None] = Field(
        default=None, description="Of `fake_probability`; absent where it is not known."
    )
    best_crop: IfAny[str | None] = Field(default=None, description="Link to the best face, PNG.")
    evidence: list[EvidenceView]

    @classmethod
    def of(
        cls,
        person: Person,
        *,
        fake_probability: float | None,
        interval: Interval | None = None,
        best_crop: str | None,
    ) -> Self:
        """Show a person with what the verdict's policy made of the evidence."""
        return cls(
            id=person.id,
            first_s=person.first_s,
            last_s=person.last_s,
            frames=person.frames,
            median_face_px=person.median_face_px,
            fake_probability=fake_probability,
            interval=None if interval is None else IntervalView.of(interval),
            best_crop=best_crop,
            evidence=[EvidenceView.of(e) for e in person.evidence],
        )


class VideoView(View):
    """What was measured of the video while it was decoded."""

    sha256: str
    size_bytes: int
    container: str
    codec: str
    width: int = Field(description="Pixels, as displayed.")
    height: int
    rotation_deg: int
    duration_s: float = Field(description="Of the decoded frames, never of the header alone.")
    fps: float
    frames_expected: IfAny[int | None] = Field(default=None, description="By the container.")
    frames_decoded: int
    frames_kept: int = Field(description="Those whose faces were followed.")
    warnings: list[str]

    @classmethod
    def of(cls, video: VideoFacts) -> Self:
        """Show a video's facts."""
        return cls(
            sha256=video.sha256,
            size_bytes=video.size_bytes,
            container=video.container,
            codec=video.codec,
            width=video.width,
            height=video.height,
            rotation_deg=video.rotation_deg,
            duration_s=video.duration_s,
            fps=video.fps,
            frames_expected=video.frames_expected,
            frames_decoded=video.frames_decoded,
            frames_kept=video.frames_kept,
            warnings=list(video.warnings),
        )


class CredentialsView(View):
    """C2PA Content Credentials of the file, in words."""

    state: CredentialState
    detail: IfAny[str] = ""
    signer: IfAny[str] = ""
    signed_at: IfAny[str] = ""
    made_with: IfAny[str] = Field(default="", description="A camera, an editor, a model.")
    actions: IfAny[list[str]] = []
    is_generated: bool = Field(default=False, description="They say that a model made it.")


class OriginView(View):
    """What the file says of where it comes from: beside the verdict, never part of it."""

    credentials: CredentialsView
    tags: IfAny[dict[str, str]] = Field(default={}, description="Of the container.")
    signs: IfAny[list[str]] = Field(default=[], description="Codes, listed in docs/api.md.")

    @classmethod
    def of(cls, origin: Origin) -> Self:
        """Show what a file says of itself."""
        credentials = origin.credentials
        return cls(
            credentials=CredentialsView(
                state=credentials.state,
                detail=credentials.detail,
                signer=credentials.signer,
                signed_at=credentials.signed_at,
                made_with=credentials.made_with,
                actions=list(credentials.actions),
                is_generated=credentials.is_generated,
            ),
            tags=dict(origin.tags),
            signs=list(origin.signs),
        )


class ProvenanceView(View):
    """What it takes to run the analysis again and get the same answer."""

    code: str = Field(description="Version of the program.")
    models: dict[str, str] = Field(description="SHA-256 of the weights of each network.")
    decoder: str
    device: str
    seed: int
    frame_indices: str = Field(description="Which frames were kept.")
    sandbox: str = Field(description="How the decoder was jailed.")
    versions: IfAny[dict[str, str]] = Field(
        default={}, description="Of each network; absent in old verdicts."
    )

    @classmethod
    def of(cls, provenance: ProvenanceFacts) -> Self:
        """Show where an analysis came from."""
        return cls(
            code=provenance.code,
            models=dict(provenance.models),
            decoder=provenance.decoder,
            device=provenance.device,
            seed=provenance.seed,
            frame_indices=provenance.frame_indices,
            sandbox=provenance.sandbox,
            versions=dict(provenance.versions),
        )


class AnalysisView(View):
    """What came of one video; the part that a job and a scanned file have in common."""

    state: JobState
    verdict: IfAny[VerdictView | None] = Field(
        default=None, description="Of a succeeded job only; never there without evidence."
    )
    persons: list[PersonView] = Field(default=[], description="Longest on screen first.")
    abstentions: IfAny[list[EvidenceView]] = Field(
        default=[], description="Of the whole video, where nobody could be examined."
    )
    video: IfAny[VideoView | None] = None
    origin: IfAny[OriginView | None] = None
    provenance: IfAny[ProvenanceView | None] = None
    timings: IfAny[dict[str, float] | None] = Field(default=None, description="Seconds.")
    error: IfAny[ErrorView | None] = Field(
        default=None, description="Of a rejected, failed or quarantined job."
    )

    def to_json(self) -> str:
        """Write one line of JSON."""
        return self.model_dump_json()


class JobHead(View):
    """What names a job and says where it stands; the first fields of every job."""

    id: str = Field(examples=["01KDEEPVERD1CT000000000001"])
    state: JobState
    ref_id: IfAny[str | None] = Field(default=None, description="Your name for it.")
    file_name: IfAny[str | None] = None
    priority: Priority
    rerun_of: IfAny[str | None] = Field(
        default=None, description="The job whose video is analysed again."
    )
    created_at: datetime
    finished_at: IfAny[datetime | None] = None
    progress: ProgressView


class JobView(AnalysisView, JobHead):
    """A job: one analysis of one video."""

    updated_at: datetime
    attempt: int = Field(description="How often a worker has begun.")
    operating_point: IfAny[PointName | None] = Field(
        default=None, description="As asked for; the verdict says by which it was made."
    )
    sha256: str = Field(description="Of the bytes that were received and will be analysed.")
    size_bytes: int

    @classmethod
    def of(cls, report: JobReport, base_url: str) -> Self:
        """Show a job; links begin with `base_url`, and are paths where that is empty."""
        job, judged = report.job, report.judged
        return cls(
            id=job.id,
            state=job.state,
            ref_id=job.ref_id,
            file_name=job.file_name,
            priority=job.priority,
            rerun_of=job.rerun_of,
            progress=ProgressView.of(job.progress),
            attempt=job.attempt,
            operating_point=job.operating_point,
            sha256=job.sha256,
            size_bytes=job.size_bytes,
            created_at=job.created_at,
            updated_at=job.updated_at,
            finished_at=job.finished_at,
            verdict=VerdictView.of(judged.verdict) if judged else None,
            persons=person_views(judged, crops=job_link(base_url, job.id) + "/crops/"),
            abstentions=[EvidenceView.of(a) for a in judged.abstentions] if judged else [],
            video=VideoView.of(judged.video) if judged else None,
            origin=OriginView.of(judged.origin) if judged and judged.origin else None,
            provenance=ProvenanceView.of(judged.provenance) if judged else None,
            timings=dict(judged.timings) if judged else None,
            error=ErrorView.of(job.error) if job.error else None,
        )


class JobSummaryView(JobHead):
    """A job as a list shows it."""

    label: IfAny[Label | None] = Field(default=None, description="Of a succeeded job only.")
    fake_probability: IfAny[Probability | None] = None
    link: str

    @classmethod
    def of(cls, summary: JobSummary, base_url: str) -> Self:
        """Show a job in short."""
        job = summary.job
        return cls(
            id=job.id,
            state=job.state,
            label=Label(summary.label) if summary.label else None,
            fake_probability=summary.fake_probability,
            ref_id=job.ref_id,
            file_name=job.file_name,
            priority=job.priority,
            rerun_of=job.rerun_of,
            progress=ProgressView.of(job.progress),
            created_at=job.created_at,
            finished_at=job.finished_at,
            link=job_link(base_url, job.id),
        )


class ScanView(AnalysisView):
    """A file that was judged on the spot, with no database."""

    file: str
    masks: list[str] = Field(default=[], description="Paths of the pictures that were written.")

    @classmethod
    def of_judged(cls, file: str, judged: Judged, mask_paths: Sequence[str] = ()) -> Self:
        """Show a file that was judged."""
        return cls(
            file=file,
            state=JobState.SUCCEEDED,
            verdict=VerdictView.of(judged.verdict),
            persons=person_views(judged, crops=None),
            abstentions=[EvidenceView.of(a) for a in judged.abstentions],
            video=VideoView.of(judged.video),
            origin=None if judged.origin is None else OriginView.of(judged.origin),
            provenance=ProvenanceView.of(judged.provenance),
            timings=dict(judged.timings),
            masks=list(mask_paths),
        )

    @classmethod
    def of_rejected(cls, file: str, error: JobError) -> Self:
        """Show a file that could not be judged."""
        return cls(file=file, state=JobState.REJECTED, error=ErrorView.of(error))


def person_views(judged: Judged | None, *, crops: str | None) -> list[PersonView]:
    """Show everybody in the video; links to their crops begin with `crops`, if there are any."""
    if judged is None:
        return []
    with_crop = {a.person_id for a in judged.artifacts if a.kind is ArtifactKind.CROP}
    return [
        PersonView.of(
            person,
            fake_probability=judged.verdict.by_person.get(person.id),
            interval=judged.verdict.intervals_by_person.get(person.id),
            best_crop=f"{crops}{person.id}" if crops and person.id in with_crop else None,
        )
        for person in judged.persons
    ]


def job_link(base_url: str, job_id: str) -> str:
    """Return where a job is found; a path where `base_url` is empty."""
    return f"{base_url.rstrip('/')}/v1/jobs/{job_id}"
