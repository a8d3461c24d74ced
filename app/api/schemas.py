"""What do requests and answers look like that no other door shares? The rest is `app.views`."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.domain.job import JobState, Priority
from app.domain.model_version import ModelInUse
from app.domain.policy import PointName
from app.domain.report import JobPage
from app.domain.rerun import Compared, Judgement, RerunReport, RerunWish
from app.domain.timeline import TimelinePoint
from app.domain.verdict import Label
from app.domain.words import Language
from app.report.formats import ReportFormat
from app.services.jobs import JOB_ID
from app.services.readiness import Readiness, Status
from app.views import IfAny, JobSummaryView, PersonView, Probability, View, job_link

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _printable(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


class Query(BaseModel):
    """What may stand behind the question mark; anything else is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SubmitQuery(Query):
    """What may be said of a video that is submitted."""

    ref_id: Annotated[str, AfterValidator(_printable)] | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Your name for the job; need not be unique.",
        examples=["desk-4711"],
    )
    priority: Priority = Field(
        default=Priority.LIVE, description="Live jobs go before batch jobs, whenever they came."
    )
    operating_point: PointName | None = Field(
        default=None,
        description="How many real clips may be called manipulated: about 1 or 5 in 100. The "
        "policy's own where you do not say; see `GET /v1/policy`.",
    )


class ListQuery(Query):
    """Which jobs to list."""

    state: JobState | None = None
    label: Label | None = Field(default=None, description="Of succeeded jobs, by their verdict.")
    cursor: str | None = Field(
        default=None, max_length=128, description="`next_cursor` of the page before."
    )
    limit: int | None = Field(default=None, ge=1, le=200, description="Jobs on one page.")


class TimelineQuery(Query):
    """Whose timeline to show."""

    person_id: str | None = Field(default=None, max_length=16, examples=["p1"])


class ReportQuery(Query):
    """In which form and language to report."""

    format: ReportFormat | None = Field(default=None, description="Goes before `Accept`.")
    language: Language = Field(default=Language.ENGLISH, description="Of every sentence.")


class JobListView(View):
    """Some of your jobs, the newest first."""

    items: list[JobSummaryView]
    next_cursor: IfAny[str | None] = Field(
        default=None, description="Where the next page begins; absent on the last one."
    )

    @classmethod
    def of(cls, page: JobPage, base_url: str) -> Self:
        """Show one page."""
        return cls(
            items=[JobSummaryView.of(s, base_url) for s in page.items],
            next_cursor=page.next_cursor,
        )


class PersonsView(View):
    """Everybody whose face was followed through the video."""

    state: JobState = Field(description="Nobody is listed before the job has succeeded.")
    persons: list[PersonView]


class TimelinePointView(View):
    """What was seen of one person at one moment."""

    person_id: str
    pts_s: float = Field(description="Seconds from the beginning of the video.")
    frame_index: int
    fake_probability: IfAny[Probability | None] = None
    fake_area: IfAny[float | None] = Field(
        default=None, description="Share of the face that is marked as manipulated."
    )
    mask: IfAny[str | None] = Field(default=None, description="Link to the mask of this frame.")
    attention: IfAny[str | None] = Field(
        default=None, description="Link to the picture of where the classifier looked."
    )

    @classmethod
    def of(cls, point: TimelinePoint, job: str) -> Self:
        """Show a moment; links begin with that of the job."""
        return cls(
            person_id=point.person_id,
            pts_s=point.pts_s,
            frame_index=point.frame_index,
            fake_probability=point.fake_probability,
            fake_area=point.fake_area,
            mask=f"{job}/masks/{point.mask_id}" if point.mask_id else None,
            attention=f"{job}/attention/{point.attention_id}" if point.attention_id else None,
        )


class OverlayView(View):
    """How far an overlay is that is being made."""

    state: JobState


class TimelineView(View):
    """Fake probability and marked area over time, by person and time."""

    state: JobState = Field(description="There are no points before the job has succeeded.")
    points: list[TimelinePointView]

    @classmethod
    def of(cls, points: tuple[TimelinePoint, ...], *, state: JobState, job: str) -> Self:
        """Show a job's timeline; links begin with that of the job."""
        return cls(state=state, points=[TimelinePointView.of(p, job) for p in points])


class RerunBody(BaseModel):
    """
    Which videos to analyse again: those of the jobs named, or those that the other fields fit.

    Raises:
        ValidationError: both are given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_ids: frozenset[Annotated[str, Field(pattern=f"^{JOB_ID.pattern}$")]] | None = Field(
        default=None, min_length=1, max_length=1000, description="Succeeded jobs of yours."
    )
    since: AwareDatetime | None = Field(
        default=None, description="Jobs submitted at this moment or later."
    )
    until: AwareDatetime | None = Field(
        default=None, description="Jobs submitted before this moment."
    )
    labels: frozenset[Label] | None = Field(
        default=None, min_length=1, description="Jobs whose verdict is one of these."
    )
    limit: int = Field(default=1000, ge=1, le=1000, description="The newest so many jobs.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.job_ids and (self.since or self.until or self.labels):
            raise ValueError("want either job_ids or since, until and labels")
        return self

    def wish(self) -> RerunWish:
        """Say it as the service takes it."""
        return RerunWish(
            job_ids=self.job_ids or frozenset(),
            since=self.since,
            until=self.until,
            labels=self.labels or frozenset(),
            limit=self.limit,
        )


class JudgementView(View):
    """A verdict, as far as two are compared."""

    label: Label
    fake_probability: Probability | None
    models: dict[str, str] = Field(description="Versions of the networks.")
    policy: str

    @classmethod
    def of(cls, judgement: Judgement) -> Self:
        """Show one of two verdicts."""
        return cls(
            label=judgement.label,
            fake_probability=judgement.fake_probability,
            models=dict(judgement.models),
            policy=judgement.policy,
        )


class ChangedView(View):
    """A video whose verdict says something else now."""

    job_id: str
    rerun_job_id: str
    link: str = Field(description="To the new job; it names the old one.")
    before: JudgementView
    after: JudgementView

    @classmethod
    def of(cls, compared: Compared, base_url: str) -> Self:
        """Show both verdicts."""
        return cls(
            job_id=compared.job_id,
            rerun_job_id=compared.rerun_job_id,
            link=job_link(base_url, compared.rerun_job_id),
            before=JudgementView.of(compared.before),
            after=JudgementView.of(compared.after),
        )


class RerunView(View):
    """How far a rerun is, and what it changed."""

    id: str
    created_at: datetime
    is_done: bool = Field(description="Whether every job of it has ended.")
    jobs: int = Field(description="How many videos are analysed again.")
    states: dict[JobState, int] = Field(description="Its jobs by state; absent where none is in.")
    changed: list[ChangedView] = Field(description="Another label than before. So far.")
    unchanged: int = Field(description="The same label as before. So far.")
    unavailable: IfAny[list[str]] = Field(
        default=[],
        description="Jobs that were not analysed again: no such job of yours, without a verdict, "
        "or its video is gone.",
    )
    left_out: int = Field(description="Jobs that `limit` kept out.")

    @classmethod
    def of(cls, report: RerunReport, base_url: str) -> Self:
        """Show a rerun; links begin with `base_url`."""
        return cls(
            id=report.id,
            created_at=report.created_at,
            is_done=report.is_done,
            jobs=report.jobs,
            states=dict(report.jobs_by_state),
            changed=[ChangedView.of(c, base_url) for c in report.changed],
            unchanged=report.unchanged,
            unavailable=list(report.unavailable),
            left_out=report.left_out,
        )


class ModelInUseView(View):
    """A version of a network, and how many workers judge by it."""

    name: str
    version: IfAny[str] = Field(default="", description="Absent where no worker said so.")
    sha256: str
    workers: int = Field(description="Heard of within a minute.")
    is_wanted: bool = Field(description="Whether it is the version that is current.")

    @classmethod
    def of(cls, model: ModelInUse) -> Self:
        """Show a version."""
        return cls(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            workers=model.workers,
            is_wanted=model.is_wanted,
        )


class ModelsView(View):
    """Which networks judge just now; several versions of one while workers take up another."""

    items: list[ModelInUseView]

    @classmethod
    def of(cls, models: Sequence[ModelInUse]) -> Self:
        """Show all of them."""
        return cls(items=[ModelInUseView.of(m) for m in models])


class CheckView(View):
    """One thing that the service needs."""

    ok: bool
    words: str


class ReadinessView(View):
    """Whether the service can work, and what is in the way."""

    status: Status
    checks: dict[str, CheckView]

    @classmethod
    def of(cls, readiness: Readiness) -> Self:
        """Show what was checked."""
        return cls(
            status=readiness.status,
            checks={c.name: CheckView(ok=c.is_ok, words=c.words) for c in readiness.checks},
        )


class LivenessView(View):
    """The process answers."""

    status: str = Field(default="alive", examples=["alive"])


class FieldProblem(View):
    """What is wrong with one part of a request."""

    where: list[str] = Field(examples=[["query", "priority"]])
    what: str


class Problem(View):
    """Why a request was not served (RFC 9457)."""

    type: str = Field(
        description="Stable; its last part is listed in docs/api.md.",
        examples=["urn:deepverdict:problem:not-found"],
    )
    title: str
    status: int
    detail: str = Field(description="In words, for people.")
    instance: str = Field(
        description="The id of this request, as in X-Request-Id and in our log.",
        examples=["urn:deepverdict:request:01KDEEPVERD1CT000000000001"],
    )
    errors: IfAny[list[FieldProblem]] = Field(default=[], description="Of `validation` alone.")
