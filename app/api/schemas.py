"""What do requests and answers look like that no other door shares? The rest is `app.views`."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.domain.job import JobState, Priority
from app.domain.report import JobPage
from app.domain.timeline import TimelinePoint
from app.domain.verdict import Label
from app.services.readiness import Readiness, Status
from app.views import IfAny, JobSummaryView, PersonView, Probability, View

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

    @classmethod
    def of(cls, point: TimelinePoint, masks: str) -> Self:
        """Show a moment; links to masks begin with `masks`."""
        return cls(
            person_id=point.person_id,
            pts_s=point.pts_s,
            frame_index=point.frame_index,
            fake_probability=point.fake_probability,
            fake_area=point.fake_area,
            mask=f"{masks}{point.mask_id}" if point.mask_id else None,
        )


class TimelineView(View):
    """Fake probability and marked area over time, by person and time."""

    state: JobState = Field(description="There are no points before the job has succeeded.")
    points: list[TimelinePointView]

    @classmethod
    def of(cls, points: tuple[TimelinePoint, ...], *, state: JobState, masks: str) -> Self:
        """Show a job's timeline; links to masks begin with `masks`."""
        return cls(state=state, points=[TimelinePointView.of(p, masks) for p in points])


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
